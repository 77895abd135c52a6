"""Where a row of train gaps along a path steps up: pure arrays in, split positions out.

Deviations from the original Pathneck tool, and why (TECHNIQUES.md 3.3, 3.5; evidence A): one
segmentation over the medians of all trains, segment levels are medians, only increases count,
splits are penalised, and leading gaps are never overwritten (that rule hid early bottlenecks).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import attrs

from emodis.techniques.stats import NS_PER_US, median

MAX_SPLITS = 4
STEP_MIN_NS = 100 * NS_PER_US
STEP_RELATIVE = 0.10
NOISE_FACTOR = 3.0


@attrs.frozen(kw_only=True)
class Threshold:
    """How large a step must be to count, given the noise of the levels."""

    noise_ns: float
    step_min_ns: float = STEP_MIN_NS
    step_relative: float = STEP_RELATIVE
    noise_factor: float = NOISE_FACTOR

    @property
    def penalty_ns(self) -> float:
        """What a split costs; also the smallest step at any level."""
        return max(self.step_min_ns, self.noise_factor * self.noise_ns)

    def step_ns(self, level_ns: float, shorter: int | None = None) -> float:
        """The smallest step up from a level.

        `shorter` is the length of the shorter of the two segments: a median of few hops is itself
        noisy, so that a step to or from a single hop must be larger (None: do not care).
        """
        noisy_ns = self.noise_factor * self.noise_ns
        if shorter is not None:
            noisy_ns *= math.sqrt(1 + 1 / shorter)
        return max(self.step_min_ns, noisy_ns, self.step_relative * level_ns)


def smooth(levels_ns: Sequence[float]) -> list[float]:
    """Remove single hills and valleys: a train that really changed its length stays changed.

    An inner value above its smoothed predecessor and raw successor falls to the larger of them;
    one below both rises to the smaller. The ends keep their values.
    """
    smoothed = list(levels_ns)
    for i in range(1, len(levels_ns) - 1):
        before, after = smoothed[i - 1], levels_ns[i + 1]
        smoothed[i] = min(max(levels_ns[i], min(before, after)), max(before, after))
    return smoothed


def split(levels_ns: Sequence[float], threshold: Threshold) -> tuple[int, ...]:
    """Positions at which a new, higher segment begins; empty if none is worth its penalty.

    Minimises the sum of |value - median of its segment| plus a penalty for each split, over all
    ways with at most MAX_SPLITS splits in which each segment's median exceeds that of the one
    before by at least `threshold.step_ns`. O(splits * n^3).
    """
    if not levels_ns:
        return ()
    table = _Segments(levels_ns)
    # (last segment's start, end) -> (cost, starts of the segments behind the first)
    best: dict[tuple[int, int], tuple[float, tuple[int, ...]]] = {
        (0, end): (table.cost(0, end), ()) for end in range(len(levels_ns))
    }
    whole = best[0, len(levels_ns) - 1]
    for _ in range(MAX_SPLITS):
        best = _one_more(best, table, threshold)
        finished = [found for (_, end), found in best.items() if end == len(levels_ns) - 1]
        whole = min([whole, *finished])
    return whole[1]


def segment_levels(levels_ns: Sequence[float], splits: Sequence[int]) -> list[float]:
    """For each position the median of the segment it lies in."""
    bounds = [0, *splits, len(levels_ns)]
    return [
        median(levels_ns[start:end])
        for start, end in itertools.pairwise(bounds)
        for _ in range(start, end)
    ]


class _Segments:
    """Median and cost of every segment, each computed once."""

    def __init__(self, levels_ns: Sequence[float]) -> None:
        self.size = len(levels_ns)
        self._median: dict[tuple[int, int], float] = {}
        self._cost: dict[tuple[int, int], float] = {}
        for start in range(self.size):
            for end in range(start, self.size):
                part = levels_ns[start : end + 1]
                centre = median(part)
                self._median[start, end] = centre
                self._cost[start, end] = sum(abs(value - centre) for value in part)

    def level(self, start: int, end: int) -> float:
        return self._median[start, end]

    def cost(self, start: int, end: int) -> float:
        return self._cost[start, end]


def _one_more(
    best: dict[tuple[int, int], tuple[float, tuple[int, ...]]],
    table: _Segments,
    threshold: Threshold,
) -> dict[tuple[int, int], tuple[float, tuple[int, ...]]]:
    """Append one segment to every partial solution that it may follow."""
    longer: dict[tuple[int, int], tuple[float, tuple[int, ...]]] = {}
    for (start, end), (cost, splits) in best.items():
        level = table.level(start, end)
        begin = end + 1
        for stop in range(begin, table.size):
            shorter = min(begin - start, stop + 1 - begin)
            if table.level(begin, stop) < level + threshold.step_ns(level, shorter):
                continue
            total = cost + table.cost(begin, stop) + threshold.penalty_ns
            known = longer.get((begin, stop))
            if known is None or total < known[0]:
                longer[begin, stop] = (total, (*splits, begin))
    return longer
