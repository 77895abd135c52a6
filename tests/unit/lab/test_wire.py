from __future__ import annotations

import random
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emodis.lab import frames
from emodis.lab.impairment import Impairment
from emodis.lab.wire import MOST_LATENESS_NS, NO_CROSS_TRAFFIC, Direction, Lateness

MS = 1_000_000


def direction(**values: float) -> Direction:
    return Direction(impairment=Impairment(**values), chance=random.Random(1))


def test_a_delay_is_the_same_for_all() -> None:
    wire = direction(delay_s=0.010)
    assert [wire.dues_ns(k * MS) for k in range(3)] == [[10 * MS], [11 * MS], [12 * MS]]


@given(st.lists(st.integers(0, 20 * MS), min_size=1, max_size=50))
def test_jitter_adds_and_keeps_the_order(gaps_ns: list[int]) -> None:
    wire = direction(delay_s=0.005, jitter_s=0.010)
    sent_ns, last_ns = 0, 0
    for gap_ns in gaps_ns:
        sent_ns += gap_ns
        (due_ns,) = wire.dues_ns(sent_ns)
        assert sent_ns + 5 * MS <= due_ns <= max(sent_ns + 15 * MS, last_ns)
        assert due_ns >= last_ns
        last_ns = due_ns


def test_what_is_held_back_holds_nobody_else_up() -> None:
    wire = direction(reorder_ratio=0.3, reorder_by_s=0.005)
    late_ns = [wire.dues_ns(k * MS)[0] - k * MS for k in range(1000)]
    assert set(late_ns) == {0, 5 * MS}
    assert late_ns.count(5 * MS) == pytest.approx(300, abs=60)


def test_copies_arrive_together() -> None:
    wire = direction(duplicate_ratio=0.2)
    dues = [wire.dues_ns(7) for _ in range(1000)]
    assert {tuple(due) for due in dues} == {(7,), (7, 7)}
    assert sum(len(due) == 2 for due in dues) == pytest.approx(200, abs=50)


def test_lateness_settles_where_nine_of_ten_wake_ups_are_in_time() -> None:
    lateness, chance = Lateness(), random.Random(1)
    for _ in range(5000):
        lateness.observe(round(chance.random() * 100_000))
    assert lateness.ns == pytest.approx(90_000, abs=15_000)
    for _ in range(1000):
        lateness.observe(10**9)
    assert lateness.ns == MOST_LATENESS_NS
    for _ in range(1000):
        lateness.observe(-1)
    assert lateness.ns == 0


@pytest.mark.parametrize(
    ("destination", "kept"), [("198.18.0.1", False), ("198.19.255.1", False), ("10.1.0.1", True)]
)
def test_cross_traffic_is_left_out(destination: str, kept: bool) -> None:
    frame = bytes(12) + b"\x08\x00" + bytes(16) + socket.inet_aton(destination) + bytes(30)
    assert bool(run(NO_CROSS_TRAFFIC, frame)) is kept


def test_other_families_are_carried() -> None:
    assert run(NO_CROSS_TRAFFIC, bytes(12) + b"\x86\xdd" + bytes(40))


def run(program: tuple[frames.Instruction, ...], frame: bytes) -> int:
    """What a classic BPF program of the instructions used here returns."""
    at, value = 0, 0
    while True:
        code, jump_true, jump_false, constant = program[at]
        at += 1
        match code:
            case frames.LOAD_HALF:
                value = struct.unpack_from("!H", frame, constant)[0]
            case frames.LOAD_WORD:
                value = struct.unpack_from("!I", frame, constant)[0]
            case frames.LOAD_BYTE:
                value = frame[constant]
            case frames.AND:
                value &= constant
            case frames.JUMP_EQUAL:
                at += jump_true if value == constant else jump_false
            case frames.RETURN:
                return constant
            case _:
                raise AssertionError(code)
