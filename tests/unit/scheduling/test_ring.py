"""Policy `ring` against the paper: Figure 3 step by step, phases, barriers, and who is reserved."""

from __future__ import annotations

import heapq

import pytest

from emodis.scheduling.model import Policy
from tests.unit.scheduling.rig import EXPIRED_NS, LEASE_NS, STOP_NS, Rig, name

# TECHNIQUES.md section 6: durations for the paper's Figure 3, by agent in the order of its visits.
FIGURE_3 = (
    {"m:1>1": 3, "m:1>2": 4, "m:1>3": 2, "m:1>4": 2}
    | {"m:2>2": 2, "m:2>3": 3, "m:2>4": 3, "m:2>1": 2}
    | {"m:3>3": 4, "m:3>4": 2, "m:3>1": 2, "m:3>2": 2}
)
# Who is where after the events of each time; the numbers in the margin are the paper's steps.
FIGURE_3_STEPS = {
    0: {"1": 1, "2": 2, "3": 3},  # (1)
    2: {"1": 1, "3": 3},  # (2) agent 2 is done with 2 and waits for 3
    3: {"1": 2, "3": 3},  # (3) agent 1 goes on, for 2 is free
    4: {"1": 2, "2": 3, "3": 4},  # (4) agent 3 goes on and releases agent 2
    6: {"1": 2, "2": 3, "3": 1},  # (5) agent 3 goes back to 1
    7: {"1": 3, "2": 4, "3": 1},
    8: {"1": 3, "2": 4, "3": 2},
    9: {"2": 4, "3": 2},
    10: {"1": 4, "2": 1},
    12: {},
}


def play(rig: Rig, durations: dict[str, int]) -> dict[int, dict[str, int]]:
    """Let every started run last as long as it says; who is where after each time."""
    where: dict[int, dict[str, int]] = {}
    ends: list[tuple[int, str]] = []
    known: set[str] = set()
    while True:
        for text in rig.starts.keys() - known:
            heapq.heappush(ends, (rig.now_ns + durations[text], text))
            known.add(text)
        if not ends or ends[0][0] > rig.now_ns:
            running = [rig.starts[text].run for _, text in ends]
            where[rig.now_ns] = {run.agent: run.destination + 1 for run in running}
        if not ends:
            return where
        rig.now_ns, text = heapq.heappop(ends)
        rig.end(text)


def test_figure_3() -> None:
    rig = Rig()
    rig.join("1", "2", "3")
    heard = rig.admit("123", "wxyz", policy=Policy.RING)
    assert heard == ["start m:1>1", "start m:2>2", "start m:3>3"]
    assert play(rig, FIGURE_3) == FIGURE_3_STEPS


@pytest.mark.parametrize("size", [1, 2, 5])
def test_as_many_agents_as_destinations_and_equal_durations_never_wait(size: int) -> None:
    rig = Rig()
    agents = "abcde"[:size]
    rig.join(*agents)
    rig.admit(agents, "vwxyz"[:size], policy=Policy.RING)
    runs = {f"m:{agent}>{d + 1}" for agent in agents for d in range(size)}
    where = play(rig, dict.fromkeys(runs, 7))
    assert list(where) == [7 * step for step in range(size + 1)]
    assert all(len(set(there.values())) == size for there in list(where.values())[:-1])


def test_more_agents_than_destinations_form_phases_with_a_strict_barrier() -> None:
    rig = Rig()
    rig.join(*"abcde")
    assert rig.admit("abcde", "wx", policy=Policy.RING) == ["start m:a>1", "start m:b>2"]
    assert rig.end("m:a>1") == []
    assert rig.end("m:b>2") == ["start m:b>1", "start m:a>2"]
    assert rig.end("m:b>1") == [], "c waits although 1 is free: a is not done with the phase"
    assert rig.end("m:a>2") == ["start m:c>1", "start m:d>2"]
    rig.end("m:c>1")
    rig.end("m:d>2")
    rig.end("m:d>1")
    assert rig.end("m:c>2") == ["start m:e>1"], "the last phase has fewer agents"
    assert rig.end("m:e>1") == ["start m:e>2"]
    assert rig.end("m:e>2") == ["over m"]


def test_one_agent_goes_round_alone_and_one_destination_is_visited_in_turn() -> None:
    rig = Rig()
    rig.join("a", "b")
    rig.admit("a", "wx", policy=Policy.RING)
    assert rig.end("m:a>1") == ["start m:a>2"]
    rig.end("m:a>2")
    assert rig.admit("ab", "w", measurement="n", policy=Policy.RING) == ["start n:a>1"]
    assert rig.end("n:a>1") == ["start n:b>1"]
    assert rig.end("n:b>1") == ["over n"]


def test_the_neighbour_of_a_lost_agent_is_the_next_living_one() -> None:
    rig = Rig()
    rig.join(*"abc")
    rig.admit("abc", "wxy", policy=Policy.RING)
    rig.end("m:a>1")
    assert rig.lose("b") == [], "b may still be sending to 2"
    assert rig.end("m:c>3") == ["start m:c>1"]
    assert rig.at(STOP_NS) == ["start m:a>2"]


def test_an_agent_lost_while_it_waits_does_not_hold_up_those_behind_it() -> None:
    rig = Rig()
    rig.join(*"abc")
    rig.admit("abc", "wxy", policy=Policy.RING)
    assert rig.end("m:b>2") == [], "b waits for c to leave 3"
    assert rig.end("m:a>1") == ["start m:a>2"]
    assert rig.lose("b") == []
    assert rig.end("m:c>3") == ["start m:c>1"]
    assert rig.end("m:a>2") == ["start m:a>3"], "where b would have come first"


def test_a_run_that_expires_lets_the_neighbour_in() -> None:
    rig = Rig()
    rig.join(*"ab")
    rig.admit("ab", "wx", policy=Policy.RING)
    rig.end("m:a>1")
    assert rig.at(STOP_NS) == [], "2 is unlocked, but its run has not ended yet"
    assert rig.at(EXPIRED_NS) == [
        *["abort m:b>2", "expired m:b>2"],
        *["start m:b>1", "start m:a>2"],
    ]


def test_a_phase_of_absent_agents_is_passed_over() -> None:
    rig = Rig()
    rig.join("c")
    assert rig.admit("abc", "wx", policy=Policy.RING) == ["start m:c>1"]


def test_an_agent_in_the_middle_of_a_ring_is_reserved_for_it() -> None:
    rig = Rig()
    rig.join(*"ab")
    rig.admit("ab", "wx", policy=Policy.RING)
    rig.admit("ab", "z", measurement="n")
    assert rig.end("m:a>1") == [], "a waits for 2; it is not lent to n"
    rig.end("m:b>2")
    assert rig.end("m:b>1") == ["start n:b>1"], "b has finished its ring"


def test_an_agent_that_has_not_started_serves_the_next_oldest_request() -> None:
    rig = Rig()
    rig.join(*"abc")
    rig.admit("abc", "wx", policy=Policy.RING)
    assert rig.admit("abc", "z", measurement="n") == ["start n:c>1"]
    for run in ("m:a>1", "m:b>2", "m:b>1"):
        rig.end(run)
    assert rig.end("m:a>2") == []
    assert rig.end("n:c>1") == ["start m:c>1", "start n:a>1"]


def test_two_rings_cannot_wait_for_each_others_agents() -> None:
    """b begins the younger ring while the older one's destination is locked elsewhere."""
    rig = Rig()
    rig.join(*"abz")
    rig.admit("z", "x", measurement="first")
    assert rig.admit("ab", "wx", measurement="old", policy=Policy.RING) == ["start old:a>1"]
    heard = rig.admit("ab", "uv", measurement="young", policy=Policy.RING)
    assert heard == ["start young:b>2"]
    assert rig.end("first:z>1") == ["over first"]
    assert rig.end("young:b>2") == ["start old:b>2"], "the older ring calls it away"
    assert rig.end("old:a>1") == [], "a is reserved for the older ring"
    assert rig.end("old:b>2") == ["start old:b>1", "start old:a>2"]
    assert rig.end("old:a>2") == ["start young:a>1"]


def test_a_cancelled_ring_lets_go_of_the_agents_that_wait_in_it() -> None:
    rig = Rig()
    rig.join(*"ab")
    rig.admit("ab", "wx", policy=Policy.RING)
    rig.admit("a", "z", measurement="n")
    rig.end("m:a>1")
    heard = rig.cancel("m")
    assert heard[-2:] == ["over m", "start n:a>1"]


def test_a_lost_agent_comes_back_for_its_pairs_at_the_end_of_the_round() -> None:
    rig = Rig()
    rig.join(*"ab")
    rig.admit("ab", "wx", policy=Policy.RING)
    rig.lose("b")
    rig.at(STOP_NS)
    assert rig.join("b") == [], "its turn is at the end"
    assert rig.end("m:a>1") == ["start m:a>2"]
    assert rig.end("m:a>2") == ["start m:b>1"], "which had no attempt yet"
    assert rig.end("m:b>1") == ["start m:b>2'"]
    assert rig.end("m:b>2'") == ["over m"]
    assert STOP_NS < LEASE_NS
    assert {name(start.run) for start in rig.starts.values()} == rig.starts.keys()
