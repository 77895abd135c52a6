"""Both ways over one conversation: one search after the other, and one answer for both. Pure."""

from __future__ import annotations

from collections.abc import Generator

import attrs

from emodis.packets.paced import PacedOutcome, PacedTrain
from emodis.techniques.base import Measured
from emodis.wire.v1.common_pb2 import END_DONE, Ending, Quality
from emodis.wire.v1.igi_pb2 import IgiObservations, IgiResult

# What a search is for each choice; true: the client sends.
WAYS = {"downstream": (False,), "upstream": (True,), "both": (False, True)}

Trains = Generator[PacedTrain, PacedOutcome, IgiObservations]


def name_of(upstream: bool) -> str:
    """As results say it."""
    return "upstream" if upstream else "downstream"


def one_way(
    trains: Trains, upstream: bool, began_ns: int
) -> Generator[PacedTrain, PacedOutcome, tuple[IgiObservations, int]]:
    """Carry a search out one way. Its time counts from `began_ns`; the time of its end is told."""
    now_ns = began_ns
    try:
        train = next(trains)
        while True:
            outcome = yield attrs.evolve(train, upstream=upstream)
            now_ns = outcome.elapsed_ns
            train = trains.send(attrs.evolve(outcome, elapsed_ns=now_ns - began_ns))
    except StopIteration as stop:
        observations: IgiObservations = stop.value
        return observations, now_ns


def together(down: Measured, up: Measured, observations: IgiObservations) -> Measured:
    """One answer for both ways: done if both are; the reason of the first that is not."""
    result = IgiResult(direction=name_of(False))
    if isinstance(down.result, IgiResult):
        result.CopyFrom(down.result)
    if isinstance(up.result, IgiResult):
        result.upstream.CopyFrom(up.result)
    found = down.result is not None or up.result is not None
    return Measured(
        ending=_ending(down.ending, up.ending),
        result=result if found else None,
        observations=observations,
        quality=Quality(
            word=max(down.quality.word, up.quality.word),
            reasons=[
                f"{name_of(way)}: {reason}"
                for way, measured in ((False, down), (True, up))
                for reason in measured.quality.reasons
            ],
        ),
    )


def _ending(down: Ending, up: Ending) -> Ending:
    if down.end == END_DONE == up.end:
        return down
    upstream = down.end == END_DONE
    found = up if upstream else down
    hint = f"{name_of(upstream).capitalize()}: {found.hint}"
    return Ending(end=found.end, reason=found.reason, hint=hint, blame=found.blame)
