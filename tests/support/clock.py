"""A clock that somebody sets. Only where it is compared: the kernel's stamps stay as they are."""

from __future__ import annotations

import pytest

from emodis.packets import clocks

HOUR_NS = 3600 * 10**9


def set_clock(patch: pytest.MonkeyPatch, by_ns: int = HOUR_NS) -> None:
    """Forward, or back."""
    honest = clocks.realtime_ns
    patch.setattr(clocks, "realtime_ns", lambda: honest() + by_ns)
