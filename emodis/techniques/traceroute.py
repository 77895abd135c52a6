"""Traceroute: the route, with all hops' probes under way at once (TECHNIQUES.md section 2).

Probes leave in ascending TTL because a host answers only about six UDP probes of a burst: so the
first to reach the destination is the one with the smallest sufficient TTL. One flow identifier
for the whole run keeps load balancers from mixing routes (Paris traceroute).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar

from emodis.packets.model import Address, Probe, Train
from emodis.techniques import arrival, connections, records, stopping, traceroute_verdict
from emodis.techniques.base import BadParameters, Context, Conversation, Measured, Spend
from emodis.techniques.kinds import Kinds
from emodis.techniques.skeleton import Skeleton, failed
from emodis.techniques.stats import NS_PER_S
from emodis.techniques.traceroute_graph import graph
from emodis.techniques.traceroute_hops import estimate
from emodis.techniques.traceroute_multipath import Manner, explore
from emodis.techniques.traceroute_parameters import KINDS, MTU_BYTES, Parameters
from emodis.wire.v1.common_pb2 import PACKET_KIND_TCP_FLOW, Blame, Body, Quality
from emodis.wire.v1.techniques_pb2 import (
    TracerouteObservations,
    TracerouteParameters,
    TracerouteResult,
)

# A Linux router answers six probes of a burst; so many rounds at once leave it some.
_AT_ONCE = 3
# Most routes end before: up to here the first burst has all its rounds, behind it one.
_NEAR_TTL = 16
# A Linux host that has just answered a burst of UDP probes refills one answer in a second.
_REFILL_NS = 1_100 * 1_000_000
# The IPv6 header is so much longer.
_LONGER_BYTES = 20
_USUAL_BYTES = 60


class Traceroute(Skeleton[Parameters, TracerouteObservations, TracerouteResult]):
    """A probe for each hop and round, up to three rounds in one system call."""

    NAME: ClassVar[str] = "traceroute"
    SUMMARY: ClassVar[str] = "the route, all hops at once (UDP, ICMP echo, TCP SYN; one flow)"
    PARAMETERS = Parameters
    CALL = TracerouteParameters
    OBSERVATIONS = TracerouteObservations
    RESULT = TracerouteResult

    def usual(self, chosen: Parameters) -> Spend:
        """Ten hops that answer within 100 ms."""
        hops = len(chosen.ttls(chosen.max_ttl))
        at_once = min(_at_once(chosen), chosen.rounds)
        first = len(_first(chosen, at_once))
        probes = first + (chosen.rounds - at_once) * min(10, hops)
        duration_s = chosen.settle_s + 0.1 * chosen.rounds
        if chosen.searching:
            # No branches: as many flows as rule out a second way, at a router's own rate.
            flows = stopping.enough(1, chosen.eps_ratio)
            probes += flows * min(10, hops)
            duration_s += min(chosen.max_time_s, float(flows))
        return Spend(duration_s=duration_s, sent_bytes=probes * chosen.size_bytes)

    def worst(self, chosen: Parameters) -> Spend:
        """Every round waits to the end, and the destination is asked once more; over IPv6."""
        if chosen.first_ttl > chosen.max_ttl:
            raise BadParameters(
                f"first_ttl must not be above max_ttl, {chosen.max_ttl}, not {chosen.first_ttl}"
            )
        round_s = max(chosen.timeout_s, _REFILL_NS / NS_PER_S) + 0.1
        probes = chosen.rounds * len(chosen.ttls(chosen.max_ttl)) + 1
        probes += chosen.most_probes if chosen.searching else 0
        probe_bytes = chosen.size_bytes + _LONGER_BYTES
        if chosen.proto == "tcp":
            probe_bytes += connections.extra_bytes(round_s)
        return Spend(
            duration_s=(chosen.rounds + 1) * round_s + 1.0 + chosen.searching * chosen.max_time_s,
            sent_bytes=probes * probe_bytes,
        )

    def kinds(self, chosen: Parameters) -> Kinds:
        """A kernel that sends SYNs for us has one size and no say in flows."""
        own = chosen.searching or chosen.size_bytes != _USUAL_BYTES
        needed = super().kinds(chosen)
        return needed | {PACKET_KIND_TCP_FLOW} if chosen.proto == "tcp" and own else needed

    def talk(self, chosen: Parameters, context: Context) -> Conversation:
        """The first burst looks as far as max_ttl, later ones only as far as something answers."""
        target = context.address.packed
        observations = TracerouteObservations(target=target)
        size_bytes = _size_bytes(chosen, context)
        if size_bytes > MTU_BYTES:
            return _too_large(chosen, observations)
        for done, ttls in _bursts(chosen, observations):
            missed = _destination_missed(chosen, observations)
            train = _train(chosen, ttls, size_bytes, missed=missed, done=done)
            outcome = yield train
            observations.trains.append(records.to_record(train, outcome))
            if outcome.cut_short:
                return self.evaluate(chosen, observations)
        if _destination_missed(chosen, observations):
            last = _horizon(chosen, observations)
            train = _train(chosen, [last], size_bytes, missed=True, done=chosen.rounds)
            outcome = yield train
            observations.trains.append(records.to_record(train, outcome))
        found = estimate(observations, chosen.view)
        if _is_searched(chosen, found):
            survey = chosen.survey(observations, found)
            yield from explore(survey, _manner(chosen, size_bytes), observations)
        return self.evaluate(chosen, observations)

    def evaluate(self, chosen: Parameters, observations: TracerouteObservations) -> Measured:
        """List the hops, honest about silence."""
        result = estimate(observations, chosen.view)
        if _is_searched(chosen, result):
            result.graph.CopyFrom(graph(chosen.survey(observations, result)))
        return Measured(
            ending=traceroute_verdict.ending(observations, result),
            result=result,
            observations=observations,
            quality=traceroute_verdict.quality(observations, result),
        )

    def addresses(self, body: Body) -> Sequence[Address]:
        """Every hop that answered, in path order, then what only other flows met."""
        result = self.result(body)
        found = {a.address: None for hop in result.hops for a in hop.answers if a.address}
        found.update({node.address: None for node in result.graph.nodes})
        return tuple(a for a in map(records.to_address, found) if a is not None)


def _is_searched(chosen: Parameters, result: TracerouteResult) -> bool:
    """A loop has no parallel routes, it has one that never ends."""
    return chosen.searching and bool(result.hops) and result.end_reason != "loop"


def _manner(chosen: Parameters, size_bytes: int) -> Manner:
    return Manner(
        kind=KINDS[chosen.proto],
        size_bytes=size_bytes,
        port=chosen.port,
        wait_ns=round(chosen.timeout_s * NS_PER_S),
        settle_ns=round(chosen.settle_s * NS_PER_S),
        longest_ns=round(chosen.max_time_s * NS_PER_S),
        most_probes=chosen.most_probes,
    )


def _bursts(
    chosen: Parameters, observations: TracerouteObservations
) -> Iterator[tuple[int, Sequence[int]]]:
    """The TTLs to ask at once, and how many rounds are over with them.

    Each looks at what the ones before have observed.
    """
    at_once = _at_once(chosen)
    done = min(at_once, chosen.rounds)
    yield done, _first(chosen, done)
    far = [ttl for ttl in chosen.ttls(_horizon(chosen, observations)) if ttl > _NEAR_TTL]
    if far and done > 1:
        yield done, _times(far, done - 1)
    while done < chosen.rounds:
        together = min(at_once, chosen.rounds - done)
        done += together
        yield done, _times(chosen.ttls(_horizon(chosen, observations)), together)


def _at_once(chosen: Parameters) -> int:
    """An open port answers one SYN of a flow at a time."""
    return 1 if chosen.proto == "tcp" else _AT_ONCE


def _first(chosen: Parameters, at_once: int) -> Sequence[int]:
    near, far = chosen.ttls(min(_NEAR_TTL, chosen.max_ttl)), chosen.ttls(chosen.max_ttl)
    return [*_times(near, at_once), *(ttl for ttl in far if ttl > _NEAR_TTL)]


def _times(ttls: Iterable[int], count: int) -> Sequence[int]:
    return [ttl for ttl in ttls for _ in range(count)]


def _size_bytes(chosen: Parameters, context: Context) -> int:
    return chosen.size_bytes + (_LONGER_BYTES if context.address.version == 6 else 0)


def _too_large(chosen: Parameters, observations: TracerouteObservations) -> Measured:
    most = MTU_BYTES - _LONGER_BYTES
    hint = f"size_bytes may be at most {most} over IPv6, not {chosen.size_bytes}."
    return Measured(
        ending=failed("bad_params", hint, Blame.BLAME_US),
        result=None,
        observations=observations,
        quality=Quality(),
    )


def _train(
    chosen: Parameters, ttls: Sequence[int], size_bytes: int, *, missed: bool, done: int
) -> Train:
    # Only the answers to UDP are rationed: everybody else is asked again at once.
    waits = missed and chosen.proto == "udp"
    return Train(
        kind=KINDS[chosen.proto],
        probes=tuple(Probe(ttl=ttl, size_bytes=size_bytes) for ttl in ttls),
        wait_ns=round(chosen.timeout_s * NS_PER_S),
        settle_ns=round(chosen.settle_s * NS_PER_S),
        not_before_ns=_REFILL_NS if waits else 0,
        port=chosen.port,
        progress=(done, chosen.rounds),
    )


def _horizon(chosen: Parameters, observations: TracerouteObservations) -> int:
    trains = observations.trains
    reached = arrival.destination_ttl(trains, observations.target, proto=chosen.proto)
    if reached is not None:
        return reached
    probes = [probe for train in trains for probe in train.probes]
    refused = [p.ttl for p in probes if arrival.refused(p, observations.target, proto=chosen.proto)]
    if refused:
        return min(refused)
    answered = [probe.ttl for probe in probes if probe.HasField("received_ns")]
    last = max(answered, default=chosen.first_ttl - 1)
    return min(last + chosen.gap_limit, chosen.max_ttl)


def _destination_missed(chosen: Parameters, observations: TracerouteObservations) -> bool:
    """True if the destination has answered before, but not in the last round."""
    trains, target = observations.trains, observations.target
    if not trains:
        return False
    reached = arrival.destination_ttl(trains, target, proto=chosen.proto)
    last = arrival.destination_ttl(trains[-1:], target, proto=chosen.proto)
    return reached is not None and last is None
