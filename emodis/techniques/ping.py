"""Ping: round-trip time, loss and reordering with ICMP echo (emodis.txt section 5).

An answer after `timeout_s` is a loss, and its RTT is not reported beside that loss (RFC 6673).
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Sequence
from typing import ClassVar

import attrs

from emodis.packets.model import Address, Kind, Probe, ReplyKind, Train
from emodis.techniques import records
from emodis.techniques.base import Context, Conversation, Measured, Spend
from emodis.techniques.parameters import real, whole
from emodis.techniques.skeleton import DONE, Skeleton, failed, grade
from emodis.techniques.stats import (
    NS_PER_S,
    median,
    nearest_rank,
    standard_deviation,
    wilson,
)
from emodis.wire.v1.common_pb2 import Blame, Body, Ending, Quality
from emodis.wire.v1.techniques_pb2 import (
    PingObservations,
    PingParameters,
    PingResult,
    ProbeRecord,
    TrainRecord,
)

# Share of the interval by which each one is drawn longer or shorter, so that probes do not fall
# into step with something periodic.
_SPREAD = 0.1
_ICMP_HEADER_BYTES = 8
_IP_HEADER_BYTES = {4: 20, 6: 40}
# Where operating systems start the TTL of their answers.
_INITIAL_TTLS = (64, 128, 255)
# What a filtering router answers: network, host or communication administratively prohibited.
_PROHIBITED_CODES = {4: frozenset({9, 10, 13}), 16: frozenset({1})}


@attrs.frozen(kw_only=True)
class Parameters:
    """Everything that a requester may choose."""

    count: int = whole(10, 1, 1000, unit="packets", text="how many echo requests")
    interval_s: float = real(0.2, 0.01, 60.0, unit="s", text="mean time between two of them")
    payload_bytes: int = whole(56, 16, 1452, unit="bytes", text="data after the ICMP header")
    timeout_s: float = real(2.0, 0.1, 10.0, unit="s", text="an answer after this is a loss")
    ttl: int = whole(64, 1, 255, unit="hops", text="time to live of the requests")


class Ping(Skeleton[Parameters, PingObservations, PingResult]):
    """One train of echo requests, paced around `interval_s`."""

    NAME: ClassVar[str] = "ping"
    SUMMARY: ClassVar[str] = "round-trip time, loss and reordering (ICMP echo)"
    PARAMETERS = Parameters
    CALL = PingParameters
    OBSERVATIONS = PingObservations
    RESULT = PingResult

    def usual(self, chosen: Parameters) -> Spend:
        """All answers in time, within 100 ms."""
        duration_s = (chosen.count - 1) * chosen.interval_s + 0.1
        return Spend(duration_s=duration_s, sent_bytes=self.worst(chosen).sent_bytes)

    def worst(self, chosen: Parameters) -> Spend:
        """The deadline of TECHNIQUES.md section 1; bytes as if over IPv6."""
        pacing_s = (1 + _SPREAD) * (chosen.count - 1) * chosen.interval_s
        size_bytes = chosen.payload_bytes + _ICMP_HEADER_BYTES + _IP_HEADER_BYTES[6]
        return Spend(
            duration_s=pacing_s + chosen.timeout_s + 1.0, sent_bytes=chosen.count * size_bytes
        )

    def talk(self, chosen: Parameters, context: Context) -> Conversation:
        """Send one train and summarise it."""
        train = _train(chosen, context)
        outcome = yield train
        observations = PingObservations(trains=[records.to_record(train, outcome)])
        return self.evaluate(chosen, observations)

    def evaluate(self, chosen: Parameters, observations: PingObservations) -> Measured:
        """Summarise every train as if it were one."""
        probes = [probe for train in observations.trains for probe in train.probes]
        sent = [probe for probe in probes if probe.HasField("sent_ns")]
        result = estimate(sent, timeout_s=chosen.timeout_s, interval_s=chosen.interval_s)
        result.duplicates = sum(train.duplicates for train in observations.trains)
        return Measured(
            ending=_ending(sent, result),
            result=result if sent else None,
            observations=observations,
            quality=_quality(len(probes), observations.trains, result),
        )

    def addresses(self, body: Body) -> Sequence[Address]:
        """None: the only address in it would be the destination's own."""
        self.result(body)
        return ()


def estimate(
    probes: Sequence[ProbeRecord], *, timeout_s: float, interval_s: float = 0.0
) -> PingResult:
    """Summarise probes that were sent, in sending order (TECHNIQUES.md section 1).

    Args:
        probes: shape (n,); times in ns of one clock.
        timeout_s: the waiting time used on the wire.
        interval_s: time between two probes; reordering is left out where it is longer than twice
            the spread of the RTTs, because then nothing could have overtaken anything.
    """
    rtts_ns = [_rtt_in_time_ns(probe, timeout_s) for probe in probes]
    answered_ns = [rtt_ns for rtt_ns in rtts_ns if rtt_ns is not None]
    low, high = wilson(len(probes) - len(answered_ns), len(probes))
    result = PingResult(
        sent=len(probes),
        answered=len(answered_ns),
        late=sum(1 for probe in probes if _is_echo(probe)) - len(answered_ns),
        loss_ratio=1 - len(answered_ns) / len(probes) if probes else 0.0,
        loss_low_ratio=low,
        loss_high_ratio=high,
        loss_max_run=_longest_loss(rtts_ns),
    )
    if answered_ns:
        _describe_times(result, answered_ns)
        _describe_way_back(result, [probe for probe in probes if _is_echo(probe)])
    if len(answered_ns) > 1:
        result.rtt_stddev_ns = round(standard_deviation(answered_ns))
        spread_ns = max(answered_ns) - min(answered_ns)
        if interval_s * NS_PER_S <= 2 * spread_ns:
            result.reordered = _reordered(probes)
    _describe_variation(result, rtts_ns)
    return result


def _train(chosen: Parameters, context: Context) -> Train:
    chance = random.Random(context.seed)
    size_bytes = (
        chosen.payload_bytes + _ICMP_HEADER_BYTES + _IP_HEADER_BYTES[context.address.version]
    )
    interval_ns = chosen.interval_s * NS_PER_S
    gaps_ns = [0] + [
        round(interval_ns * (1 + _SPREAD * (2 * chance.random() - 1)))
        for _ in range(chosen.count - 1)
    ]
    return Train(
        kind=Kind.ICMP_ECHO,
        probes=tuple(
            Probe(ttl=chosen.ttl, size_bytes=size_bytes, after_ns=gap_ns) for gap_ns in gaps_ns
        ),
        wait_ns=round(chosen.timeout_s * NS_PER_S),
        progress=(1, 1),
    )


def _is_echo(probe: ProbeRecord) -> bool:
    return records.reply_kind(probe) is ReplyKind.ECHO_REPLY


def _rtt_in_time_ns(probe: ProbeRecord, timeout_s: float) -> int | None:
    rtt_ns = records.rtt_ns(probe) if _is_echo(probe) else None
    if rtt_ns is None or not 0 <= rtt_ns <= timeout_s * NS_PER_S:
        return None
    return rtt_ns


def _longest_loss(rtts_ns: Sequence[int | None]) -> int:
    longest = run = 0
    for rtt_ns in rtts_ns:
        run = run + 1 if rtt_ns is None else 0
        longest = max(longest, run)
    return longest


def _describe_times(result: PingResult, answered_ns: Sequence[int]) -> None:
    result.rtt_min_ns = min(answered_ns)
    result.rtt_mean_ns = round(sum(answered_ns) / len(answered_ns))
    result.rtt_median_ns = round(median(answered_ns))
    result.rtt_p95_ns = round(nearest_rank(answered_ns, 0.95))
    result.rtt_max_ns = max(answered_ns)


def _describe_variation(result: PingResult, rtts_ns: Sequence[int | None]) -> None:
    steps_ns = [
        abs(after - before)
        for before, after in itertools.pairwise(rtts_ns)
        if before is not None and after is not None
    ]
    if steps_ns:
        result.ipdv_ns = round(sum(steps_ns) / len(steps_ns))


def _describe_way_back(result: PingResult, echoes: Sequence[ProbeRecord]) -> None:
    ttls = Counter(probe.reply_ttl for probe in echoes if 0 < probe.reply_ttl <= _INITIAL_TTLS[-1])
    if ttls:
        result.reply_ttl = ttls.most_common(1)[0][0]
        start = min(ttl for ttl in _INITIAL_TTLS if ttl >= result.reply_ttl)
        result.reverse_hops = start - result.reply_ttl


def _reordered(probes: Sequence[ProbeRecord]) -> int:
    """Answers with a smaller sequence number than one that arrived before (RFC 4737)."""
    arrivals = sorted(
        (probe.received_ns, sequence) for sequence, probe in enumerate(probes) if _is_echo(probe)
    )
    reordered, largest = 0, -1
    for _, sequence in arrivals:
        if sequence < largest:
            reordered += 1
        largest = max(largest, sequence)
    return reordered


def _ending(sent: Sequence[ProbeRecord], result: PingResult) -> Ending:
    if any(_is_echo(probe) and (records.rtt_ns(probe) or 0) < 0 for probe in sent):
        return failed(
            "clock_step",
            "The measuring host's clock was set back during the run; measure again.",
            Blame.BLAME_AGENT,
        )
    if not sent:
        return failed("send_failed", "No probe left the measuring host.", Blame.BLAME_AGENT)
    if result.answered:
        return DONE
    refusals = [p for p in sent if records.reply_kind(p) is ReplyKind.UNREACHABLE]
    if refusals:
        return _unreachable(refusals[-1])
    if any(records.reply_kind(probe) is ReplyKind.TIME_EXCEEDED for probe in sent):
        return failed(
            "ttl_exceeded",
            "A router dropped the probes; give a larger ttl, or look for a loop by traceroute.",
            Blame.BLAME_NETWORK,
        )
    return failed(
        "no_reply",
        "Nothing answered: the destination is down or drops echo requests; try traceroute.",
        Blame.BLAME_TARGET,
    )


def _unreachable(answer: ProbeRecord) -> Ending:
    router = records.to_address(answer.address)
    if answer.icmp_code in _PROHIBITED_CODES[len(answer.address)]:
        return failed("filtered", f"{router} forbids echo requests.", Blame.BLAME_NETWORK)
    return failed(
        f"unreachable({answer.icmp_code})",
        f"{router} says that the destination cannot be reached.",
        Blame.BLAME_NETWORK,
    )


def _quality(wanted: int, trains: Sequence[TrainRecord], result: PingResult) -> Quality:
    fair: list[str] = []
    poor: list[str] = []
    if any(train.cut_short for train in trains):
        poor.append(f"stopped after {result.sent} of {wanted} probes")
    if any(train.receive_drops for train in trains):
        poor.append("the measuring host lost answers for want of buffer space")
    if not all(train.kernel_rx for train in trains):
        fair.append("times of arrival are the process's, not the kernel's")
    if result.answered < 5:
        fair.append(f"only {result.answered} answers")
    return grade(fair, poor)
