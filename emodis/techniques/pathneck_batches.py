"""What a receiver that shows answers in batches does to gaps: they are whole numbers of quanta.

Interrupts that are held back, or a bus that is polled (USB: every 125 us), show answers at the end
of a quantum. Most gaps at a hop are then equal to the nanosecond and the others one quantum off,
which looks like no scatter at all to anything that is made of medians.
"""

from __future__ import annotations

from collections.abc import Sequence

from emodis.techniques.stats import NS_PER_US, median

# Batches outside these lengths are none.
_LEAST_NS, _MOST_NS = 25 * NS_PER_US, 250 * NS_PER_US
# Gaps that are off by a whole number of quanta, give or take this share of one.
_TOLERANCE = 0.125
_LEAST_OFF = 3
_SHARE = 0.9
# Standard deviation of the difference of two times that are each late by up to a quantum.
_SIGMAS = 6**-0.5


def scatter_ns(columns: Sequence[Sequence[float]]) -> float:
    """Standard deviation that batches give a gap; 0 where the gaps show none.

    Args:
        columns: the gaps of each place on the path, in ns.
    """
    return _SIGMAS * quantum_ns(columns)


def quantum_ns(columns: Sequence[Sequence[float]]) -> float:
    """How long the receiver gathers answers; 0 where the gaps do not tell."""
    off_ns = [abs(gap - _middle(column)) for column in columns if column for gap in column]
    far_ns = sorted(off for off in off_ns if off >= _LEAST_NS)
    if len(far_ns) < _LEAST_OFF:
        return 0.0
    quantum = median([off for off in far_ns if off < 1.5 * far_ns[0]])
    whole = sum(abs(off - quantum * round(off / quantum)) <= _TOLERANCE * quantum for off in off_ns)
    return quantum if quantum <= _MOST_NS and whole >= _SHARE * len(off_ns) else 0.0


def _middle(column: Sequence[float]) -> float:
    """The median, but always one of the values: half a quantum is none."""
    return sorted(column)[len(column) // 2]
