"""Keeping the processor while a train flies: real-time priority and one place, where allowed.

Raised for the train only, so that estimators and everything else of this process compete like
others. Measured for paced trains beside a busy process (LAB.md 1): it takes the outliers of a
whole time slice, 4 ms, away. A real-time process that is pinned stays where its caches are; any
other one is not pinned, since then it could not evade a busy neighbour.
"""

from __future__ import annotations

import contextlib
import ctypes
import enum
import os
from collections.abc import Iterator

# The lowest real-time priority is above everything that has none.
_PRIORITY = os.sched_param(1)
_NORMAL = os.sched_param(0)
_NICENESS = -10
_libc = ctypes.CDLL(None)


class Footing(enum.Enum):
    """What this host allows; the values are for people."""

    REAL_TIME = "real-time priority"
    NICE = "a raised priority"
    NORMAL = "no raised priority"


def find_footing() -> Footing:
    """Try; being nice to ourselves stays switched on, real time is switched off again."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, _PRIORITY)
        os.sched_setscheduler(0, os.SCHED_OTHER, _NORMAL)
    except OSError:
        pass
    else:
        return Footing.REAL_TIME
    try:
        os.setpriority(os.PRIO_PROCESS, 0, min(_NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))
    except OSError:
        return Footing.NORMAL
    return Footing.NICE


class Steadiness:
    """A context manager factory: `with steadiness.held(): ...` around a train."""

    def __init__(self, footing: Footing) -> None:
        self._footing = footing

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Real time and pinned to where we are, if the footing is for it; undone at the end."""
        if self._footing is not Footing.REAL_TIME:
            yield
            return
        places = os.sched_getaffinity(0)
        # Not being allowed any more, half way, is no reason to lose a train.
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_FIFO, _PRIORITY)
            here = int(_libc.sched_getcpu())
            if here in places:
                os.sched_setaffinity(0, {here})
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                os.sched_setscheduler(0, os.SCHED_OTHER, _NORMAL)
            with contextlib.suppress(OSError):
                os.sched_setaffinity(0, places)
