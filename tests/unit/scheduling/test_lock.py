"""Policy `lock`: whoever is idle takes whatever is free, what was begun first."""

from __future__ import annotations

from emodis.scheduling.lock import LockOrder
from emodis.scheduling.model import Policy
from tests.unit.scheduling.rig import Rig


def test_agents_start_at_once_on_different_destinations() -> None:
    rig = Rig()
    rig.join("a", "b", "c")
    assert rig.admit("abc", "wx") == ["start m:a>1", "start m:b>2"]


def test_a_freed_destination_goes_to_whoever_waits_and_the_freed_agent_goes_on() -> None:
    rig = Rig()
    rig.join("a", "b", "c")
    rig.admit("abc", "wx")
    assert rig.end("m:a>1") == ["start m:c>1"]
    assert rig.end("m:b>2") == ["start m:a>2"]
    assert rig.end("m:c>1") == ["start m:b>1"]
    assert rig.end("m:a>2") == ["start m:c>2"]
    assert rig.end("m:c>2") == []
    assert rig.end("m:b>1") == ["over m"]


def test_a_destination_that_was_begun_comes_before_one_that_was_not() -> None:
    rig = Rig()
    rig.join("z", "a", "b")
    rig.admit("z", "1", measurement="other")
    assert rig.admit("ab", "1234") == ["start m:a>2", "start m:b>3"]
    assert rig.end("m:a>2") == ["start m:a>4"]
    assert rig.end("other:z>1") == ["over other"]
    assert rig.end("m:b>3") == ["start m:b>2"], "not 1, which is as free"


def test_an_agent_of_a_lock_round_is_lent_to_younger_rounds_while_it_waits() -> None:
    rig = Rig()
    rig.join("a", "b")
    rig.admit("ab", "w")
    assert rig.admit("b", "x", measurement="n") == ["start n:b>1"]


def test_1000_by_1000_needs_no_object_per_pair() -> None:
    everything = (1 << 1000) - 1
    order = LockOrder(
        [everything] * 1000, 1000, available=lambda agent: True, free=lambda destination: True
    )
    assert order.left == 1_000_000
    assert len({id(row) for row in order._todo}) == 1
    assert len({id(row) for row in order._need}) == 1


def test_any_gives_each_destination_to_the_agent_chosen_for_it() -> None:
    rig = Rig()
    rig.join("a", "b")
    heard = rig.admit("ab", "wxy", policy=Policy.LOCK, pairs=[("a", 0), ("a", 2), ("b", 1)])
    assert heard == ["start m:a>1", "start m:b>2"]
    assert rig.end("m:b>2") == []
    assert rig.end("m:a>1") == ["start m:a>3"]
    assert rig.end("m:a>3") == ["over m"]
