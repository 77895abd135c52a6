"""One steady clock per process: CLOCK_BOOTTIME, which also runs while the machine sleeps.

Twisted's reactor keeps its timers by the wall clock. A step of that clock (NTP after boot) would
stop all keepalives or fire every timeout at once, so daemons give the reactor this one instead.
"""

from __future__ import annotations

import time

from twisted.internet.interfaces import IReactorTime


def boottime_ns() -> int:
    """Now, on the clock by which every deadline of this host is kept."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def boottime_s() -> float:
    """The same in seconds, for the reactor."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def keep_steady_time(reactor: IReactorTime) -> None:
    """Make the reactor's timers follow CLOCK_BOOTTIME; call it before the first timer is set."""
    reactor.seconds = boottime_s  # type: ignore[method-assign]
