"""Pathneck's look at the path: how long it is, who answers, how far away they are.

It asks a few hops at a time: a burst of probes that all reach the destination would use up the
handful of answers that it gives, and the first trains would then find it silent.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Protocol

import attrs

from emodis.packets.flow import UDP_PORT
from emodis.packets.model import Kind, Probe, Train, TrainOutcome
from emodis.techniques import records
from emodis.techniques.arrival import arrived, destination_ttl, refused
from emodis.techniques.base import Cooperation
from emodis.techniques.pathneck_gaps import probe_proto
from emodis.techniques.stats import NS_PER_MS
from emodis.wire.v1.techniques_pb2 import PathneckObservations

KINDS = {"udp": Kind.UDP, "icmp": Kind.ICMP_ECHO}
# Of the handful of answers that a destination has, a chunk takes two at most. Few routes are so
# long that they end behind the narrow chunks.
_CHUNK, _FAR_CHUNK = 2, 16
_FAR_TTL = 18
_WAIT_NS = 1_000 * NS_PER_MS
_SETTLE_NS = 500 * NS_PER_MS
# Nothing is looked for behind so many silent hops.
_GAP_LIMIT = 5
# What the chunks of 50 hops take if each waits to its end.
TRACE_LIMIT_S = 11.0


class Limits(Protocol):
    """What the look needs of Pathneck's parameters."""

    @property
    def max_ttl(self) -> int: ...


@attrs.frozen(kw_only=True)
class Horizon:
    """What is worth measuring: hops 1 to `hops`, of which `answering` have been heard."""

    hops: int
    answering: frozenset[int]
    rtt_ns: int


def look(
    limits: Limits, observations: PathneckObservations, partner: Cooperation | None = None
) -> Generator[Train, TrainOutcome, None]:
    """Trace the path into `observations.trace`, chunk after chunk, until it ends.

    `partner`: the destination, where it answers.
    """
    size_bytes = observations.measurement_size_bytes
    for ttls in _chunks(limits.max_ttl):
        train = Train(
            kind=KINDS[probe_proto(observations)],
            probes=tuple(Probe(ttl=ttl, size_bytes=size_bytes) for ttl in ttls),
            wait_ns=_WAIT_NS,
            settle_ns=_SETTLE_NS,
            port=partner.port if partner else UDP_PORT,
            tag=partner.tag if partner else b"",
        )
        outcome = yield train
        observations.trace.append(records.to_record(train, outcome))
        if outcome.cut_short or _is_over(observations):
            return


def horizon(observations: PathneckObservations) -> Horizon | None:
    """What the look found; None if nobody answered, or a router said there is no way."""
    trace, target, proto = observations.trace, observations.target, probe_proto(observations)
    probes = [probe for train in trace for probe in train.probes if probe.HasField("received_ns")]
    if not probes or any(refused(probe, target, proto=proto) for probe in probes):
        return None
    reached = destination_ttl(trace, target, proto=proto)
    hops = max(probe.ttl for probe in probes) if reached is None else reached
    heard = [probe for probe in probes if probe.ttl <= hops]
    return Horizon(
        hops=hops,
        answering=frozenset(probe.ttl for probe in heard),
        rtt_ns=max(max(records.rtt_ns(probe) or 0 for probe in heard), 0),
    )


def _chunks(max_ttl: int) -> Iterator[range]:
    start = 1
    while start <= max_ttl:
        end = start + (_CHUNK if start <= _FAR_TTL else _FAR_CHUNK)
        yield range(start, min(end, max_ttl + 1))
        start = end


def _is_over(observations: PathneckObservations) -> bool:
    target, proto = observations.target, probe_proto(observations)
    probes = [probe for train in observations.trace for probe in train.probes]
    if any(
        arrived(probe, target, proto=proto) or refused(probe, target, proto=proto)
        for probe in probes
    ):
        return True
    heard = max((p.ttl for p in probes if p.HasField("received_ns")), default=0)
    return probes[-1].ttl - heard >= _GAP_LIMIT
