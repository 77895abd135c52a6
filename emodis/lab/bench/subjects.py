"""The techniques that can be measured, and on which kinds of paths each of them is."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from emodis.lab.bench import bandwidth, broute, lossrate, pathneck, route, rtt
from emodis.lab.bench.tally import Share
from emodis.lab.bench.trial import Trial


@attrs.frozen(kw_only=True)
class Subject:
    """One technique: what it is asked, and how its answers are judged.

    `compare` makes a trial of topology, truth, run, kind and number; there is none where the
    technique builds labs of its own. `shares` counts trials of `trial`.
    """

    trial: type[Trial]
    kinds: Sequence[str]
    shares: Callable[[Any], Iterator[Share]]
    compare: Callable[..., Trial] | None = None
    # Words of the command line behind --tech.
    words: Sequence[str] = ()
    # Needs an agent at the source.
    paired: bool = False


SUBJECTS: Mapping[str, Subject] = {
    # Before Pathneck, which leaves routers without answers for a while.
    "traceroute": Subject(
        trial=route.RouteTrial,
        kinds=("far", "lossy"),
        shares=route.shares,
        compare=route.compare,
        words=("traceroute",),
    ),
    "ping": Subject(
        trial=rtt.PingTrial,
        kinds=("far",),
        shares=rtt.shares,
        compare=rtt.compare,
        words=("ping", "-o", "count=20", "-o", "interval_s=0.05"),
    ),
    "loss": Subject(
        trial=lossrate.LossTrial,
        kinds=("lossy",),
        shares=lossrate.shares,
        compare=lossrate.compare,
        words=("loss", "-o", "count=600", "-o", "interval_s=0.02"),
    ),
    "pathneck": Subject(
        trial=pathneck.PathneckTrial,
        kinds=("clear", "loaded", "tight", "any", "quiet", "lossy", "flat"),
        shares=pathneck.shares,
        compare=pathneck.compare,
        words=("pathneck",),
    ),
    "igi": Subject(
        trial=bandwidth.BandwidthTrial,
        kinds=("room",),
        shares=bandwidth.shares,
        compare=bandwidth.compare,
        words=("igi",),
        paired=True,
    ),
    "precise": Subject(
        trial=bandwidth.PreciseTrial,
        kinds=("room",),
        shares=bandwidth.shares,
        compare=functools.partial(bandwidth.compare, trial=bandwidth.PreciseTrial),
        words=("igi", "-o", "precise=true"),
        paired=True,
    ),
    "broute": Subject(trial=broute.BrouteTrial, kinds=(broute.KIND,), shares=broute.shares),
}


def tally(trials: Sequence[Trial]) -> list[Share]:
    """Every group that has a trial in it, technique by technique."""
    return [
        share
        for name, subject in SUBJECTS.items()
        for share in subject.shares([trial for trial in trials if name == trial.TECHNIQUE])
    ]
