"""Ping's estimator: one series of probes summarised (TECHNIQUES.md section 1). Pure."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence

import attrs

from emodis.packets.model import ReplyKind
from emodis.techniques import ping_losses, records
from emodis.techniques.stats import (
    NS_PER_MS,
    NS_PER_S,
    median,
    nearest_rank,
    standard_deviation,
    wilson,
)
from emodis.wire.v1.techniques_pb2 import PingResult, ProbeRecord

# Where operating systems start the TTL of their answers.
_INITIAL_TTLS = (64, 128, 255)
# A kernel that opens the connection itself repeats its SYN after a second, unseen by us: what
# takes longer than this may be the answer to the repetition (Karn).
_AMBIGUOUS_NS = 950 * NS_PER_MS
_OPEN = frozenset({ReplyKind.DATAGRAM, ReplyKind.SYN_ACK})
_TARGETS_OWN = frozenset({ReplyKind.ECHO_REPLY, ReplyKind.RESET}) | _OPEN


@attrs.frozen(kw_only=True)
class Manner:
    """How a series was sent and is to be read.

    Without a `target` (observations of the first version) only echo replies count. `own_syns` is
    False where a kernel sent the SYNs for us and may have repeated them.
    """

    timeout_s: float
    # Reordering is left out where this is more than twice the spread of the RTTs: nothing could
    # have overtaken anything.
    interval_s: float = 0.0
    proto: str = "icmp"
    target: bytes = b""
    own_syns: bool = True


@attrs.frozen(kw_only=True)
class _Probe:
    """One probe as the statistics see it; `rtt_ns` only where it was answered in time."""

    record: ProbeRecord
    arrived: bool
    rtt_ns: int | None
    ambiguous: bool


def estimate(probes: Sequence[ProbeRecord], manner: Manner) -> PingResult:
    """Summarise probes that were sent, in sending order.

    An answer after `timeout_s` is late: a loss, and its RTT is not reported (RFC 6673). What is
    ambiguous is neither answered nor lost. Without a single answer there are no times, with one
    no variation.

    Args:
        probes: shape (n,); times in ns of one clock.
        manner: how they were sent.
    """
    series = [_read(probe, manner) for probe in probes]
    counted = [probe for probe in series if not probe.ambiguous]
    rtts_ns = [probe.rtt_ns for probe in counted]
    answered_ns = [rtt_ns for rtt_ns in rtts_ns if rtt_ns is not None]
    result = PingResult(
        sent=len(probes),
        answered=len(answered_ns),
        late=sum(probe.arrived for probe in counted) - len(answered_ns),
        ambiguous=len(series) - len(counted),
        port_state=_port_state(series),
    )
    _describe_losses(result, counted, manner)
    arrived = [probe.record for probe in series if probe.arrived]
    if answered_ns:
        _describe_times(result, answered_ns)
        _describe_way_back(result, arrived)
    if len(answered_ns) > 1:
        result.rtt_stddev_ns = round(standard_deviation(answered_ns))
        spread_ns = max(answered_ns) - min(answered_ns)
        if manner.interval_s * NS_PER_S <= 2 * spread_ns:
            _describe_order(result, series)
    _describe_variation(result, rtts_ns)
    return result


def is_answer(probe: ProbeRecord, manner: Manner) -> bool:
    """Whether the destination itself answered.

    A port unreachable counts only for UDP and from the destination's own address: firewalls on the
    way reject with the same message.
    """
    if records.reply_kind(probe) in _TARGETS_OWN:
        return True
    return (
        manner.proto == "udp"
        and records.is_port_unreachable(probe)
        and probe.address == manner.target
    )


def _read(record: ProbeRecord, manner: Manner) -> _Probe:
    arrived = is_answer(record, manner)
    rtt_ns = records.rtt_ns(record) if arrived else None
    if rtt_ns is not None and not 0 <= rtt_ns <= manner.timeout_s * NS_PER_S:
        rtt_ns = None
    repeated = manner.proto == "tcp" and not manner.own_syns
    ambiguous = repeated and rtt_ns is not None and rtt_ns > _AMBIGUOUS_NS
    return _Probe(record=record, arrived=arrived, rtt_ns=rtt_ns, ambiguous=ambiguous)


def _port_state(series: Sequence[_Probe]) -> str:
    kinds = {records.reply_kind(probe.record) for probe in series if probe.arrived}
    if kinds & _OPEN:
        return "open"
    return "closed" if kinds & {ReplyKind.RESET, ReplyKind.UNREACHABLE} else ""


def _describe_losses(result: PingResult, counted: Sequence[_Probe], manner: Manner) -> None:
    lost = [probe.rtt_ns is None for probe in counted]
    result.loss_ratio = sum(lost) / len(lost) if lost else 0.0
    result.loss_low_ratio, result.loss_high_ratio = wilson(sum(lost), len(lost))
    result.loss_runs.extend(ping_losses.runs(lost))
    result.loss_max_run = max(result.loss_runs, default=0)
    ratio = ping_losses.after_loss_ratio(lost)
    if ratio is not None:
        result.loss_after_loss_ratio = ratio
    sent_ns = [probe.record.sent_ns for probe in counted]
    result.rate_limited_suspected = ping_losses.rationed(sent_ns, lost, proto=manner.proto)


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
    if not steps_ns:
        return
    result.ipdv_ns = round(sum(steps_ns) / len(steps_ns))
    smoothed_ns = 0.0
    for step_ns in steps_ns:
        smoothed_ns += (step_ns - smoothed_ns) / 16
    result.jitter_rfc3550_ns = round(smoothed_ns)


def _describe_way_back(result: PingResult, arrived: Sequence[ProbeRecord]) -> None:
    ttls = Counter(probe.reply_ttl for probe in arrived if 0 < probe.reply_ttl <= _INITIAL_TTLS[-1])
    if ttls:
        result.reply_ttl = ttls.most_common(1)[0][0]
        start = min(ttl for ttl in _INITIAL_TTLS if ttl >= result.reply_ttl)
        result.reverse_hops = start - result.reply_ttl


def _describe_order(result: PingResult, series: Sequence[_Probe]) -> None:
    """Answers with a smaller sequence number than one that came before them (RFC 4737 3.3), and
    how many places after the first such one the worst of them came (its 4.2)."""
    arrivals = sorted(
        (probe.record.received_ns, sequence)
        for sequence, probe in enumerate(series)
        if probe.arrived
    )
    # Sequence numbers that were the largest so far, and the place where each one came.
    records_so_far: list[tuple[int, int]] = []
    result.reordered = result.reorder_extent_max = 0
    for place, (_, sequence) in enumerate(arrivals):
        if not records_so_far or sequence > records_so_far[-1][0]:
            records_so_far.append((sequence, place))
            continue
        overtaker = next(at for larger, at in records_so_far if larger > sequence)
        result.reordered += 1
        result.reorder_extent_max = max(result.reorder_extent_max, place - overtaker)
