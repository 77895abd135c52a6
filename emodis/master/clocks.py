"""The clocks of the master, as arguments: nothing below `app` reads one by itself."""

from __future__ import annotations

from collections.abc import Callable

import attrs
from twisted.internet.interfaces import IReactorTime

NS = 1_000_000_000


@attrs.frozen(kw_only=True)
class Clocks:
    """`reactor` is for waiting; `monotonic_ns` is what `_clock_ns` means on the wire."""

    reactor: IReactorTime
    monotonic_ns: Callable[[], int]
    unix_ns: Callable[[], int]

    def now_s(self) -> float:
        """Monotonic seconds, for the sweeps."""
        return self.monotonic_ns() / NS
