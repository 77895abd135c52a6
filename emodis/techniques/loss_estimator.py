"""How much a path loses, in what pattern, and where it begins: observations in, result out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import attrs

from emodis.packets.model import ReplyKind
from emodis.techniques import records
from emodis.techniques.loss_places import Place, Seen, locate, unreliable
from emodis.techniques.ping_losses import runs
from emodis.techniques.stats import NS_PER_S, median, wilson
from emodis.wire.v1.loss_pb2 import (
    HOP_LOSS_BEFORE,
    HOP_LOSS_BEHIND,
    HOP_LOSS_SILENT,
    HOP_LOSS_UNRELIABLE,
    HOP_LOSS_UNSURE,
    HopLoss,
    LossHop,
    LossObservations,
    LossPlace,
    LossResult,
    LossRun,
)
from emodis.wire.v1.techniques_pb2 import ProbeRecord

# TTL of the probes to the destination; those to routers have smaller ones.
TARGET_TTL = 64
# However losses cluster, they are not taken for less independent than this.
_MOST_MEMORY = 0.95
# 99 %: some hop among many is unlucky in its first seconds.
_FLAG_Z = 2.576
# One answer a second: so far apart are answers, so many of them, to questions at most so far apart.
# Where a question comes late its answer leaves part of a second saved, so single gaps are shorter.
_RATION_NS = (round(0.4 * NS_PER_S), round(2.2 * NS_PER_S))
_RATION_MEAN_NS = (round(0.8 * NS_PER_S), round(1.3 * NS_PER_S))
_RATION_GAPS = 8
_RATION_ASKED_NS = round(0.4 * NS_PER_S)


@attrs.frozen
class _Asked:
    """What one hop was asked: in quick blocks, and (once it was found to answer rarely) slowly."""

    quick: Sequence[ProbeRecord]
    slow: Sequence[ProbeRecord]

    @property
    def counted(self) -> Sequence[ProbeRecord]:
        """What its loss follows from: what it rationed does not count."""
        return self.slow or self.quick


def estimate(observations: LossObservations, *, timeout_s: float) -> LossResult:
    """Summarise a series (RFC 6673 round-trip loss; TECHNIQUES.md sections 1 and 2).

    Wilson's interval supposes that losses are independent. Where they come in runs, it is that of
    as many independent probes as would scatter so: n (1 - r) / (1 + r), with the correlation r of
    neighbours, as for any series with memory.

    Args:
        observations: the blocks' probes in sending order; times of one block in ns of one clock.
        timeout_s: an echo that took longer is a loss.
    """
    series = [_to_target(block.train.probes) for block in observations.blocks]
    probes = [probe for block in series for probe in block]
    lost_by_block = [[not _in_time(probe, timeout_s) for probe in block] for block in series]
    lost = [one for block in lost_by_block for one in block]
    effective = len(lost) * _independence(lost_by_block)
    ratio = sum(lost) / len(lost) if lost else 0.0
    low, high = wilson(ratio * effective, effective)
    # A run that goes on behind the pause between two blocks counts as two.
    lengths = [length for block in lost_by_block for length in runs(block)]
    result = LossResult(
        sent=len(probes),
        answered=lost.count(False),
        late=sum(map(is_echo, probes)) - lost.count(False),
        loss_ratio=ratio,
        loss_low_ratio=low,
        loss_high_ratio=high,
        runs=[LossRun(length=n, times=times) for n, times in sorted(Counter(lengths).items())],
        loss_max_run=max(lengths, default=0),
        loss_after_loss_ratio=_after_loss(lost_by_block),
        effective_probes=effective,
        duplicates=sum(block.train.duplicates for block in observations.blocks),
    )
    rtts_ns = [rtt for p in probes if _in_time(p, timeout_s) and (rtt := records.rtt_ns(p))]
    if rtts_ns:
        result.rtt_median_ns = round(median(rtts_ns))
    result.rate_limited_suspected = _rations(_departures_ns(observations), lost)
    _describe_path(result, observations, timeout_s)
    return result


def is_echo(probe: ProbeRecord) -> bool:
    """The destination has answered."""
    return records.reply_kind(probe) is ReplyKind.ECHO_REPLY


def distance(observations: LossObservations) -> int | None:
    """Hops to the destination, as far as small TTLs have reached it."""
    trains = [*observations.look, *(block.train for block in observations.blocks)]
    reached = [
        probe.ttl
        for train in trains
        for probe in train.probes
        if probe.ttl < TARGET_TTL and is_echo(probe)
    ]
    return min(reached, default=None)


def rarely_answering(observations: LossObservations, *, timeout_s: float) -> frozenset[int]:
    """TTLs of hops that left out more answers than the path loses: they are to be asked slowly."""
    slow = {ttl for block in observations.blocks for ttl in block.slow_ttls}
    target = [p for block in observations.blocks for p in _to_target(block.train.probes)]
    path_ratio = _lost(target, timeout_s) / len(target) if target else 0.0
    for ttl, asked in _by_hop(observations).items():
        lost = _lost(asked.quick, timeout_s)
        if lost >= 2 and lost / len(asked.quick) > path_ratio + 0.15:
            slow.add(ttl)
    return frozenset(slow)


def _describe_path(result: LossResult, observations: LossObservations, timeout_s: float) -> None:
    hops = distance(observations)
    if hops is not None:
        result.hop_count = hops
    asked = {t: a for t, a in _by_hop(observations).items() if hops is None or t < hops}
    result.hops.extend(_hop(ttl, asked[ttl], observations, timeout_s) for ttl in sorted(asked))
    target = Seen(
        hops or TARGET_TTL, result.effective_probes, result.loss_ratio * result.effective_probes
    )
    path = [_seen(hop) for hop in result.hops if hop.answered]
    doubtful = unreliable([*path, target])
    believed = [*(hop for hop in path if hop.ttl not in doubtful), target]
    telling = asked and result.answered and not result.rate_limited_suspected
    place = locate(believed) if telling else None
    for hop in result.hops:
        hop.shows = _shows(hop, doubtful, place)
        # It leaves out more than the path loses even when it is asked slowly.
        hop.rate_limited |= bool(asked[hop.ttl].slow) and hop.ttl in doubtful
    if place is not None:
        _describe_place(result, place, observations.target)


def _describe_place(result: LossResult, place: Place, target: bytes) -> None:
    addresses = {hop.ttl: hop.address for hop in result.hops}
    until = place.until if place.until in addresses else result.hop_count
    result.begins.CopyFrom(
        LossPlace(
            from_ttl=place.after,
            from_address=addresses.get(place.after, b""),
            to_ttl=until,
            to_address=addresses.get(until, target),
        )
    )
    if place.more_after is not None:
        result.more_behind_ttl = place.more_after


def _shows(hop: LossHop, doubtful: frozenset[int], place: Place | None) -> HopLoss.ValueType:
    if not hop.answered:
        return HOP_LOSS_SILENT
    if hop.ttl in doubtful:
        return HOP_LOSS_UNRELIABLE
    if place is not None and hop.ttl <= place.after:
        return HOP_LOSS_BEFORE
    if place is not None and hop.ttl >= place.until:
        return HOP_LOSS_BEHIND
    return HOP_LOSS_UNSURE


def _hop(ttl: int, asked: _Asked, observations: LossObservations, timeout_s: float) -> LossHop:
    lost = _lost(asked.counted, timeout_s)
    low, high = wilson(lost, len(asked.counted))
    answers = Counter(p.address for p in (*asked.quick, *asked.slow) if p.address)
    looked = [p.address for t in observations.look for p in t.probes if p.ttl == ttl and p.address]
    return LossHop(
        ttl=ttl,
        address=answers.most_common(1)[0][0] if answers else next(iter(looked), b""),
        asked=len(asked.counted),
        answered=len(asked.counted) - lost,
        loss_ratio=lost / len(asked.counted),
        loss_low_ratio=low,
        loss_high_ratio=high,
        rate_limited=_rationed(asked, timeout_s),
    )


def _rationed(asked: _Asked, timeout_s: float) -> bool:
    """Surely more was left out of quick questions than of slow ones."""
    if not asked.slow:
        return False
    at_least, _ = wilson(_lost(asked.quick, timeout_s), len(asked.quick), _FLAG_Z)
    return at_least > _lost(asked.slow, timeout_s) / len(asked.slow)


def _seen(hop: LossHop) -> Seen:
    return Seen(hop.ttl, hop.asked, hop.asked - hop.answered)


def _by_hop(observations: LossObservations) -> Mapping[int, _Asked]:
    quick: dict[int, list[ProbeRecord]] = {}
    slow: dict[int, list[ProbeRecord]] = {}
    for block in observations.blocks:
        slow_ttls = frozenset(block.slow_ttls)
        for probe in block.train.probes:
            if probe.ttl < TARGET_TTL and probe.HasField("sent_ns"):
                kept = slow if probe.ttl in slow_ttls else quick
                kept.setdefault(probe.ttl, []).append(probe)
    return {t: _Asked(quick.get(t, ()), slow.get(t, ())) for t in {*quick, *slow}}


def _to_target(probes: Sequence[ProbeRecord]) -> list[ProbeRecord]:
    return [p for p in probes if p.ttl == TARGET_TTL and p.HasField("sent_ns")]


def _rations(sent_ns: Sequence[int], lost: Sequence[bool]) -> bool:
    """Whether the destination answers about once a second, however often it is asked.

    Unlike ping's, this does not wait for the burst that such a host begins with: the look has used
    some of it up. Random losses leave gaps of all lengths between answers.
    """
    if not any(lost) or (sent_ns[-1] - sent_ns[0]) / len(lost) > _RATION_ASKED_NS:
        return False
    later_ns = [at for at, one in zip(sent_ns, lost, strict=True) if not one]
    later_ns = [at for at in later_ns if at > sent_ns[lost.index(True)]]
    gaps_ns = [after - before for before, after in pairwise(later_ns)]
    if len(gaps_ns) < _RATION_GAPS:
        return False
    (shortest_ns, longest_ns), (least_ns, most_ns) = _RATION_NS, _RATION_MEAN_NS
    regular = shortest_ns <= min(gaps_ns) and max(gaps_ns) <= longest_ns
    return regular and least_ns <= sum(gaps_ns) / len(gaps_ns) <= most_ns


def _departures_ns(observations: LossObservations) -> list[int]:
    return [
        block.train.t0_unix_ns + probe.sent_ns
        for block in observations.blocks
        for probe in _to_target(block.train.probes)
    ]


def _lost(probes: Sequence[ProbeRecord], timeout_s: float) -> int:
    return sum(not _answered(probe, timeout_s) for probe in probes)


def _answered(probe: ProbeRecord, timeout_s: float) -> bool:
    rtt_ns = records.rtt_ns(probe)
    return rtt_ns is not None and 0 <= rtt_ns <= timeout_s * NS_PER_S


def _in_time(probe: ProbeRecord, timeout_s: float) -> bool:
    return is_echo(probe) and _answered(probe, timeout_s)


def _after_loss(blocks: Sequence[Sequence[bool]]) -> float | None:
    followers = list(_followers(blocks))
    return sum(followers) / len(followers) if followers else None


def _followers(blocks: Sequence[Sequence[bool]]) -> Iterator[bool]:
    for block in blocks:
        for before, after in pairwise(block):
            if before:
                yield after


def _independence(blocks: Sequence[Sequence[bool]]) -> float:
    """What share of the probes would, independent of each other, scatter as much."""
    after_loss = _after_loss(blocks)
    others = _after_loss([[not lost for lost in block] for block in blocks])
    if after_loss is None or others is None:
        return 1.0
    memory = min(max(after_loss - (1 - others), 0.0), _MOST_MEMORY)
    return (1 - memory) / (1 + memory)
