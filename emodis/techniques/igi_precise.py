"""IGI on demand more precise: from PTR's answer on with long trains around the turning point. Pure.

Each long train has its say twice: by the trend of its delays it was too fast or was not, which no
assumption about links can spoil; and by how much it grew, which is the steadier number where the
path is as simple as the model (`igi_fit`). The trends give the range, the growths the answer in it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import attrs

from emodis.techniques.igi_estimator import known_capacity_bps, phases_of
from emodis.techniques.igi_fit import Fit, fit, growths_of
from emodis.techniques.igi_trend import Trend, trend_of
from emodis.techniques.stats import NS_PER_S
from emodis.wire.v1.igi_pb2 import IgiTrain

# Rates to try in turn, as shares of the capacity above the guess: trains above it count for the
# fit, one below it proves the guess.
AROUND = (0.12, -0.05, 0.18)
# Good enough: the range as a share of the answer, and the fit's standard error.
NARROW_RATIO = 0.08
GOOD_ERROR = 0.01
ERRORS = 2.0
LEAST_RATE_SHARE = 0.2
# So many trains whose trends speak against a place for growth to begin, for one beside it.
CONTRADICTIONS = 3


@attrs.frozen(kw_only=True)
class Answer:
    """What all trains together say."""

    bps: float
    low_bps: float
    high_bps: float
    # Nothing more to gain.
    narrow: bool


@attrs.frozen(kw_only=True)
class _Vote:
    rate_bps: float
    trend: Trend


def answer(trains: Sequence[IgiTrain]) -> Answer | None:
    """From all trains of a run; None without a turning point."""
    phases = phases_of(trains)
    found = fit(growths_of(phases), known_capacity_bps(phases))
    if found is None or found.bps <= 0:
        return None
    return _between(found, _range(_votes(trains), found.bps))


def next_rate_bps(trains: Sequence[IgiTrain], number: int) -> float | None:
    """The rate of the `number`th train of this stage; None when it is over."""
    phases = phases_of(trains)
    found = fit(growths_of(phases), known_capacity_bps(phases))
    so_far = answer(trains)
    if found is None or so_far is None or (number >= len(AROUND) and so_far.narrow):
        return None
    above_bps = AROUND[number % len(AROUND)] * found.capacity_bps
    return max(LEAST_RATE_SHARE * so_far.bps, so_far.bps + above_bps)


def _votes(trains: Sequence[IgiTrain]) -> list[_Vote]:
    """Of the trains of this stage: shorter ones say little about trends."""
    return [
        _Vote(rate_bps=train.size_bytes * 8 * NS_PER_S / train.gap_ns, trend=trend_of(train))
        for train in trains
        if train.precise and train.gap_ns and not train.discarded
    ]


def _range(votes: Sequence[_Vote], guess_bps: float) -> tuple[float, float]:
    """Between which rates trends change: around the guess, unless trends plainly contradict it.

    They do where another place has so many fewer trains wrong that it is no chance: a single train
    meets a burst, or a lull. Where no train was too fast, or each was, there is no bound on that
    side: 0, or infinity.
    """
    sure = sorted(
        (vote for vote in votes if vote.trend is not Trend.UNCLEAR), key=lambda vote: vote.rate_bps
    )
    edges_bps = [0.0, *(vote.rate_bps for vote in sure), float("inf")]
    spans = list(itertools.pairwise(edges_bps))

    def wrong(place: int) -> int:
        below = sum(vote.trend is Trend.RISING for vote in sure[:place])
        return below + sum(vote.trend is Trend.FLAT for vote in sure[place:])

    guessed = sum(vote.rate_bps < guess_bps for vote in sure)
    best = min(range(len(spans)), key=lambda place: (wrong(place), abs(place - guessed)))
    return spans[best if wrong(guessed) - wrong(best) >= CONTRADICTIONS else guessed]


def _between(found: Fit, span: tuple[float, float]) -> Answer:
    low_bps, high_bps = span
    bps = found.bps
    if not low_bps <= bps <= high_bps:
        # Trends are surer than a model that they contradict.
        bps = high_bps if bps > high_bps else low_bps
        if low_bps > 0 and high_bps < float("inf"):
            bps = (low_bps + high_bps) / 2
        found = attrs.evolve(found, error_bps=None)
    if found.error_bps is not None:
        low_bps = max(low_bps, bps - ERRORS * found.error_bps)
        high_bps = min(high_bps, bps + ERRORS * found.error_bps)
    return Answer(
        bps=bps,
        low_bps=low_bps,
        high_bps=high_bps,
        narrow=high_bps - low_bps <= NARROW_RATIO * bps
        and found.error_bps is not None
        and found.error_bps <= GOOD_ERROR * bps,
    )
