from __future__ import annotations

import pytest

from emodis.master.watch import Lag, Watch


def test_who_is_silent_comes_out_once_longest_silent_first() -> None:
    watch: Watch[str] = Watch(10.0)
    watch.heard("a", 0.0)
    watch.heard("b", 1.0)
    watch.heard("a", 2.0)
    assert watch.due(10.9) == []
    assert watch.due(12.0) == ["b", "a"]
    assert watch.due(99.0) == []
    assert len(watch) == 0


def test_the_forgotten_never_come_out() -> None:
    watch: Watch[str] = Watch(10.0)
    watch.heard("a", 0.0)
    watch.forget("a")
    watch.forget("never known")
    assert watch.due(99.0) == []


def test_lost_time_is_forgiven_to_those_who_were_there_only() -> None:
    watch: Watch[str] = Watch(10.0)
    watch.heard("before", 0.0)
    watch.forgive(30.0)
    watch.heard("after", 31.0)
    assert watch.due(39.9) == []
    assert watch.due(40.0) == ["before"]
    assert watch.due(40.9) == []
    assert watch.due(41.0) == ["after"]


@pytest.mark.parametrize(
    ("times", "lost_s"), [([0.0], 0), ([0.0, 1.0], 0), ([0.0, 1.9], 0), ([0.0, 11.0], 10)]
)
def test_lag_counts_beyond_its_tolerance(times: list[float], lost_s: float) -> None:
    lag = Lag()
    assert [lag.tick(now_s) for now_s in times][-1] == lost_s
