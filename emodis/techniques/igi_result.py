"""What is said about a run of IGI/PTR: its numbers, how good it is. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from emodis.techniques.base import Measured
from emodis.techniques.igi_directions import name_of
from emodis.techniques.igi_estimator import (
    LEAST_MODE_SHARE,
    Capacity,
    Phase,
    Turning,
    capacity,
    competing_bps,
    known_capacity_bps,
    least_bps,
    phases_of,
    quantum_ns,
    turning_point,
)
from emodis.techniques.igi_fit import fit, growths_of
from emodis.techniques.igi_gaps import rises_ns
from emodis.techniques.igi_precise import answer
from emodis.techniques.igi_verdict import Way, without_answer
from emodis.techniques.skeleton import DONE, grade
from emodis.techniques.stats import NS_PER_S, median
from emodis.wire.v1.common_pb2 import Quality
from emodis.wire.v1.igi_pb2 import IgiObservations, IgiPhase, IgiResult

MOST_REORDERED_RATIO = 0.05
# Trains that grew by this share, so many of them, whose first halves rose by so much less than
# their second ones: on an even path both rise alike.
LEAST_RISE_RATIO = 0.05
LEAST_GROWN = 5
MOST_LATE_RATIO = 0.45
# A range wider than this share of the answer is worth a word.
WIDE_RANGE_RATIO = 0.5


def measured(
    observations: IgiObservations, *, epsilon_ratio: float, confirm: int, upstream: bool
) -> Measured:
    """Estimate everything from the trains of one run."""
    phases = phases_of(observations.trains)
    turning = turning_point(phases, epsilon_ratio=epsilon_ratio, confirm=confirm)
    result = _result(observations, phases, turning)
    result.direction = name_of(upstream)
    result.relayed = observations.relayed
    way = Way(upstream=upstream, relayed=observations.relayed)
    found = turning.phase is not None
    return Measured(
        ending=DONE if found else without_answer(observations.stopped, way),
        result=result if phases else None,
        observations=observations,
        quality=_quality(observations, result),
    )


def _result(observations: IgiObservations, phases: Sequence[Phase], turning: Turning) -> IgiResult:
    known = capacity(phases)
    coalesced = quantum_ns(phases) is not None
    trustworthy = known is not None and known.mode_ratio >= LEAST_MODE_SHARE and not coalesced
    paced = [phase for phase in phases if not phase.is_burst]
    result = IgiResult(
        phases=[_phase(phase) for phase in phases],
        converged=turning.phase is not None,
        loss_ratio=_loss_ratio(paced),
        coalesced=coalesced,
        trains=len(observations.trains),
        trains_discarded=sum(1 for train in observations.trains if train.discarded),
        packets=sum(train.packets for train in observations.trains),
        reordered=sum(train.reordered for phase in phases for train in phase.gaps),
        foreign=sum(train.foreign for train in observations.trains),
        capacity_mode_ratio=known.mode_ratio if known is not None else 0.0,
    )
    if known is not None and trustworthy:
        result.capacity_bps = known.bps
    if turning.above is not None:
        result.high_bps = turning.above.rate_bps(turning.above.gap_out_ns)
    if turning.phase is not None and turning.below is not None:
        result.ptr_bps = _ptr_bps(turning.phase, phases)
        result.turning_gap_ns = round(8 * turning.phase.size_bytes * NS_PER_S / result.ptr_bps)
        lowest_bps = least_bps(turning.below, known if trustworthy else None)
        result.low_bps = min(result.ptr_bps, lowest_bps)
        if result.HasField("high_bps"):
            result.high_bps = max(result.high_bps, result.ptr_bps)
        if known is not None and trustworthy:
            _add_igi(result, turning.phase, known)
        if any(phase.precise for phase in phases):
            _add_precise(result, observations)
    return result


def _add_precise(result: IgiResult, observations: IgiObservations) -> None:
    found = answer(observations.trains)
    if found is None:
        return
    result.precise_bps = round(found.bps)
    if found.low_bps > 0:
        result.precise_low_bps = round(found.low_bps)
    if found.high_bps < float("inf"):
        result.precise_high_bps = round(found.high_bps)


def _ptr_bps(turning: Phase, phases: Sequence[Phase]) -> int:
    """The rate at which growth begins; the first that did not grow, where none did before."""
    own = [phase for phase in phases if not phase.precise]
    found = fit(growths_of(own), known_capacity_bps(own))
    if found is None or not found.trains or found.bps <= 0:
        return turning.rate_bps(turning.gap_out_ns)
    return round(found.bps)


def _add_igi(result: IgiResult, phase: Phase, known: Capacity) -> None:
    competing = competing_bps(phase, known)
    if competing is not None:
        result.competing_bps = min(known.bps, competing)
        result.igi_bps = known.bps - result.competing_bps


def _phase(phase: Phase) -> IgiPhase:
    return IgiPhase(
        gap_in_ns=round(phase.gap_in_ns),
        gap_out_ns=round(phase.gap_out_ns),
        trains=len(phase.gaps),
        loss_ratio=max(0.0, 1 - phase.arrivals / phase.sent),
        reordered=sum(train.reordered for train in phase.gaps),
        packets=phase.packets,
        size_bytes=phase.size_bytes,
    )


def _loss_ratio(paced: Sequence[Phase]) -> float:
    sent = sum(phase.sent for phase in paced)
    return max(0.0, 1 - sum(phase.arrivals for phase in paced) / sent) if sent else 0.0


def _quality(observations: IgiObservations, result: IgiResult) -> Quality:
    fair: list[str] = []
    poor: list[str] = []
    if not result.converged:
        poor.append("no turning point was found")
    if result.loss_ratio > 0.1:
        poor.append(f"{100 * result.loss_ratio:.0f} % of the probes were lost")
    elif result.loss_ratio > 0.01:
        fair.append(f"{100 * result.loss_ratio:.0f} % of the probes were lost")
    looked_at = sum(phase.trains * phase.packets for phase in result.phases)
    if result.reordered > MOST_REORDERED_RATIO * looked_at:
        fair.append(f"{result.reordered} probes arrived out of order")
    if result.coalesced:
        fair.append("the receiver gathers packets before it shows them")
    _doubt_range(result, fair)
    if result.converged and _is_shaped(observations):
        fair.append(
            "the path lets the first packets of a train pass faster (a token bucket?): longer "
            "transfers may get less"
        )
    _doubt_hosts(observations, fair, poor)
    return grade(fair, poor)


def _is_shaped(observations: IgiObservations) -> bool:
    """Whether trains begin to grow late, or bursts met a faster path than they."""
    phases = phases_of(observations.trains)
    found = fit(growths_of(phases), known_capacity_bps(phases))
    if found is None:
        return False
    grown = [
        halves
        for train in observations.trains
        if not train.discarded and train.gap_ns and (halves := rises_ns(train)) is not None
        if sum(halves) > LEAST_RISE_RATIO * train.gap_ns * train.packets
    ]
    first_ns, second_ns = sum(first for first, _ in grown), sum(second for _, second in grown)
    return found.steeper or (len(grown) >= LEAST_GROWN and first_ns < MOST_LATE_RATIO * second_ns)


def _doubt_range(result: IgiResult, fair: list[str]) -> None:
    if not result.converged:
        return
    if not result.HasField("high_bps") or not _was_stretched(result):
        fair.append("even the fastest paced train arrived as it was sent: it may be more")
    elif result.high_bps - result.low_bps > WIDE_RANGE_RATIO * result.ptr_bps:
        fair.append("the range is wide")


def _was_stretched(result: IgiResult) -> bool:
    """Whether a paced phase was too fast; a burst always is."""
    return any(phase.gap_in_ns < 0.95 * phase.gap_out_ns for phase in result.phases)


def _doubt_hosts(observations: IgiObservations, fair: list[str], poor: list[str]) -> None:
    trains = observations.trains
    spoilt = sum(1 for train in trains if train.discarded == "sender")
    if spoilt * 3 > len(trains):
        fair.append(f"{spoilt} of {len(trains)} trains were spoiled by the sending host")
    if any(train.socket_drops for train in trains):
        poor.append("the receiving host lost packets for want of buffer space")
    if not all(train.kernel_rx for train in trains):
        fair.append("times of arrival are the process's, not the kernel's")
    used = [train for train in trains if not train.discarded and train.gap_ns]
    if used and median([train.packets for train in used]) < 30:
        fair.append("trains of less than 30 probes are at the mercy of chance")
