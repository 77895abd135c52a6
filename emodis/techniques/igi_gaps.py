"""One train of IGI/PTR: from the stamps of its two ends to gaps (TECHNIQUES.md 4.3). Pure.

A gap is measured over the bulk of a train, last arrival minus first over the difference of their
numbers, so neither loss nor reordering distorts it; single gaps serve the capacity only.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import attrs

from emodis.packets.paced import PacedOutcome, PacedTrain
from emodis.techniques.stats import NS_PER_S, median
from emodis.wire.v1.igi_pb2 import IgiTrain

# A shaper lets its burst pass at line speed before it shapes: the head of a train says nothing.
WARM_UP_SHARE = 0.1
# A train whose mean gap is further from the plan, or with one gap so many times the plan, was
# spoiled by its sender.
MEAN_ERROR_SHARE = 0.1
WORST_GAP_FACTOR = 5
# Interrupt coalescing: so many gaps are next to nothing, and the others long.
TINY_GAP_SHARE = 0.3
TINY_GAP_FACTOR = 0.1
LONG_GAP_FACTOR = 3
# What no train of ours exceeds.
LARGEST_TRAIN = 4096
LARGEST_PACKET_BYTES = 65_535
LONGEST_STEP_NS = 600 * NS_PER_S


@attrs.frozen(kw_only=True)
class Gaps:
    """What a train says; `gap_in_ns` is over the same probes as `gap_out_ns`."""

    gap_in_ns: float
    gap_out_ns: float
    # Between arrivals of probes that were neighbours when they left.
    neighbours_ns: tuple[int, ...]
    # Shortest time within which the receiver shows probes one by one; None = it shows each.
    quantum_ns: float | None
    loss_ratio: float
    reordered: int


def record(phase: int, train: PacedTrain, outcome: PacedOutcome) -> IgiTrain:
    """Keep everything about one train."""
    return IgiTrain(
        phase=phase,
        packets=train.packets,
        size_bytes=train.size_bytes,
        gap_ns=train.gap_ns,
        sent_steps_ns=_steps(outcome.sent_ns),
        received=[number for number, _ in outcome.arrivals],
        received_steps_ns=_steps([time_ns for _, time_ns in outcome.arrivals]),
        duplicates=outcome.duplicates,
        foreign=outcome.foreign,
        socket_drops=outcome.socket_drops,
        kernel_tx=outcome.kernel_tx,
        kernel_rx=outcome.kernel_rx,
    )


def gaps_of(train: IgiTrain) -> Gaps | None:
    """Measure one train.

    None where fewer than two probes of its bulk arrived, or where the record cannot be true
    (stored results come from anywhere).
    """
    if not _plausible(train):
        return None
    times_ns = list(itertools.accumulate(train.received_steps_ns))
    # zip: a record from elsewhere may not fit itself.
    arrived = list(zip(train.received, times_ns, strict=False))
    head = int(train.packets * WARM_UP_SHARE)
    bulk = [(number, time_ns) for number, time_ns in arrived if number >= head]
    numbers = [number for number, _ in bulk]
    first, last = min(numbers, default=0), max(numbers, default=0)
    if last == first:
        return None
    sent_ns = list(itertools.accumulate(train.sent_steps_ns))
    if last >= len(sent_ns):
        return None
    bulk_times_ns = [time_ns for _, time_ns in bulk]
    return Gaps(
        gap_in_ns=(sent_ns[last] - sent_ns[first]) / (last - first),
        gap_out_ns=(max(bulk_times_ns) - min(bulk_times_ns)) / (last - first),
        neighbours_ns=tuple(
            after_ns - before_ns
            for (one, before_ns), (other, after_ns) in itertools.pairwise(arrived)
            if other == one + 1 and after_ns >= before_ns
        ),
        quantum_ns=_quantum_ns(times_ns),
        loss_ratio=1 - len(arrived) / train.packets if train.packets else 0.0,
        reordered=_reordered([number for number, _ in arrived]),
    )


def delays_ns(train: IgiTrain) -> list[int]:
    """One-way delays in the order of sending, each with the same unknown offset; none of lost ones.

    The head, which a shaper lets pass, is left out; [] where the record cannot be true.
    """
    if not _plausible(train):
        return []
    sent_ns = list(itertools.accumulate(train.sent_steps_ns))
    times_ns = itertools.accumulate(train.received_steps_ns)
    head = int(train.packets * WARM_UP_SHARE)
    arrived = sorted(zip(train.received, times_ns, strict=False))
    return [at_ns - sent_ns[n] for n, at_ns in arrived if head <= n < len(sent_ns)]


def rises_ns(train: IgiTrain) -> tuple[float, float] | None:
    """By how much the delays rose in each half of a train; None for a short one."""
    delays = delays_ns(train)
    tenth = len(delays) // 10
    if tenth < 2:
        return None
    middle = len(delays) // 2
    begin, half, end = (
        median(part) for part in (delays[:tenth], delays[middle:][:tenth], delays[-tenth:])
    )
    return half - begin, end - half


def spoiled(train: IgiTrain) -> bool:
    """Whether it left otherwise than planned. A burst cannot be: its plan is no plan."""
    gaps_ns = list(train.sent_steps_ns)[1:]
    if not gaps_ns or not train.gap_ns:
        return False
    mean_ns = sum(gaps_ns) / len(gaps_ns)
    if abs(mean_ns - train.gap_ns) > MEAN_ERROR_SHARE * train.gap_ns:
        return True
    return max(gaps_ns) > WORST_GAP_FACTOR * train.gap_ns


def _plausible(train: IgiTrain) -> bool:
    steps_ns = (*train.sent_steps_ns, *train.received_steps_ns)
    return (
        len(train.received) <= train.packets <= LARGEST_TRAIN
        and train.size_bytes <= LARGEST_PACKET_BYTES
        and all(abs(step_ns) <= LONGEST_STEP_NS for step_ns in steps_ns)
    )


def _steps(times_ns: Sequence[int]) -> list[int]:
    if not times_ns:
        return []
    return [0, *(after - before for before, after in itertools.pairwise(times_ns))]


def _reordered(numbers: Sequence[int]) -> int:
    """Probes that arrived behind one with a greater number (RFC 4737)."""
    late, largest = 0, -1
    for number in numbers:
        late += number < largest
        largest = max(largest, number)
    return late


def _quantum_ns(times_ns: Sequence[int]) -> float | None:
    gaps_ns = [after - before for before, after in itertools.pairwise(times_ns)]
    if not gaps_ns:
        return None
    mean_ns = (times_ns[-1] - times_ns[0]) / len(gaps_ns)
    long_ns = [gap_ns for gap_ns in gaps_ns if gap_ns >= TINY_GAP_FACTOR * mean_ns]
    tiny = len(gaps_ns) - len(long_ns)
    if tiny < TINY_GAP_SHARE * len(gaps_ns) or not long_ns:
        return None
    typical_ns = median(long_ns)
    return typical_ns if typical_ns >= LONG_GAP_FACTOR * mean_ns else None
