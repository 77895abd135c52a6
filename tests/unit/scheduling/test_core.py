"""One rule of DESIGN.md section 4 after the other; the model tests combine them."""

from __future__ import annotations

import pytest

from emodis.scheduling.model import Policy, Start
from tests.unit.scheduling.rig import (
    EXPIRED_NS,
    LEASE_NS,
    RTT_MAX_NS,
    STOP_NS,
    WORST_NS,
    Rig,
    key,
)

BOTH = pytest.mark.parametrize("policy", list(Policy))


def test_an_assignment_has_its_times() -> None:
    rig = Rig(now_ns=1000)
    rig.join("a")
    rig.admit("a", "w")
    assert rig.starts["m:a>1"] == Start(
        run=key("m:a>1"),
        destination=rig.starts["m:a>1"].destination,
        start_by_ns=1000 + RTT_MAX_NS,
        stop_by_ns=1000 + RTT_MAX_NS + WORST_NS,
    )
    assert rig.starts["m:a>1"].destination == "w"
    assert rig.scheduler.wake_at_ns == 1000 + STOP_NS


@BOTH
def test_a_round_of_nothing_is_over_at_once(policy: Policy) -> None:
    rig = Rig()
    rig.join("a")
    assert rig.admit("", "w", policy=policy) == ["over m"]
    assert rig.admit("a", "", policy=policy) == ["over m"]
    assert rig.admit("a", "w", policy=policy, pairs=[]) == ["over m"]
    assert rig.scheduler.wake_at_ns is None


def test_a_destination_is_locked_over_all_requests() -> None:
    rig = Rig()
    rig.join("a", "b")
    rig.admit("a", "w")
    assert rig.admit("b", "w", measurement="n") == []
    assert rig.end("m:a>1") == ["over m", "start n:b>1"]


def test_a_destination_listed_twice_is_measured_twice_but_never_at_once() -> None:
    rig = Rig()
    rig.join("a", "b")
    assert rig.admit("ab", "ww", policy=Policy.RING) == ["start m:a>1"]
    assert rig.end("m:a>1") == ["start m:b>2"]
    assert rig.end("m:b>2") == ["start m:b>1"]
    assert rig.end("m:b>1") == ["start m:a>2"]
    assert rig.end("m:a>2") == ["over m"]


def test_an_agent_listed_twice_is_one_agent() -> None:
    rig = Rig()
    rig.join("a")
    rig.admit("aa", "w")
    assert rig.end("m:a>1") == ["over m"]


def test_an_agent_has_one_run_at_a_time() -> None:
    rig = Rig()
    rig.join("a")
    assert rig.admit("a", "w") == ["start m:a>1"]
    assert rig.admit("a", "x", measurement="n") == []
    assert rig.end("m:a>1") == ["over m", "start n:a>1"]


def test_requests_are_served_in_the_order_of_priority_and_then_of_admission() -> None:
    rig = Rig()
    rig.join("a")
    rig.admit("a", "w", measurement="running")
    for measurement, priority in (("second", 0), ("third", 0), ("last", -1), ("first", 1)):
        rig.admit("a", "w", measurement=measurement, priority=priority)
    assert rig.end("running:a>1")[-1] == "start first:a>1"
    assert rig.end("first:a>1")[-1] == "start second:a>1"
    assert rig.end("second:a>1")[-1] == "start third:a>1"
    assert rig.end("third:a>1")[-1] == "start last:a>1"


def test_the_older_request_gets_the_destination_that_both_wait_for() -> None:
    rig = Rig()
    rig.join("a", "b", "c")
    rig.admit("a", "w", measurement="running")
    rig.admit("c", "w", measurement="old")
    rig.admit("b", "w", measurement="young")
    assert rig.end("running:a>1") == ["over running", "start old:c>1"]


def test_a_straggler_expires_and_is_told_to_stop() -> None:
    rig = Rig()
    rig.join("a", "b")
    rig.admit("a", "w")
    rig.admit("ab", "wx", measurement="n", pairs=[("b", 0), ("a", 1)])
    assert rig.at(STOP_NS - 1) == []
    assert rig.at(STOP_NS) == ["start n:b>1"], "nobody may be sending to w any more"
    assert rig.at(EXPIRED_NS - 1) == []
    assert rig.at(EXPIRED_NS) == ["abort m:a>1", "expired m:a>1", "over m", "start n:a>2"]
    assert rig.end("m:a>1") == [], "a late result changes nothing"


def test_a_result_in_its_grace_is_in_time() -> None:
    rig = Rig()
    rig.join("a")
    rig.admit("a", "w")
    rig.at(STOP_NS)
    rig.now_ns = EXPIRED_NS - 1
    assert rig.end("m:a>1") == ["over m"]
    assert rig.scheduler.wake_at_ns is None


def test_after_a_standstill_all_that_arrived_meanwhile_is_in_time() -> None:
    rig = Rig()
    rig.join("a", "b")
    rig.admit("ab", "wx", pairs=[("a", 0), ("b", 1)])
    rig.now_ns = 10 * EXPIRED_NS
    assert rig.end("m:a>1") == [], "the other result is dated late as well, and not yet read"
    assert rig.scheduler.wake_at_ns == STOP_NS
    assert rig.end("m:b>2") == ["over m"]


def test_a_second_result_is_harmless() -> None:
    rig = Rig()
    rig.join("a", "b")
    rig.admit("ab", "w")
    assert rig.end("m:a>1") == ["start m:b>1"]
    assert rig.end("m:a>1") == []
    assert rig.admit("a", "w", measurement="n") == []
    assert rig.end("nobody:knows>1") == []
    assert rig.end("m:c>9") == []
    assert rig.end("m:b>1") == ["over m", "start n:a>1"]


def test_the_destination_of_a_lost_agent_stays_locked_until_stop_by() -> None:
    rig = Rig()
    rig.join("a", "b")
    rig.admit("ab", "w")
    assert rig.lose("a") == []
    assert rig.at(STOP_NS - 1) == []
    assert rig.at(STOP_NS) == ["start m:b>1"]


def test_the_destination_of_a_lost_agent_is_free_once_its_run_is_heard_of() -> None:
    rig = Rig()
    rig.join("a", "b")
    rig.admit("ab", "w")
    rig.lose("a")
    assert rig.end("m:a>1") == ["start m:b>1"]
    assert rig.end("m:b>1") == ["over m"], "the late result counts for a's pair"


def test_a_lost_agent_that_says_it_stopped_keeps_its_retry() -> None:
    rig = Rig()
    rig.join("a", "b")
    rig.admit("ab", "w")
    rig.lose("a")
    assert rig.join("a") == []
    assert rig.end("m:a>1", unfinished=True) == ["start m:b>1"]
    assert rig.end("m:b>1") == ["start m:a>1'"]
    assert rig.end("m:a>1'") == ["over m"]


def test_a_result_of_the_first_attempt_changes_nothing_while_the_second_runs() -> None:
    rig = Rig()
    rig.join("a")
    rig.admit("a", "wx")
    rig.lose("a")
    rig.at(STOP_NS)
    assert rig.join("a") == ["start m:a>1'"]
    assert rig.end("m:a>1") == []
    assert rig.end("m:a>1'") == ["start m:a>2"]
    assert rig.end("m:a>2") == ["over m"]


def test_an_agent_is_not_used_again_while_its_lost_run_may_be_sending() -> None:
    rig = Rig()
    rig.join("a")
    rig.admit("a", "w")
    rig.admit("a", "x", measurement="n")
    rig.lose("a")
    assert rig.join("a") == []
    assert rig.at(STOP_NS) == ["start m:a>1'"]


def test_an_agent_that_joins_anew_has_been_lost() -> None:
    rig = Rig()
    rig.join("a")
    rig.admit("a", "wx")
    assert rig.join("a") == []
    assert rig.at(STOP_NS) == ["start m:a>1'"]
    rig.now_ns += 1
    assert rig.join("a") == ["lost m:a>1'", "lost m:a>2", "over m"], "one retry"


def test_an_agent_is_known_even_if_its_joining_anew_ends_the_last_round_it_had() -> None:
    rig = Rig()
    rig.join("a")
    rig.admit("a", "w")
    rig.lose("a")
    rig.at(STOP_NS)
    assert rig.join("a") == ["start m:a>1'"]
    rig.at(2 * STOP_NS)
    assert rig.join("a") == ["lost m:a>1'", "over m"]
    assert rig.admit("a", "x", measurement="n") == ["start n:a>1"]


def test_joining_twice_without_a_run_changes_nothing() -> None:
    rig = Rig()
    rig.join("a", "b")
    rig.admit("b", "w")
    rig.admit("a", "w", measurement="n")
    rig.join("a")
    assert rig.end("m:b>1") == ["over m", "start n:a>1"]


def test_the_round_waits_for_the_lease_of_a_lost_agent_and_no_longer() -> None:
    rig = Rig()
    rig.join("a", "b")
    rig.admit("ab", "wx")
    rig.now_ns = 50
    rig.lose("a")
    rig.end("m:b>2")
    rig.at(STOP_NS)
    assert rig.end("m:b>1") == []
    assert rig.scheduler.wake_at_ns == 50 + LEASE_NS
    assert rig.at(50 + LEASE_NS) == ["lost m:a>1", "lost m:a>2", "over m"]


def test_coming_back_within_the_lease_ends_the_lease() -> None:
    rig = Rig()
    rig.join("a", "b")
    rig.admit("ab", "w")
    rig.lose("a")
    rig.at(STOP_NS)
    rig.join("a")
    rig.end("m:b>1")
    assert rig.scheduler.wake_at_ns == STOP_NS + STOP_NS
    assert rig.end("m:a>1'") == ["over m"]


def test_the_pairs_of_an_agent_that_never_joined_wait_for_their_lease() -> None:
    rig = Rig(now_ns=7)
    assert rig.admit("ab", "w") == []
    assert rig.join("b") == ["start m:b>1"]
    assert rig.end("m:b>1") == []
    assert rig.at(7 + LEASE_NS) == ["lost m:a>1", "over m"]


def test_a_cancelled_measurement_ends_all_its_pairs_at_once() -> None:
    rig = Rig()
    rig.join("a", "b")
    rig.admit("ab", "wx")
    rig.end("m:a>1")
    assert rig.cancel("m") == [
        "cancelled m:a>2",
        *["abort m:b>2", "cancelled m:b>2", "cancelled m:b>1"],
        "over m",
    ]
    assert rig.cancel("m") == []
    assert rig.cancel("never heard of") == []


def test_a_cancelled_run_keeps_its_agent_and_its_destination_until_it_is_confirmed() -> None:
    rig = Rig()
    rig.join("a", "b")
    rig.admit("a", "w")
    rig.admit("ab", "wx", measurement="n", pairs=[("b", 0), ("a", 1)])
    rig.cancel("m")
    assert rig.end("m:a>1") == ["start n:a>2", "start n:b>1"]


def test_a_cancelled_run_that_is_not_confirmed_is_over_at_stop_by() -> None:
    rig = Rig()
    rig.join("a", "b")
    rig.admit("a", "w")
    rig.admit("ab", "wx", measurement="n", pairs=[("b", 0), ("a", 1)])
    rig.cancel("m")
    assert rig.at(STOP_NS) == ["start n:a>2", "start n:b>1"]


def test_cancelling_does_not_wait_for_a_lost_agent() -> None:
    rig = Rig()
    rig.join("a")
    rig.admit("a", "wx")
    rig.lose("a")
    assert rig.cancel("m") == ["cancelled m:a>1", "cancelled m:a>2", "over m"]
    assert rig.at(STOP_NS) == []
    assert rig.scheduler.wake_at_ns is None
    assert rig.scheduler.remembered == 0


def test_the_clock_does_not_go_backwards() -> None:
    rig = Rig()
    rig.join("a", "b")
    rig.at(1000)
    rig.now_ns = 10
    rig.admit("a", "w")
    assert rig.starts["m:a>1"].start_by_ns == 1000 + RTT_MAX_NS


def test_a_clock_that_jumps_ends_what_is_due_and_goes_on() -> None:
    rig = Rig()
    rig.join("a")
    rig.admit("a", "wx")
    heard = rig.at(10**18)
    assert heard == ["abort m:a>1", "expired m:a>1", "start m:a>2"]
    assert rig.starts["m:a>2"].start_by_ns == 10**18 + RTT_MAX_NS


def test_a_round_that_is_under_way_is_not_admitted_again() -> None:
    rig = Rig()
    rig.join("a")
    rig.admit("a", "w")
    with pytest.raises(ValueError, match="round 0 of m is under way already"):
        rig.admit("a", "x")
    assert rig.end("m:a>1") == ["over m"]
    assert rig.admit("a", "x") == ["start m:a>1"]


@pytest.mark.parametrize("pair", [("b", 0), ("a", 1), ("a", -1)])
def test_pairs_must_be_within_their_round(pair: tuple[str, int]) -> None:
    rig = Rig()
    with pytest.raises(ValueError, match="is not within its round: list both"):
        rig.admit("a", "w", pairs=[pair])
    assert rig.scheduler.remembered == 0


def test_load_counts_the_pairs_that_have_not_ended() -> None:
    rig = Rig()
    rig.join("a", "b")
    rig.admit("ab", "wx")
    rig.admit("a", "y", measurement="n", pairs=[("a", 0)])
    a = key("m:a>1").agent
    assert rig.scheduler.load(a) == 3
    rig.end("m:a>1")
    assert rig.scheduler.load(a) == 2
    rig.cancel("m")
    assert rig.scheduler.load(a) == 1
    assert rig.scheduler.load(key("m:nobody>1").agent) == 0


def test_a_silent_run_and_the_one_started_in_its_place_name_each_other() -> None:
    rig = Rig()
    rig.join("a", "b")
    rig.admit("ab", "w")
    assert rig.scheduler.overlapping(key("m:a>1")) == ()
    rig.admit("b", "w", measurement="n")
    rig.at(STOP_NS)
    assert rig.scheduler.overlapping(key("m:a>1")) == (key("m:b>1"),)
    assert rig.scheduler.overlapping(key("m:b>1")) == (key("m:a>1"),)
    rig.end("m:a>1")
    rig.end("m:b>1")
    assert rig.scheduler.overlapping(key("m:a>1")) == (key("m:b>1"),)
    assert rig.scheduler.overlapping(key("n:b>1")) == ()


def test_what_is_over_is_forgotten() -> None:
    rig = Rig()
    rig.join("a")
    rig.admit("ab", "wx", policy=Policy.RING)
    assert rig.scheduler.remembered == 6
    rig.lose("a")
    rig.at(LEASE_NS)
    assert rig.scheduler.remembered == 0
