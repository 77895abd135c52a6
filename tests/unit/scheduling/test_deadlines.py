"""Deadlines fire in order, once, and not when cancelled."""

from __future__ import annotations

from emodis.scheduling.deadlines import Deadlines


def test_what_is_due_comes_out_by_time_and_then_in_the_order_it_was_set() -> None:
    deadlines: Deadlines[str] = Deadlines()
    for at_ns, subject in ((7, "late"), (3, "first"), (3, "second"), (9, "not yet")):
        deadlines.set(at_ns, subject)
    assert deadlines.next_ns == 3
    assert list(deadlines.due(7)) == ["first", "second", "late"]
    assert deadlines.next_ns == 9


def test_a_cancelled_one_neither_fires_nor_wakes() -> None:
    deadlines: Deadlines[str] = Deadlines()
    early = deadlines.set(3, "early")
    deadlines.set(5, "later")
    deadlines.cancel(early)
    deadlines.cancel(early)
    assert deadlines.next_ns == 5
    assert len(deadlines) == 1
    assert list(deadlines.due(5)) == ["later"]
    assert deadlines.next_ns is None


def test_cancelling_what_has_fired_is_harmless() -> None:
    deadlines: Deadlines[str] = Deadlines()
    fired = deadlines.set(3, "fired")
    assert list(deadlines.due(3)) == ["fired"]
    deadlines.cancel(fired)
    assert len(deadlines) == 0


def test_what_is_set_while_others_fire_is_due_as_well() -> None:
    deadlines: Deadlines[str] = Deadlines()
    deadlines.set(1, "one")
    fired = []
    for subject in deadlines.due(10):
        fired.append(subject)
        if subject == "one":
            deadlines.set(2, "two")
    assert fired == ["one", "two"]


def test_cancelled_ones_do_not_pile_up() -> None:
    deadlines: Deadlines[int] = Deadlines()
    deadlines.set(10**9, -1)
    for number in range(10_000):
        deadlines.cancel(deadlines.set(10**6 + number, number))
    assert len(deadlines._heap) < 100
    assert list(deadlines.due(10**9)) == [-1]
