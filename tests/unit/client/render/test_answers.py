from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emodis.client.render.answers import answers
from emodis.client.render.bottleneck import opinion
from emodis.client.render.decoded import decoded
from emodis.client.report import Report
from emodis.wire.v1.client_pb2 import Result
from emodis.wire.v1.common_pb2 import END_FAILED
from emodis.wire.v1.techniques_pb2 import (
    CAUSE_CAPACITY,
    CAUSE_LOAD,
    CAUSE_UNSPECIFIED,
    Cause,
    TracerouteResult,
)
from tests.unit.client.builders import (
    MBIT,
    MS,
    failure,
    pathneck,
    ping,
    report,
    result,
    target,
    traceroute,
)

PATH = ("10.1.0.1", "10.2.0.1", "10.3.0.1", "10.6.0.2")


def sentence(
    *results: Result, technique: str = "pathneck", to_me: bool = False, upstream: bool = False
) -> str:
    (found,) = answers(report(technique, *results, to_me=to_me, upstream=upstream))
    return found


def test_all_agree() -> None:
    slow = pathneck(*PATH, bottleneck=3)
    found = sentence(*(result(a, slow, owners=True) for a in "abc"), to_me=True)
    assert found == (
        "The bottleneck towards you is the link 10.2.0.1 → 10.3.0.1 (AS 65002 → AS 65003), "
        "at most 9.6 Mbit/s; 3 of 3 agents agree."
    )


def test_one_agent_has_nobody_to_agree_with() -> None:
    found = sentence(result("a", pathneck(*PATH, bottleneck=3)))
    assert found == (
        "The bottleneck towards w1 (10.6.0.2) is the link 10.2.0.1 → 10.3.0.1, at most 9.6 Mbit/s."
    )


def test_the_least_of_the_upper_bounds_is_said() -> None:
    found = sentence(
        result("a", pathneck(*PATH, bottleneck=3, bound_bps=20 * MBIT)),
        result("b", pathneck(*PATH, bottleneck=3, bound_bps=12 * MBIT)),
    )
    assert "at most 12.0 Mbit/s; 2 of 2 agents agree" in found


def test_agents_that_enter_the_router_before_from_different_sides_agree() -> None:
    """Its address differs, that of the far router does not: it answers by its ingress."""
    found = sentence(
        result("a", pathneck("10.1.0.1", "10.2.0.1", "10.3.0.1", bottleneck=3)),
        result("b", pathneck("10.8.0.1", "10.2.9.9", "10.3.0.1", bottleneck=3)),
    )
    assert "2 of 2 agents agree" in found


def test_agents_that_see_different_links_are_told_apart() -> None:
    found = sentence(
        result("a", pathneck(*PATH, bottleneck=3)),
        result("b", pathneck(*PATH, bottleneck=3)),
        result("c", pathneck("10.8.0.1", "10.9.0.1", "10.3.0.1", bottleneck=2, bound_bps=4 * MBIT)),
        result("d", pathneck(*PATH)),
    )
    assert found == (
        "The bottleneck towards w1 (10.6.0.2) is the link 10.2.0.1 → 10.3.0.1, at most "
        "9.6 Mbit/s; 2 of 4 agents agree; c sees it on the link 10.8.0.1 → 10.9.0.1, at most "
        "4.0 Mbit/s; d found none stronger than 12 %."
    )


def test_an_agent_behind_a_slow_access_link_is_no_witness_against_the_others() -> None:
    found = sentence(
        result("a", pathneck(*PATH, bottleneck=3)),
        result("b", pathneck("10.8.0.1", *PATH[1:], bottleneck=1, access=True, bound_bps=MBIT)),
    )
    assert "the link 10.2.0.1 → 10.3.0.1" in found
    assert "1 of 2 agents says so" in found
    assert "b is limited by its own access link to 1.0 Mbit/s and cannot see behind it" in found


def test_access_links_only() -> None:
    found = sentence(result("b", pathneck(*PATH, bottleneck=1, access=True)), to_me=True)
    assert found == (
        "What limits the path towards you lies at the measuring end: b is limited by its own "
        "access link to 9.6 Mbit/s and cannot see behind it."
    )


def test_upstream_the_own_access_link_is_the_answer() -> None:
    found = sentence(result("", pathneck(*PATH, bottleneck=1, access=True)), upstream=True)
    assert found == (
        "The bottleneck from you to w1 (10.6.0.2) is your own access link "
        "(this host → 10.1.0.1), at most 9.6 Mbit/s."
    )


@pytest.mark.parametrize(
    ("causes", "words"),
    [
        ([CAUSE_CAPACITY, CAUSE_UNSPECIFIED], "9.6 Mbit/s (a slow link, not a busy one); 2 of 2"),
        ([CAUSE_LOAD, CAUSE_LOAD], "9.6 Mbit/s (a busy link: others use about 60 % of it); 2 of"),
        ([CAUSE_LOAD, CAUSE_CAPACITY], "9.6 Mbit/s; 2 of 2"),
    ],
)
def test_slow_or_busy_is_said_where_nobody_disagrees(
    causes: list[Cause.ValueType], words: str
) -> None:
    seen = []
    for cause in causes:
        one = pathneck(*PATH, bottleneck=3)
        one.bottleneck.cause = cause
        if cause == CAUSE_LOAD:
            one.bottleneck.utilisation_ratio = 0.6
        seen.append(one)
    found = sentence(*(result(name, one) for name, one in zip("ab", seen, strict=True)))
    assert f"at most {words}" in found


def test_silent_hops_leave_a_stretch() -> None:
    silent = pathneck("10.1.0.1", "10.2.0.1", "10.3.0.1", "", "10.5.0.1", bottleneck=5)
    assert sentence(result("a", silent)) == (
        "The bottleneck towards w1 (10.6.0.2) is somewhere between hop 3 and hop 5 "
        "(10.3.0.1 → 10.5.0.1), at most 9.6 Mbit/s."
    )
    silent = pathneck("", "", "10.3.0.1", bottleneck=3)
    assert "somewhere between a and hop 3 (a → 10.3.0.1)" in sentence(result("a", silent))


def test_a_link_on_a_silent_stretch_agrees_with_it_and_names_it() -> None:
    silent = pathneck("10.1.0.1", "10.2.0.1", "", "10.4.0.1", bottleneck=4)
    exact = pathneck("10.1.0.1", "10.2.0.1", "10.3.0.1", "10.4.0.1", bottleneck=3)
    found = sentence(result("a", silent), result("b", exact))
    assert "is the link 10.2.0.1 → 10.3.0.1, " in found
    assert "2 of 2 agents agree" in found
    elsewhere = pathneck("10.1.0.1", "10.2.0.1", "10.3.0.1", "10.4.0.1", bottleneck=2)
    assert "1 of 2 agents says so" in sentence(result("a", silent), result("b", elsewhere))


def test_no_bottleneck_says_what_would_have_been_seen() -> None:
    found = sentence(*(result(a, pathneck(*PATH, last_link="unmeasured")) for a in "ab"))
    assert found == (
        "No bottleneck stronger than 12 % was found on the path towards w1 (10.6.0.2); "
        "2 of 2 agents agree; the last link could not be measured."
    )


def test_one_that_could_not_measure_the_last_link_is_named() -> None:
    found = sentence(
        result("a", pathneck(*PATH, bottleneck=3)),
        result("b", pathneck(*PATH, bottleneck=3, last_link="unmeasured")),
    )
    assert found.endswith("2 of 2 agents agree; b could not measure the last link.")


def test_runs_without_a_result_are_counted() -> None:
    found = sentence(result("a", pathneck(*PATH, bottleneck=3)), failure("b"), failure("c"))
    assert found.endswith("at most 9.6 Mbit/s; 2 of 3 agents gave no result.")


def test_a_failed_run_is_no_witness_whatever_it_left() -> None:
    left = result("b", pathneck(*PATH), end=END_FAILED, hint="it was cut short")
    found = sentence(result("a", pathneck(*PATH, bottleneck=3)), left)
    assert "none stronger" not in found
    assert found.endswith("1 of 2 agents gave no result.")


def test_nothing_at_all_says_why() -> None:
    assert sentence(failure("a"), failure("b"), technique="ping") == (
        "Nothing could be measured towards w1 (10.6.0.2): Nothing answered; is the host up?"
    )
    assert answers(Report()) == []


def test_every_destination_has_its_sentence() -> None:
    made = report(
        "pathneck",
        result("a", pathneck(*PATH, bottleneck=3)),
        result("a", pathneck(*PATH), destination=1),
        targets=[target(), target("10.7.0.2", "")],
    )
    first, second = answers(made)
    assert "towards w1 (10.6.0.2)" in first
    assert "towards 10.7.0.2." in second


def refused(code: int) -> TracerouteResult:
    route = traceroute(*PATH[:2], reached=False)
    route.end_reason = "packet_too_big" if code == 4 else f"unreachable({code})"
    for answer in route.hops[-1].answers:
        answer.icmp_type, answer.icmp_code = 3, code
    return route


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ([traceroute(*PATH)], "You are 4 hops away; 1 of 1 agent reached you."),
        (
            [traceroute(*PATH), traceroute(*PATH[1:]), traceroute("", reached=False)],
            "You are 3 to 4 hops away; 2 of 3 agents reached you.",
        ),
        (
            [traceroute("", reached=False)],
            "No route to you could be followed to its end: no router answered.",
        ),
        (
            [traceroute(*PATH[:2], "", reached=False)],
            "No route to you could be followed to its end: nothing answered behind "
            f"hop 2 ({PATH[1]}).",
        ),
        (
            [refused(0)],
            f"No route to you could be followed to its end: {PATH[1]} has no route to the "
            "destination.",
        ),
        (
            [refused(4)],
            f"No route to you could be followed to its end: {PATH[1]} cannot pass on packets of "
            "this size, its next link carries only smaller ones.",
        ),
    ],
)
def test_routes(results: list[object], expected: str) -> None:
    runs = [result(f"a{n}", value) for n, value in enumerate(results)]  # type: ignore[arg-type]
    assert sentence(*runs, technique="traceroute", to_me=True) == expected


def test_round_trips() -> None:
    assert sentence(result("a", ping(loss_ratio=0.1)), technique="ping") == (
        "The round trip to w1 (10.6.0.2) takes 12.0 ms (median); 10 % of the probes were lost."
    )
    assert sentence(result("a", ping()), result("b", ping(50 * MS)), technique="ping") == (
        "The round trip to w1 (10.6.0.2) takes 31.0 ms (median), from 12.0 ms at a to "
        "50.0 ms at b; no probe was lost."
    )


def test_a_destination_that_rations_its_answers_shows_no_loss() -> None:
    rationed = ping(loss_ratio=0.6)
    rationed.rate_limited_suspected, rationed.port_state = True, "closed"
    found = sentence(result("a", rationed), technique="ping")
    assert found.endswith(
        "loss is unknown, because it seems to answer about once a second; the port is closed."
    )
    found = sentence(result("a", rationed), result("b", ping()), technique="ping")
    assert "; no probe was lost; the port is closed." in found


HOPS = st.lists(st.sampled_from(["", "10.1.0.1", "10.2.0.1", "10.3.0.1", "10.4.0.1"]), max_size=6)


@given(paths=st.lists(st.tuples(HOPS, st.integers(0, 6)), min_size=1, max_size=6))
def test_every_agent_is_in_exactly_one_place(paths: list[tuple[list[str], int]]) -> None:
    runs = []
    for number, (hops, wish) in enumerate(paths):
        ends = [ttl for ttl, hop in enumerate(hops, start=1) if hop]
        bottleneck = ends[wish % len(ends)] if ends and wish else 0
        access = bottleneck == 1
        value = pathneck(*hops, bottleneck=bottleneck, access=access)
        runs.append(result(f"a{number}", value))
    made = report("pathneck", *runs)
    said = opinion(decoded(made), total=len(runs))
    placed = [agent for camp in said.camps for agent in camp.agents]
    placed += [sighting.agent_id for sighting in said.blinded] + list(said.clear)
    assert sorted(placed) == sorted(f"a{number}" for number in range(len(runs)))
    (found,) = answers(made)
    assert found.count("\n") == 0
    assert found.endswith(".")
