"""Small pure statistics shared by estimators. Nothing here knows a unit."""

from __future__ import annotations

import math
from collections.abc import Sequence

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
NS_PER_US = 1_000
# Turns a median absolute deviation into the standard deviation of a normal distribution.
MAD_TO_SIGMA = 1.4826
# Standard error of a median against that of a mean, normal distribution.
MEDIAN_SE_FACTOR = 1.25


def median(values: Sequence[float]) -> float:
    """The middle value, or the mean of the two middle ones.

    Raises:
        ValueError: for no values.
    """
    if not values:
        raise ValueError("no values have no median")
    ordered = sorted(values)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return ordered[middle - 1] / 2 + ordered[middle] / 2


def scaled_mad(values: Sequence[float]) -> float:
    """Scatter around the median, scaled to a standard deviation; 0 for one value."""
    centre = median(values)
    return MAD_TO_SIGMA * median([abs(value - centre) for value in values])


def median_error(values: Sequence[float]) -> float:
    """Standard error of the median, from the scatter of the values.

    The MAD of a few values is too small on average; n / (n - 0.8) makes up for it.
    """
    count = len(values)
    small_sample = count / (count - 0.8)
    return MEDIAN_SE_FACTOR * small_sample * scaled_mad(values) / math.sqrt(count)


def nearest_rank(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0..1] of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def standard_deviation(values: Sequence[float]) -> float:
    """Sample standard deviation of two or more values."""
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def wilson(hits: float, trials: float, z: float = 1.959964) -> tuple[float, float]:
    """Interval for a share: Wilson's score, 95 % by default. (0, 1) without trials.

    Numbers may be fractions, where trials count less than one each.
    """
    if trials <= 0:
        return 0.0, 1.0
    share = hits / trials
    weight = z * z / trials
    centre = (share + weight / 2) / (1 + weight)
    half = z * math.sqrt(share * (1 - share) / trials + weight / (4 * trials)) / (1 + weight)
    return max(0.0, centre - half), min(1.0, centre + half)
