"""From trains to available bandwidth: PTR, its range, and IGI beside it (TECHNIQUES.md 4).

The turning point is where a train arrives as long as it was sent. PTR is the rate there. Deviation
from the authors' tool: "as long" is relative only; its absolute 5 us make a path of 10 Mbit/s look
half as fast as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from emodis.techniques.igi_gaps import Gaps, gaps_of
from emodis.techniques.stats import NS_PER_S, median
from emodis.wire.v1.igi_pb2 import IgiTrain

# Width of a histogram bin of single gaps, as a share of their median, and at least.
BIN_SHARE = 0.1
SMALLEST_BIN_NS = 1000
# The tool's rule for single gaps that cross traffic has stretched.
INCREASED_NS = 5000
# The capacity is known well enough for IGI when so many gaps agree on it.
LEAST_MODE_SHARE = 0.3


@attrs.frozen(kw_only=True)
class Phase:
    """All good trains with one gap."""

    number: int
    packets: int
    size_bytes: int
    gaps: tuple[Gaps, ...]
    arrivals: int
    sent: int
    # One of those after PTR's answer.
    precise: bool = False

    @property
    def gap_in_ns(self) -> float:
        return median([train.gap_in_ns for train in self.gaps])

    @property
    def gap_out_ns(self) -> float:
        return median([train.gap_out_ns for train in self.gaps])

    @property
    def is_burst(self) -> bool:
        """Phase 0: sent as fast as possible."""
        return self.number == 0

    def arrived_as_sent(self, epsilon_ratio: float) -> bool:
        """Whether the path carried this rate."""
        growth = median([train.gap_out_ns / max(1.0, train.gap_in_ns) for train in self.gaps])
        return growth <= 1 + epsilon_ratio

    def rate_bps(self, gap_ns: float) -> int:
        """The rate of these probes so far apart."""
        return round(self.size_bytes * 8 * NS_PER_S / max(1.0, gap_ns))


@attrs.frozen(kw_only=True)
class Capacity:
    """Of the tight link, from the gaps of bursts; `mode_ratio` of them agree."""

    gap_ns: float
    bps: int
    mode_ratio: float


@attrs.frozen(kw_only=True)
class Turning:
    """Where the search found the path.

    PTR is the rate of `phase`, the first of those in a row that arrived as they were sent; `below`
    is the last of them, and `above` the last one before that was stretched.
    """

    phase: Phase | None
    below: Phase | None
    above: Phase | None


def phases_of(trains: Sequence[IgiTrain]) -> list[Phase]:
    """Good trains, phase by phase; a phase without any is left out.

    Bursts with other probes than the last ones (they were too small for the path) are left out.
    """
    found: list[Phase] = []
    for number in sorted({train.phase for train in trains}):
        of_phase = [t for t in trains if t.phase == number and not t.discarded]
        if of_phase:
            last = of_phase[-1]
            of_phase = [t for t in of_phase if t.size_bytes == last.size_bytes]
        measured = [(train, gaps) for train in of_phase if (gaps := gaps_of(train)) is not None]
        if measured:
            found.append(_phase(number, measured))
    return found


def turning_point(phases: Sequence[Phase], *, epsilon_ratio: float, confirm: int) -> Turning:
    """The first of `confirm` phases in a row that arrived as they were sent.

    Without one, `phase` is None and `above` is the slowest phase that arrived stretched.
    """
    above: Phase | None = None
    row: list[Phase] = []
    for phase in phases:
        if not phase.is_burst and phase.arrived_as_sent(epsilon_ratio):
            row.append(phase)
            if len(row) == confirm:
                return Turning(phase=row[0], below=row[-1], above=above)
        else:
            row.clear()
            above = phase
    return Turning(phase=None, below=None, above=above)


def capacity(phases: Sequence[Phase]) -> Capacity | None:
    """The mode of the gaps of the bursts, with its neighbour bins; None without bursts."""
    bursts = [phase for phase in phases if phase.is_burst]
    gaps_ns = [gap for phase in bursts for train in phase.gaps for gap in train.neighbours_ns]
    if not gaps_ns:
        return None
    width_ns = max(SMALLEST_BIN_NS, BIN_SHARE * median(gaps_ns))
    bins: dict[int, list[int]] = {}
    for gap_ns in gaps_ns:
        bins.setdefault(int(gap_ns / width_ns), []).append(gap_ns)
    mode = max(bins, key=lambda number: (len(bins[number]), -number))
    agreeing = [gap for near in (mode - 1, mode, mode + 1) for gap in bins.get(near, ())]
    own_ns = sum(agreeing) / len(agreeing)
    if own_ns <= 0:
        return None
    return Capacity(
        gap_ns=own_ns,
        bps=bursts[0].rate_bps(own_ns),
        mode_ratio=len(agreeing) / len(gaps_ns),
    )


def known_capacity_bps(phases: Sequence[Phase]) -> float | None:
    """The capacity, where it is known well enough and the receiver shows each probe."""
    found = capacity(phases)
    if found is None or found.mode_ratio < LEAST_MODE_SHARE or quantum_ns(phases) is not None:
        return None
    return found.bps


def competing_bps(phase: Phase, known: Capacity) -> int | None:
    """IGI: the rate of the cross traffic, from the stretched gaps at the turning point.

    The sum of their growth beyond the tight link's own gap, over the length of all (IGI's
    formula); the median over the trains.
    """
    rates = []
    for train in phase.gaps:
        total_ns = sum(train.neighbours_ns)
        if not total_ns:
            continue
        threshold_ns = max(known.gap_ns, train.gap_in_ns) + INCREASED_NS
        grown_ns = sum(gap - known.gap_ns for gap in train.neighbours_ns if gap > threshold_ns)
        rates.append(known.bps * grown_ns / total_ns)
    return round(median(rates)) if rates else None


def least_bps(below: Phase, known: Capacity | None) -> int:
    """What the path carried at the least.

    A train that grew by less than epsilon was still a little faster than the path. Where the
    capacity is known the fluid model says by how much: g_O = g_B + g_I X / B while it is.
    """
    rate_bps = below.rate_bps(below.gap_in_ns)
    if known is None or below.gap_out_ns <= below.gap_in_ns:
        return rate_bps
    busy_ratio = (below.gap_out_ns - known.gap_ns) / max(1.0, below.gap_in_ns)
    return max(0, min(rate_bps, round(known.bps * (1 - busy_ratio))))


def quantum_ns(phases: Sequence[Phase]) -> float | None:
    """The receiver's quantum, where most trains of a phase show one."""
    worst: float | None = None
    for phase in phases:
        seen = [train.quantum_ns for train in phase.gaps if train.quantum_ns is not None]
        if 2 * len(seen) > len(phase.gaps):
            worst = max(worst or 0.0, median(seen))
    return worst


def _phase(number: int, measured: Sequence[tuple[IgiTrain, Gaps]]) -> Phase:
    trains = [train for train, _ in measured]
    return Phase(
        number=number,
        packets=trains[-1].packets,
        size_bytes=trains[-1].size_bytes,
        gaps=tuple(gaps for _, gaps in measured),
        arrivals=sum(len(train.received) for train in trains),
        sent=sum(train.packets for train in trains),
        precise=trains[-1].precise,
    )
