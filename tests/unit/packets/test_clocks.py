"""Whether somebody has set the clock, told by the one that nobody can set."""

from __future__ import annotations

import pytest

from emodis.packets import clocks
from tests.support.clock import set_clock


@pytest.mark.parametrize(
    ("moved_ns", "was_set"),
    [(0, False), (500_000, False), (2_000_000, True), (-2_000_000, True), (-3600 * 10**9, True)],
)
def test_a_clock_was_set_when_it_has_moved_more_than_a_millisecond(
    moved_ns: int, was_set: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    offset_ns = clocks.realtime_offset_ns()
    set_clock(monkeypatch, moved_ns)
    assert clocks.was_set(offset_ns) is was_set
