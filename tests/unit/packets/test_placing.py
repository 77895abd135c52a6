"""Answers that do not say what they answer."""

from __future__ import annotations

from ipaddress import IPv4Address

from hypothesis import given
from hypothesis import strategies as st

from emodis.packets.model import Address
from emodis.packets.placing import Placing

A, B, C = (IPv4Address(f"192.0.2.{n}") for n in (1, 2, 3))


def placing(*ttls: int, known: dict[Address, int] | None = None) -> Placing[str]:
    return Placing(ttls, known or {})


def test_a_router_that_is_known_has_answered_the_probe_for_its_hop() -> None:
    there = placing(1, 2, 3, known={B: 2})
    assert there.place(B) == 1


def test_the_two_probes_for_one_hop_are_answered_in_order() -> None:
    there = placing(1, 2, 255, 2, 1, known={B: 2})
    assert there.place(B) == 1
    there.answered(1, by_target=False)
    assert there.place(B) == 3
    there.answered(3, by_target=False)
    assert there.place(B) is None


def test_where_only_one_hop_is_asked_it_is_its_answer() -> None:
    there = placing(64, 64)
    assert there.place(A) == 0
    there.answered(0, by_target=True)
    assert there.place(A) == 1


def test_an_unknown_router_waits_until_the_silent_hops_are_known() -> None:
    there = placing(1, 2, 3, 4)
    assert there.place(B) is None
    there.keep(B, "second")
    assert there.place(C) is None
    there.keep(C, "third")
    there.answered(0, by_target=False)
    there.answered(3, by_target=True)
    assert list(there.settle()) == [(1, "second"), (2, "third")]


def test_where_several_readings_are_possible_none_is_chosen() -> None:
    there = placing(1, 2, 3, 4)
    there.keep(B, "somewhere")
    there.answered(0, by_target=False)
    there.answered(3, by_target=True)
    assert list(there.settle()) == [(None, "somewhere")]


def test_nothing_lies_behind_the_target() -> None:
    there = placing(1, 2, 3, 4)
    there.keep(A, "first")
    there.answered(1, by_target=True)
    assert list(there.settle()) == [(0, "first")]


def test_more_answers_than_probes_are_left_over() -> None:
    there = placing(1)
    there.keep(A, "first")
    there.keep(A, "again")
    assert list(there.settle()) == [(0, "first"), (None, "again")]


@given(
    ttls=st.lists(st.integers(1, 6), min_size=1, max_size=12),
    heard=st.lists(st.sampled_from([A, B, C]), max_size=12),
    known=st.dictionaries(st.sampled_from([A, B, C]), st.integers(1, 6)),
)
def test_no_probe_gets_two_answers(
    ttls: list[int], heard: list[Address], known: dict[Address, int]
) -> None:
    there: Placing[int] = Placing(ttls, known)
    given_to = []
    for number, address in enumerate(heard):
        index = there.place(address)
        if index is None:
            there.keep(address, number)
        else:
            there.answered(index, by_target=False)
            given_to.append(index)
    given_to += [index for index, _ in there.settle() if index is not None]
    assert len(given_to) == len(set(given_to))


def test_a_flood_of_answers_that_say_nothing_is_not_kept() -> None:
    there = placing(1, 2)
    for number in range(100_000):
        there.keep(IPv4Address(number), "word")
    assert len(list(there.settle())) == 8
