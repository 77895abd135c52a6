"""Whether a train was too fast for the path: the trend of its one-way delays. Pure.

A train faster than what is left over fills a queue, so its probes take longer and longer (self
loading; Jain and Dovrolis, SIGCOMM 2002). Two tests see that, and they err on different trains: how
often the delay rises from one group of probes to the next (pairwise comparison), and how much of
all its ups and downs is a rise from the first group to the last (pairwise difference). Medians of
groups keep single late probes out; the two clocks need not agree, since only differences count.
"""

from __future__ import annotations

import enum
import itertools
import math
from collections.abc import Sequence

from emodis.techniques.igi_gaps import delays_ns
from emodis.techniques.stats import median
from emodis.wire.v1.igi_pb2 import IgiTrain

# Fewer groups say nothing.
LEAST_GROUPS = 5
# Shares at which a test says "rising", or "flat" below; a random walk has 0.5 and about 0.
COMPARED_RISING, COMPARED_FLAT = 0.66, 0.54
DIFFERED_RISING, DIFFERED_FLAT = 0.55, 0.45


class Trend(enum.Enum):
    """What the delays of a train did."""

    RISING = "rising"
    FLAT = "flat"
    UNCLEAR = "unclear"


def trend_of(train: IgiTrain) -> Trend:
    """Rising where one test says so and the other does not object; flat likewise."""
    return trend(delays_ns(train))


def trend(delays: Sequence[int]) -> Trend:
    """The same of delays in the order in which their probes were sent, with any common offset."""
    groups = _group_medians(delays)
    if len(groups) < LEAST_GROUPS:
        return Trend.UNCLEAR
    steps = [after - before for before, after in itertools.pairwise(groups)]
    ways = sum(abs(step) for step in steps)
    compared = sum(step > 0 for step in steps) / len(steps)
    differed = (groups[-1] - groups[0]) / ways if ways else 0.0
    words = {
        _word(compared, COMPARED_FLAT, COMPARED_RISING),
        _word(differed, DIFFERED_FLAT, DIFFERED_RISING),
    }
    words.discard(Trend.UNCLEAR)
    return words.pop() if len(words) == 1 else Trend.UNCLEAR


def _word(share: float, flat: float, rising: float) -> Trend:
    if share > rising:
        return Trend.RISING
    return Trend.FLAT if share < flat else Trend.UNCLEAR


def _group_medians(delays: Sequence[int]) -> list[float]:
    """About as many groups as each has members."""
    size = math.isqrt(len(delays))
    if not size:
        return []
    whole = len(delays) - len(delays) % size
    return [median(delays[at : at + size]) for at in range(0, whole, size)]
