"""The three clocks of a train: pacing, the run's end, and the one kernel stamps are made with."""

from __future__ import annotations

import time

# Somebody has set the clock when it has moved so far against the one that nobody can set.
STEP_NS = 1_000_000


def monotonic_ns() -> int:
    """For pacing and waiting."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def boottime_ns() -> int:
    """For deadlines: goes on while the host is suspended."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def realtime_ns() -> int:
    """The clock of kernel stamps; somebody may set it."""
    return time.clock_gettime_ns(time.CLOCK_REALTIME)


def realtime_offset_ns() -> int:
    """CLOCK_REALTIME - CLOCK_MONOTONIC: moves only when somebody sets the clock.

    The narrowest of a few sandwiched readings, because this process may lose the processor between
    any two of them.
    """
    narrowest, offset = 1 << 62, 0
    for _ in range(16):
        before = monotonic_ns()
        real = realtime_ns()
        after = monotonic_ns()
        if after - before < narrowest:
            narrowest, offset = after - before, real - (before + after) // 2
        if narrowest < 20_000:
            break
    return offset


def was_set(offset_ns: int) -> bool:
    """Whether somebody has set the clock since `realtime_offset_ns` was `offset_ns`."""
    return abs(realtime_offset_ns() - offset_ns) > STEP_NS
