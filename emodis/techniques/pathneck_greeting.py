"""Pathneck asks a destination that offered to take part whether anything gets through.

One probe, and once more, and again: a firewall before the destination, or a translator of
addresses, is found out before anything depends on the answer.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence

from emodis.packets.model import Kind, Probe, Train, TrainOutcome
from emodis.techniques import records
from emodis.techniques.base import Cooperation
from emodis.techniques.stats import NS_PER_MS
from emodis.wire.v1.techniques_pb2 import PathneckObservations, TrainRecord

_TTL = 64
# How long each of them waits for its answer.
_WAITS_NS = (500 * NS_PER_MS, 500 * NS_PER_MS, 1_000 * NS_PER_MS)
GREETINGS = len(_WAITS_NS)


def greet(
    cooperation: Cooperation, observations: PathneckObservations
) -> Generator[Train, TrainOutcome, bool]:
    """Write into `observations.greetings` what came of it; True if the destination answers."""
    for wait_ns in _WAITS_NS:
        train = Train(
            kind=Kind.UDP,
            probes=(Probe(ttl=_TTL, size_bytes=observations.measurement_size_bytes),),
            wait_ns=wait_ns,
            port=cooperation.port,
            tag=cooperation.tag,
        )
        outcome = yield train
        observations.greetings.append(records.to_record(train, outcome))
        if outcome.cut_short or is_answered(observations.greetings):
            break
    return is_answered(observations.greetings)


def is_answered(greetings: Sequence[TrainRecord]) -> bool:
    """True if the destination said when a greeting arrived."""
    return any(probe.HasField("far_ns") for train in greetings for probe in train.probes)
