"""Traceroute: the route, with all hops' probes under way at once (TECHNIQUES.md section 2).

Probes leave in ascending TTL because a host answers only about six UDP probes of a burst: so the
first to reach the destination is the one with the smallest sufficient TTL. One flow identifier
for the whole run keeps load balancers from mixing routes (Paris traceroute).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

import attrs

from emodis.packets.model import Address, Kind, Probe, ReplyKind, Train
from emodis.techniques import records
from emodis.techniques.base import Context, Conversation, Measured, Spend
from emodis.techniques.parameters import real, whole
from emodis.techniques.skeleton import DONE, Skeleton, failed, grade
from emodis.techniques.stats import NS_PER_S
from emodis.wire.v1.common_pb2 import Blame, Body, Ending, Quality
from emodis.wire.v1.techniques_pb2 import (
    HopAnswer,
    ProbeRecord,
    TracerouteHop,
    TracerouteObservations,
    TracerouteParameters,
    TracerouteResult,
    TrainRecord,
)

# A Linux host that has just answered a burst refills one answer in a second.
_REFILL_NS = 1_100 * 1_000_000
_MAX_TTL = 64
# Whatever a record claims.
_LONGEST_RTT_NS = 60 * NS_PER_S


@attrs.frozen(kw_only=True)
class Parameters:
    """Everything that a requester may choose."""

    max_ttl: int = whole(30, 1, _MAX_TTL, unit="hops", text="how far to look")
    rounds: int = whole(3, 1, 10, unit="", text="probes for each hop")
    settle_s: float = real(0.5, 0.1, 5.0, unit="s", text="a round is over after this silence")
    timeout_s: float = real(2.0, 0.5, 10.0, unit="s", text="longest wait for an answer")
    gap_limit: int = whole(5, 1, 30, unit="hops", text="stop behind so many silent hops")
    size_bytes: int = whole(60, 48, 1500, unit="bytes", text="IP size of a probe")


class Traceroute(Skeleton[Parameters, TracerouteObservations, TracerouteResult]):
    """One UDP probe per hop and round, each round in one system call."""

    NAME: ClassVar[str] = "traceroute"
    SUMMARY: ClassVar[str] = "the route, all hops at once (UDP, one flow)"
    PARAMETERS = Parameters
    CALL = TracerouteParameters
    OBSERVATIONS = TracerouteObservations
    RESULT = TracerouteResult

    def usual(self, chosen: Parameters) -> Spend:
        """Ten hops that answer within 100 ms."""
        probes = chosen.max_ttl + (chosen.rounds - 1) * min(10, chosen.max_ttl)
        return Spend(
            duration_s=chosen.settle_s + 0.1 * chosen.rounds, sent_bytes=probes * chosen.size_bytes
        )

    def worst(self, chosen: Parameters) -> Spend:
        """Every round waits to the end, and the destination is asked once more."""
        round_s = max(chosen.timeout_s, _REFILL_NS / NS_PER_S) + 0.1
        probes = chosen.rounds * chosen.max_ttl + 1
        return Spend(
            duration_s=(chosen.rounds + 1) * round_s + 1.0, sent_bytes=probes * chosen.size_bytes
        )

    def talk(self, chosen: Parameters, context: Context) -> Conversation:
        """Round 1 looks as far as max_ttl, later ones only as far as something answers."""
        target = context.address.packed
        observations = TracerouteObservations(target=target)
        ttls = range(1, chosen.max_ttl + 1)
        for number in range(1, chosen.rounds + 1):
            missed = _destination_missed(observations)
            outcome = yield (train := _train(chosen, ttls, missed=missed, done=number))
            observations.trains.append(records.to_record(train, outcome))
            if outcome.cut_short:
                return self.evaluate(chosen, observations)
            ttls = range(1, _horizon(observations.trains, target, chosen) + 1)
        if _destination_missed(observations):
            outcome = yield (train := _train(chosen, ttls[-1:], missed=True, done=chosen.rounds))
            observations.trains.append(records.to_record(train, outcome))
        return self.evaluate(chosen, observations)

    def evaluate(self, chosen: Parameters, observations: TracerouteObservations) -> Measured:
        """List the hops, honest about silence."""
        result = estimate(observations, gap_limit=chosen.gap_limit)
        ending = _ending(observations, result)
        return Measured(
            ending=ending,
            result=result,
            observations=observations,
            quality=_quality(observations.trains, result),
        )

    def addresses(self, body: Body) -> Sequence[Address]:
        """Every hop that answered, in path order."""
        found = {
            answer.address: None
            for hop in self.result(body).hops
            for answer in hop.answers
            if answer.address
        }
        return tuple(a for a in map(records.to_address, found) if a is not None)


def estimate(observations: TracerouteObservations, *, gap_limit: int) -> TracerouteResult:
    """Hops 1 to the destination, or to the last one that answered.

    Answers behind `gap_limit` silent hops are not listed, unless the destination is among them.
    A route that visits one router at two hops that are not neighbours ends there as a loop.
    """
    trains, target = observations.trains, observations.target
    answers = _answers_by_ttl(trains)
    end, reason = _end_of_route(answers, target, gap_limit)
    result = TracerouteResult(reached=reason == "reached", end_reason=reason)
    if result.reached:
        result.hop_count = end
    for ttl in range(1, end + 1):
        hop = TracerouteHop(ttl=ttl, answers=answers.get(ttl, ()))
        hop.rate_limited = _went_quiet(hop, answers)
        result.hops.append(hop)
    return result


def _train(chosen: Parameters, ttls: Sequence[int], *, missed: bool, done: int) -> Train:
    return Train(
        kind=Kind.UDP,
        probes=tuple(Probe(ttl=ttl, size_bytes=chosen.size_bytes) for ttl in ttls),
        wait_ns=round(chosen.timeout_s * NS_PER_S),
        settle_ns=round(chosen.settle_s * NS_PER_S),
        not_before_ns=_REFILL_NS if missed else 0,
        progress=(done, chosen.rounds),
    )


def arrived(probe: ProbeRecord, target: bytes) -> bool:
    """True if the probe got as far as the destination, by whatever address it answers."""
    kind = records.reply_kind(probe)
    if kind is ReplyKind.ECHO_REPLY or records.is_port_unreachable(probe):
        return True
    return kind is ReplyKind.UNREACHABLE and probe.address == target


def destination_ttl(trains: Sequence[TrainRecord], target: bytes) -> int | None:
    """The smallest TTL that the destination answered."""
    ttls = [probe.ttl for train in trains for probe in train.probes if arrived(probe, target)]
    return min(ttls, default=None)


def _horizon(trains: Sequence[TrainRecord], target: bytes, chosen: Parameters) -> int:
    reached = destination_ttl(trains, target)
    if reached is not None:
        return reached
    answered = [p.ttl for train in trains for p in train.probes if p.HasField("received_ns")]
    return min(max(answered, default=0) + chosen.gap_limit, chosen.max_ttl)


def _destination_missed(observations: TracerouteObservations) -> bool:
    """True if the destination has answered before, but not in the last round."""
    if not observations.trains:
        return False
    reached = destination_ttl(observations.trains, observations.target)
    last = destination_ttl(observations.trains[-1:], observations.target)
    return reached is not None and last is None


def _answers_by_ttl(trains: Sequence[TrainRecord]) -> dict[int, list[HopAnswer]]:
    answers: dict[int, list[HopAnswer]] = {}
    for number, train in enumerate(trains, start=1):
        for probe in train.probes:
            if probe.HasField("sent_ns") and 1 <= probe.ttl <= _MAX_TTL:
                answers.setdefault(probe.ttl, []).append(_hop_answer(number, probe))
    return answers


def _hop_answer(number: int, probe: ProbeRecord) -> HopAnswer:
    answer = HopAnswer(round=number)
    rtt_ns = records.rtt_ns(probe)
    # An answer from before its probe belongs to another one, or the clock was set back.
    if rtt_ns is None or not 0 <= rtt_ns <= _LONGEST_RTT_NS:
        return answer
    answer.address = probe.address
    answer.rtt_ns = rtt_ns
    answer.icmp_type = probe.icmp_type
    answer.icmp_code = probe.icmp_code
    answer.reply_ttl = probe.reply_ttl
    answer.quoted_ttl = probe.quoted_ttl
    return answer


def _end_of_route(
    answers: dict[int, list[HopAnswer]], target: bytes, gap_limit: int
) -> tuple[int, str]:
    """TTL of the last hop to list, and why it is the last."""
    reached = _first(answers, target, _is_arrival)
    refused = _first(answers, target, _is_refusal)
    if reached is not None and (refused is None or reached <= refused):
        return reached, "reached"
    if refused is not None:
        code = next(a.icmp_code for a in answers[refused] if _is_refusal(a, target))
        return refused, f"unreachable({code})"
    repeated = _loop(answers)
    if repeated is not None:
        return repeated, "loop"
    last = _last_before_silence(answers, gap_limit)
    return last, "incomplete" if last else "no_hop_answered"


def _first(
    answers: dict[int, list[HopAnswer]], target: bytes, fits: Callable[[HopAnswer, bytes], bool]
) -> int | None:
    ttls = [ttl for ttl, found in answers.items() if any(fits(a, target) for a in found)]
    return min(ttls, default=None)


def _as_record(answer: HopAnswer) -> ProbeRecord:
    record = ProbeRecord(
        address=answer.address, icmp_type=answer.icmp_type, icmp_code=answer.icmp_code
    )
    if answer.HasField("rtt_ns"):
        record.received_ns = 0
    return record


def _is_arrival(answer: HopAnswer, target: bytes) -> bool:
    return arrived(_as_record(answer), target)


def _is_refusal(answer: HopAnswer, target: bytes) -> bool:
    record = _as_record(answer)
    unreachable = records.reply_kind(record) is ReplyKind.UNREACHABLE
    return unreachable and not arrived(record, target)


def _loop(answers: dict[int, list[HopAnswer]]) -> int | None:
    """The TTL at which a router comes up again that is not the hop just before."""
    seen: dict[bytes, int] = {}
    for ttl, address in _responders(answers):
        if ttl - seen.get(address, ttl) > 1:
            return ttl
        seen[address] = ttl
    return None


def _responders(answers: dict[int, list[HopAnswer]]) -> Iterator[tuple[int, bytes]]:
    for ttl in sorted(answers):
        for address in dict.fromkeys(a.address for a in answers[ttl] if a.address):
            yield ttl, address


def _last_before_silence(answers: dict[int, list[HopAnswer]], gap_limit: int) -> int:
    last = 0
    for ttl, _ in _responders(answers):
        if ttl - last > gap_limit:
            break
        last = ttl
    return last


def _went_quiet(hop: TracerouteHop, answers: dict[int, list[HopAnswer]]) -> bool:
    """True if it answered first and then, twice or more, not, while hops behind it did."""
    rounds = [answer.round for answer in hop.answers if answer.address]
    if not rounds:
        return False
    quiet = [answer.round for answer in hop.answers if answer.round > max(rounds)]
    behind = {
        answer.round
        for ttl, found in answers.items()
        if ttl > hop.ttl
        for answer in found
        if answer.address
    }
    return len(quiet) > 1 and behind.issuperset(quiet)


def _ending(observations: TracerouteObservations, result: TracerouteResult) -> Ending:
    if any(probe.HasField("sent_ns") for train in observations.trains for probe in train.probes):
        if result.hops:
            return DONE
        return failed(
            "no_hop_answered",
            "Not even the first router answered: probes or answers are dropped close by.",
            Blame.BLAME_NETWORK,
        )
    return failed("send_failed", "No probe left the measuring host.", Blame.BLAME_AGENT)


def _quality(trains: Sequence[TrainRecord], result: TracerouteResult) -> Quality:
    fair: list[str] = []
    poor: list[str] = []
    if any(train.cut_short for train in trains):
        poor.append("stopped before the last round")
    if result.end_reason == "loop":
        poor.append(f"the route comes back to the same router at hop {len(result.hops)}")
    elif not result.reached:
        fair.append("the destination did not answer")
    limited = [str(hop.ttl) for hop in result.hops if hop.rate_limited]
    if limited:
        fair.append(f"hop {', '.join(limited)} answers rarely: no loss follows from its silence")
    wandering = [
        str(hop.ttl)
        for hop in result.hops
        if len({a.address for a in hop.answers if a.address}) > 1
    ]
    if wandering:
        fair.append(f"the route changed at hop {', '.join(wandering)} during the run")
    return grade(fair, poor)
