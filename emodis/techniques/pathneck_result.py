"""Pathneck's answer: choke points, bounds and doubts, from observations alone.

Rates are IP-layer bits per second. A choke point's rate is an upper bound of the link's available
bandwidth, loose under load; behind the last choke point only a lower bound is known: the train
arrives no faster, so links with more than that are invisible (TECHNIQUES.md 3.2, 3.5).
"""

from __future__ import annotations

from collections.abc import Sequence

from emodis.techniques import pathneck_gaps as gaps
from emodis.techniques.arrival import arrived
from emodis.techniques.pathneck_cause import Reason, reason
from emodis.techniques.pathneck_estimator import Profile, Step, profile
from emodis.techniques.pathneck_gaps import Readings
from emodis.techniques.pathneck_shaper import LONG_TRAINS, Shaper, shaper
from emodis.techniques.segmentation import Threshold
from emodis.techniques.stats import NS_PER_S, median
from emodis.wire.v1.techniques_pb2 import (
    Bound,
    Cooperation,
    PathneckBottleneck,
    PathneckHop,
    PathneckObservations,
    PathneckResult,
    PathneckTrain,
)

# Fewer places than this along the path show nothing.
LEAST_PLACES = 3
# A queue shorter than the train has been seen so often.
_LEAST_TRUNCATED = 3
# An audible train so much longer, and so far outside the scatter of single trains, shows that
# the muted load was dropped.
_CONTROL_RATIO = 2.0
_CONTROL_SIGMAS = 6.0
# Gaps of audible trains that the links themselves make differ by no more, whatever their packets.
_ALIKE_RATIO = 0.7
# Two trains agree.
_SHAPER_CONFIDENCE = 0.5


def build(observations: PathneckObservations, readings: Readings) -> PathneckResult | None:
    """The whole result; None where there are too few places with a gap."""
    if len(readings.ttls) < LEAST_PLACES or not readings.kept:
        return None
    found = profile(readings.gaps_ns)
    steps = {readings.ttls[step.position]: step for step in found.steps}
    result = PathneckResult(
        hops=_hops(readings, found, steps),
        choke_ttls=sorted(steps),
        resolution_ratio=found.resolution_ratio,
        noise_ns=round(found.noise_ns),
        last_link=last_link(observations, readings),
        train_bytes=_train_bytes(readings.kept[0]),
        remark=_remark(observations, readings, found),
        cooperation=_cooperation(observations, readings),
    )
    if readings.ttls[0] == 0:
        result.hop0_gap_ns = round(found.gap_ns[0])
    if found.bottleneck is not None:
        why = reason(observations, readings, found)
        result.bottleneck.CopyFrom(_bottleneck(readings, found.bottleneck, why))
        _correct(result, readings, found.bottleneck, why)
    hidden = shaper(observations, readings, found, trains=LONG_TRAINS)
    if hidden is not None:
        _reveal(result, readings, hidden)
    count(observations, readings, result)
    return result


def count(
    observations: PathneckObservations, readings: Readings, result: PathneckResult
) -> PathneckResult:
    """Fill in how many trains there were, and what held them up."""
    result.trains_sent = len(observations.trains)
    result.trains_used = len(readings.kept)
    result.trains_discarded_sender = readings.discarded.count(gaps.SENDER)
    result.trains_discarded_route = readings.discarded.count(gaps.ROUTE)
    result.limiting_ttl = observations.limiting_ttl
    result.longest_interval_ns = observations.longest_interval_ns
    stalls = [stall for train in readings.kept if (stall := gaps.stall_ns(train)) is not None]
    if stalls:
        result.send_gap_error_ns = round(median(stalls))
    return result


def last_link(observations: PathneckObservations, readings: Readings) -> str:
    """Whether the trains were measured as they arrived at the destination itself."""
    if readings.hops not in readings.ttls:
        return "unmeasured"
    answers = (gaps.head(train, readings.hops) for train in readings.kept)
    target, proto = observations.target, gaps.probe_proto(observations)
    measured = any(arrived(answer, target, proto=proto) for answer in answers)
    return "measured" if measured else "unmeasured"


def _cooperation(observations: PathneckObservations, readings: Readings) -> Cooperation.ValueType:
    """Whether the destination's own stamps are those of the last link."""
    if not observations.greetings:
        return Cooperation.COOPERATION_UNSPECIFIED
    answers = (gaps.head(train, readings.hops) for train in readings.kept)
    if readings.hops in readings.ttls and any(answer.HasField("far_ns") for answer in answers):
        return Cooperation.COOPERATION_USED
    return Cooperation.COOPERATION_UNANSWERED


def truncated_at(trains: Sequence[PathneckTrain]) -> int | None:
    """The hop from which on all tails are missing while their heads are there.

    Then a queue before that hop is shorter than the train, if it happens in three trains.
    """
    seen = [ttl for train in trains if (ttl := first_lost_tail(train)) is not None]
    return min(seen) if len(seen) >= _LEAST_TRUNCATED else None


def first_lost_tail(train: PathneckTrain) -> int | None:
    """Where it lost its end: the last two or more hops that answered heads answered no tail."""
    if not gaps.is_well_formed(train):
        return None
    answered = [
        ttl for ttl in range(1, train.hops + 1) if gaps.head(train, ttl).HasField("received_ns")
    ]
    lost: list[int] = []
    for ttl in reversed(answered):
        if gaps.tail(train, ttl).HasField("received_ns"):
            break
        lost.append(ttl)
    return lost[-1] if len(lost) > 1 else None


def mute_is_filtered(readings: Readings, controls: Sequence[PathneckTrain]) -> bool:
    """True if trains with valid checksums grow where the muted ones do not.

    A firewall that checks sums has then dropped the load: head and tail travel on with the hole
    it left between them, and links behind it are not probed at all. The shortest audible gap
    counts: a longer one may have met cross traffic. Where the answers to the load queue on a slow
    way back, the tail's behind them, large packets with their shorter answers stretch far less.
    """
    if len(readings.ttls) < LEAST_PLACES or not readings.kept:
        return False
    if not gaps.is_muted(readings.kept[0]):
        return False
    found = profile(readings.gaps_ns)
    step_ns = Threshold(noise_ns=found.noise_ns).step_ns
    grown = 0
    for position, ttl in list(enumerate(readings.ttls))[::-1]:
        level_ns = found.level_ns[position]
        rows = [gaps.normalised(train) for train in controls if train.hops >= ttl]
        audible = [gap for row in rows if (gap := row[ttl]) is not None]
        if not audible or ttl == 0:
            continue
        beyond_noise_ns = max(step_ns(level_ns), _CONTROL_SIGMAS * found.mad_ns[position])
        if min(audible) <= max(_CONTROL_RATIO * level_ns, level_ns + beyond_noise_ns):
            break
        if min(audible) < _ALIKE_RATIO * max(audible):
            break
        grown += 1
    return grown > 0


def controls(observations: PathneckObservations) -> list[PathneckTrain]:
    """The trains whose load was sent unmuted for comparison."""
    return [
        train
        for train in observations.trains
        if train.discarded == gaps.CONTROL and gaps.is_well_formed(train)
    ]


def _remark(observations: PathneckObservations, readings: Readings, found: Profile) -> str:
    if _was_filtered(observations, readings):
        return "filtered_badsum"
    shortened = truncated_at([t for t in observations.trains if t.discarded == gaps.INCOMPLETE])
    if shortened is not None and shortened not in readings.ttls:
        return f"train_truncated({shortened})"
    return "" if found.steps else "no_choke_point"


def _was_filtered(observations: PathneckObservations, readings: Readings) -> bool:
    muted = [train for train in observations.trains if gaps.is_well_formed(train)]
    if not gaps.is_muted(readings.kept[0]):
        return any(gaps.is_muted(train) for train in muted)
    return mute_is_filtered(readings, controls(observations))


def _rate_bps(readings: Readings, gap_ns: float) -> int:
    return round(8 * gaps.spanned_bytes(readings.kept[0], 1) * NS_PER_S / gap_ns)


def _hops(readings: Readings, found: Profile, steps: dict[int, Step]) -> list[PathneckHop]:
    place = {ttl: position for position, ttl in enumerate(readings.ttls)}
    hops = []
    for ttl in range(1, readings.hops + 1):
        hop = PathneckHop(
            ttl=ttl,
            address=readings.addresses.get(ttl, b""),
            valid_trains=readings.valid_trains.get(ttl, 0),
            bound=Bound.BOUND_UNKNOWN,
        )
        if ttl in place:
            _measured(hop, readings, found, place[ttl], steps.get(ttl))
        hops.append(hop)
    return hops


def _measured(
    hop: PathneckHop, readings: Readings, found: Profile, position: int, step: Step | None
) -> None:
    hop.gap_ns = round(found.gap_ns[position])
    hop.gap_mad_ns = round(found.mad_ns[position])
    hop.level_ns = round(found.level_ns[position])
    hop.rate_bps = _rate_bps(readings, found.gap_ns[position])
    if step is not None:
        hop.choke_point = True
        hop.detection_ratio = step.detection_ratio
    if step is not None or position == 0:
        # Without hop 0 nothing says how fast the train entered the first link.
        hop.bound = Bound.BOUND_UPPER
        hop.bound_bps = _rate_bps(readings, found.level_ns[position])
    else:
        hop.bound = Bound.BOUND_LOWER
        hop.bound_bps = _rate_bps(readings, found.level_ns[position - 1])


def _bottleneck(readings: Readings, step: Step, why: Reason) -> PathneckBottleneck:
    ttl, before = readings.ttls[step.position], readings.ttls[step.position - 1]
    found = PathneckBottleneck(
        ttl=ttl,
        from_ttl=before,
        from_address=readings.addresses.get(before, b"") if before else b"",
        to_address=readings.addresses.get(ttl, b""),
        bound_bps=round(_rate_bps(readings, step.level_ns) * _without(readings, why)),
        confidence=step.confidence,
        access=before == 0 and ttl == 1,
        bucket_bytes=why.bucket_bytes,
        cause=why.cause,
    )
    if why.capacity_bps is not None:
        found.capacity_bps = round(why.capacity_bps)
    if why.utilisation_ratio is not None and why.avail_bps is not None:
        found.utilisation_ratio = why.utilisation_ratio
        found.avail_bps = round(why.avail_bps)
    return found


def _without(readings: Readings, why: Reason) -> float:
    """Share of a train that a token bucket did not let pass at once."""
    return 1 - why.bucket_bytes / gaps.spanned_bytes(readings.kept[0], 1)


def _correct(result: PathneckResult, readings: Readings, step: Step, why: Reason) -> None:
    """Rates from the bottleneck on without what its bucket let pass at once."""
    first, share = readings.ttls[step.position], _without(readings, why)
    for hop in result.hops:
        if hop.ttl >= first and hop.HasField("rate_bps"):
            hop.rate_bps = round(hop.rate_bps * share)
            hop.bound_bps = round(hop.bound_bps * share)


def _reveal(result: PathneckResult, readings: Readings, hidden: Shaper) -> None:
    """A link that only long trains find slow is the bottleneck of all that is longer."""
    result.remark = f"shaper_suspected({hidden.ttl})"
    result.choke_ttls[:] = sorted({*result.choke_ttls, hidden.ttl})
    result.bottleneck.CopyFrom(
        PathneckBottleneck(
            ttl=hidden.ttl,
            from_ttl=hidden.from_ttl,
            from_address=readings.addresses.get(hidden.from_ttl, b""),
            to_address=readings.addresses.get(hidden.ttl, b""),
            bound_bps=hidden.rate_bps,
            confidence=_SHAPER_CONFIDENCE,
        )
    )
    for hop in result.hops:
        if hop.ttl >= hidden.ttl:
            hop.bound = Bound.BOUND_UPPER
            hop.bound_bps = hidden.rate_bps
            hop.choke_point = hop.ttl == hidden.ttl


def _train_bytes(train: PathneckTrain) -> int:
    size = train.train.probes[0].size_bytes
    return 2 * train.hops * size + train.load_packets * train.load_size_bytes
