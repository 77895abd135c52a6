"""The turning point of IGI/PTR from all trains that were a little too fast (TECHNIQUES.md 4.1).

While a train keeps the tight link busy it grows by (r + X) / C - 1: r its rate, X the competing
traffic's, C the link's capacity. So each such train says where growth begins, at r - C * growth;
their mean is far steadier than the first rate at which a train did not grow, which chance decides.

Trains below the turning point say little: whether they grow is up to bursts of the other traffic.
So do trains far above it: they may fill other links, too, and C counts for more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs

from emodis.techniques.igi_estimator import Phase
from emodis.techniques.stats import NS_PER_S

# Trains that count are above the turning point by these shares of the capacity.
LEAST_ABOVE = 0.08
MOST_ABOVE = 0.6
# A train that grew by less is no sign of a turning point at all.
LEAST_GROWTH = 0.05
# The trains' own slope is taken for 1 / C where it surely is less than the known one, and by that
# factor: behind the tight link is a narrower one, whose gaps the bursts showed.
SLOPE_ERRORS = 3.1
SLOPE_FACTOR = 1.2
SLOPE_TRAINS = 8
ROUNDS = 8


@attrs.frozen(kw_only=True)
class Growth:
    """One train: its rate, and by which share it grew, over so many seconds."""

    rate_bps: float
    ratio: float
    duration_s: float


@attrs.frozen(kw_only=True)
class Fit:
    """Where growth begins. `error_bps` is a standard error, None where two trains do not agree."""

    bps: float
    error_bps: float | None
    capacity_bps: float
    # That it was made of.
    trains: int
    # Trains grew faster with their rate than the known capacity allows: what the bursts met is not
    # what longer trains meet (a shaper with a token bucket, or several full links).
    steeper: bool = False


def growths_of(phases: Sequence[Phase]) -> tuple[Growth, ...]:
    """Of all paced trains."""
    return tuple(
        Growth(
            rate_bps=phase.rate_bps(train.gap_in_ns),
            ratio=train.gap_out_ns / train.gap_in_ns - 1,
            duration_s=train.gap_in_ns * phase.packets / NS_PER_S,
        )
        for phase in phases
        if not phase.is_burst
        for train in phase.gaps
        if train.gap_in_ns > 0
    )


def fit(growths: Sequence[Growth], capacity_bps: float | None) -> Fit | None:
    """Where growth begins; None if no train grew.

    Args:
        growths: of the paced trains.
        capacity_bps: of the narrow link, if that is known; else their own slope says it.
    """
    grown = [growth for growth in growths if growth.ratio >= LEAST_GROWTH]
    if not grown:
        return None
    if capacity_bps is None:
        line = _line(grown)
        fastest_bps = max(growth.rate_bps / (1 + growth.ratio) for growth in grown)
        capacity_bps = max(fastest_bps, 1 / line.slope) if line is not None else fastest_bps
    found = _settled(growths, _origin(grown, capacity_bps), capacity_bps)
    own = _own_line(growths, grown)
    if own is None:
        return found
    if _surely_less(own, 1 / capacity_bps):
        return _settled(growths, own.origin_bps, 1 / own.slope)
    if _surely_more(own, 1 / capacity_bps):
        settled = _settled(growths, own.origin_bps, 1 / own.slope)
        return attrs.evolve(settled, steeper=True)
    return found


def _settled(growths: Sequence[Growth], start_bps: float, capacity_bps: float) -> Fit:
    """Which trains count hangs on where growth begins, and the other way round."""
    found = Fit(bps=start_bps, error_bps=None, capacity_bps=capacity_bps, trains=0)
    for _ in range(ROUNDS):
        near = _near(growths, found, capacity_bps)
        if not near:
            break
        before, found = found, _mean(near, capacity_bps)
        if abs(found.bps - before.bps) < 1:
            break
    return found


def _near(growths: Sequence[Growth], found: Fit, capacity_bps: float) -> list[Growth]:
    """By their rates, not by their growth: else chance would choose."""
    low_bps, high_bps = (found.bps + above * capacity_bps for above in (LEAST_ABOVE, MOST_ABOVE))
    return [growth for growth in growths if low_bps <= growth.rate_bps <= high_bps]


def _origin(growths: Sequence[Growth], capacity_bps: float) -> float:
    total_s = math.fsum(growth.duration_s for growth in growths)
    return (
        math.fsum(
            growth.duration_s * (growth.rate_bps - capacity_bps * growth.ratio)
            for growth in growths
        )
        / total_s
    )


def _mean(near: Sequence[Growth], capacity_bps: float) -> Fit:
    """Weighted by duration: a train's growth scatters with 1 / sqrt(duration)."""
    bps = _origin(near, capacity_bps)
    count = len(near)
    error_bps = None
    if count > 1:
        total_s = math.fsum(growth.duration_s for growth in near)
        squares = math.fsum(
            (growth.duration_s * (growth.rate_bps - capacity_bps * growth.ratio - bps)) ** 2
            for growth in near
        )
        error_bps = math.sqrt(squares * count / (count - 1)) / total_s
    return Fit(bps=bps, error_bps=error_bps, capacity_bps=capacity_bps, trains=count)


@attrs.frozen(kw_only=True)
class _Line:
    """Growth over rate; `error` is the slope's standard error, of so many trains."""

    origin_bps: float
    slope: float
    error: float
    trains: int


def _own_line(growths: Sequence[Growth], grown: Sequence[Growth]) -> _Line | None:
    """What the trains themselves say of slope and origin, whatever the bursts showed."""
    line = _line([growth for growth in grown if growth.ratio <= MOST_ABOVE])
    for _ in range(ROUNDS):
        if line is None:
            return None
        found = Fit(bps=line.origin_bps, error_bps=None, capacity_bps=1 / line.slope, trains=0)
        before, line = line, _line(_near(growths, found, found.capacity_bps))
        if line == before:
            break
    return line


def _line(near: Sequence[Growth]) -> _Line | None:
    """Least squares, weighted by duration; None where it does not rise, or too few would say so."""
    if len(near) < SLOPE_TRAINS:
        return None
    total_s = math.fsum(growth.duration_s for growth in near)
    rate_bps = math.fsum(g.duration_s * g.rate_bps for g in near) / total_s
    ratio = math.fsum(g.duration_s * g.ratio for g in near) / total_s
    spread = math.fsum(g.duration_s * (g.rate_bps - rate_bps) ** 2 for g in near)
    if spread <= 0:
        return None
    both = math.fsum(g.duration_s * (g.rate_bps - rate_bps) * (g.ratio - ratio) for g in near)
    slope = both / spread
    if slope <= 0:
        return None
    left = math.fsum(
        g.duration_s * (g.ratio - ratio - slope * (g.rate_bps - rate_bps)) ** 2 for g in near
    )
    return _Line(
        origin_bps=rate_bps - ratio / slope,
        slope=slope,
        error=math.sqrt(left / (len(near) - 2) / spread),
        trains=len(near),
    )


def _surely_less(line: _Line, slope: float) -> bool:
    return slope > max(SLOPE_FACTOR * line.slope, line.slope + _margin(line))


def _surely_more(line: _Line, slope: float) -> bool:
    return max(SLOPE_FACTOR * slope, slope + _margin(line)) < line.slope


def _margin(line: _Line) -> float:
    """Student's t at 99.9 %, within a tenth."""
    return SLOPE_ERRORS * (1 + SLOPE_ERRORS / (line.trains - 2)) * line.error
