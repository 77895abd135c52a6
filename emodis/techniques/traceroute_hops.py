"""Traceroute's estimator: from rounds of probes to hops (TECHNIQUES.md section 2). Pure."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence

import attrs

from emodis.packets.model import ReplyKind
from emodis.techniques import arrival, records, refusals
from emodis.techniques.stats import NS_PER_S
from emodis.techniques.traceroute_losses import describe_losses
from emodis.wire.v1.techniques_pb2 import (
    HopAnswer,
    ProbeRecord,
    TracerouteHop,
    TracerouteObservations,
    TracerouteResult,
    TrainRecord,
)

MAX_TTL = 64
# Whatever a record claims.
_LONGEST_RTT_NS = 60 * NS_PER_S

# The probes of each TTL with the number of their round: the how manieth of its TTL it is.
Probes = Mapping[int, Sequence[tuple[int, ProbeRecord]]]


@attrs.frozen(kw_only=True)
class View:
    """How the trains are to be read."""

    gap_limit: int
    proto: str = "udp"
    first_ttl: int = 1


def estimate(observations: TracerouteObservations, view: View) -> TracerouteResult:
    """Hops from `first_ttl` to the destination, or to the last one that answered.

    Answers behind `gap_limit` silent hops are not listed, unless the destination is among them.
    A route that visits one router at two hops that are not neighbours ends there as a loop.
    """
    trains, target = observations.trains, observations.target
    probes = _by_ttl(trains)
    end, reason = _end_of_route(probes, target, view)
    result = TracerouteResult(
        reached=reason == "reached",
        end_reason=reason,
        duplicates=sum(train.duplicates for train in trains),
        unmatched=sum(train.unmatched for train in trains),
    )
    if result.reached:
        result.hop_count = end
        result.dest_alias = _alias(probes[end], target, view)
    for ttl in range(view.first_ttl, end + 1):
        answers = [_hop_answer(number, probe) for number, probe in probes.get(ttl, ())]
        result.hops.append(TracerouteHop(ttl=ttl, answers=answers))
    _mark_used_up(result.hops)
    describe_losses(result, proto=view.proto, behind=_rounds_behind(probes))
    result.path_hash = _path_hash(result)
    if trains and trains[0].HasField("flow_key"):
        result.flow_key.CopyFrom(trains[0].flow_key)
    return result


def is_answered(probe: ProbeRecord) -> bool:
    """Whether it has an answer that can be true.

    One from before its probe belongs to another one, or the clock was set back.
    """
    rtt_ns = records.rtt_ns(probe)
    return rtt_ns is not None and 0 <= rtt_ns <= _LONGEST_RTT_NS


def _by_ttl(trains: Sequence[TrainRecord]) -> Probes:
    found: dict[int, list[tuple[int, ProbeRecord]]] = {}
    for train in trains:
        for probe in train.probes:
            if probe.HasField("sent_ns") and 1 <= probe.ttl <= MAX_TTL:
                of_hop = found.setdefault(probe.ttl, [])
                of_hop.append((len(of_hop) + 1, probe))
    return found


def _hop_answer(number: int, probe: ProbeRecord) -> HopAnswer:
    if not is_answered(probe):
        return HopAnswer(round=number)
    return HopAnswer(
        round=number,
        address=probe.address,
        rtt_ns=records.rtt_ns(probe),
        icmp_type=probe.icmp_type,
        icmp_code=probe.icmp_code,
        reply_ttl=probe.reply_ttl,
        quoted_ttl=probe.quoted_ttl,
        quoted_tos=probe.quoted_tos if probe.HasField("quoted_tos") else None,
        word=probe.word,
        marks=probe.marks,
        mpls=probe.mpls,
        interfaces=probe.interfaces,
    )


def _end_of_route(probes: Probes, target: bytes, view: View) -> tuple[int, str]:
    """TTL of the last hop to list, and why it is the last."""
    reached: int | None = None
    refusal: ProbeRecord | None = None
    for ttl, probe in _answered(probes):
        if arrival.arrived(probe, target, proto=view.proto):
            reached = ttl if reached is None else reached
        elif refusal is None and arrival.refused(probe, target, proto=view.proto):
            refusal = probe
    if reached is not None and (refusal is None or reached <= refusal.ttl):
        return reached, "reached"
    if refusal is not None:
        return refusal.ttl, refusals.reason(refusal)
    repeated = _loop(probes)
    if repeated is not None:
        return repeated, "loop"
    last = _last_before_silence(probes, view)
    return last, "incomplete" if last >= view.first_ttl else "no_hop_answered"


def _answered(probes: Probes) -> Iterator[tuple[int, ProbeRecord]]:
    for ttl in sorted(probes):
        yield from ((ttl, probe) for _, probe in probes[ttl] if is_answered(probe))


def _alias(probes: Sequence[tuple[int, ProbeRecord]], target: bytes, view: View) -> bytes:
    """The other address from which the destination answered; empty if it used its own."""
    places = [
        probe.address
        for _, probe in probes
        if is_answered(probe) and arrival.arrived(probe, target, proto=view.proto)
    ]
    return b"" if target in places else places[0]


def _loop(probes: Probes) -> int | None:
    """The TTL at which a router comes up again, in one round, that is not the hop just before.

    In several rounds together a changed route would look like a loop.
    """
    rounds: dict[int, list[tuple[int, bytes]]] = {}
    for ttl in sorted(probes):
        for number, probe in probes[ttl]:
            if is_answered(probe) and records.reply_kind(probe) is ReplyKind.TIME_EXCEEDED:
                rounds.setdefault(number, []).append((ttl, probe.address))
    found = (_repeated(responders) for responders in rounds.values())
    return min((ttl for ttl in found if ttl is not None), default=None)


def _repeated(responders: Sequence[tuple[int, bytes]]) -> int | None:
    seen: dict[bytes, int] = {}
    for ttl, address in responders:
        if ttl - seen.get(address, ttl) > 1:
            return ttl
        seen[address] = ttl
    return None


def _last_before_silence(probes: Probes, view: View) -> int:
    last = view.first_ttl - 1
    for ttl, _ in _answered(probes):
        if ttl - last > view.gap_limit:
            break
        last = ttl
    return last


def _mark_used_up(hops: Sequence[TracerouteHop]) -> None:
    """A router that answers at two neighbouring hops, to a TTL of 0 first, is only the second."""
    for hop, following in itertools.pairwise(hops):
        after = {answer.address for answer in following.answers if answer.address}
        own = [answer for answer in hop.answers if answer.address]
        if own and all(a.quoted_ttl == 0 and a.icmp_type and a.address in after for a in own):
            hop.passes_used_up_ttl = True


def _rounds_behind(probes: Probes) -> Mapping[int, frozenset[int]]:
    """For each TTL the rounds in which something behind it answered."""
    behind: dict[int, frozenset[int]] = {}
    heard: frozenset[int] = frozenset()
    for ttl in sorted(probes, reverse=True):
        behind[ttl] = heard
        heard |= {number for number, probe in probes[ttl] if is_answered(probe)}
    return behind


def _path_hash(result: TracerouteResult) -> str:
    firsts = [next((a.address for a in hop.answers if a.address), b"") for hop in result.hops]
    text = "\n".join(first.hex() for first in firsts)
    return hashlib.sha256(text.encode()).hexdigest()[:16] if firsts else ""
