from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Address

import pytest

from emodis.packets.model import Address
from emodis.techniques.base import Child
from emodis.techniques.discovery import Candidate, Selection, discovery, usable
from emodis.techniques.discovery_branches import Borrowed
from emodis.techniques.traceroute import Traceroute
from emodis.wire.v1.client_pb2 import Policy
from emodis.wire.v1.common_pb2 import Body, Outcome, Target
from emodis.wire.v1.techniques_pb2 import HopAnswer, TracerouteHop, TracerouteResult

Routes = Mapping[tuple[str, int], list[int]]
TARGETS = [
    Target(address=IPv4Address(90).packed, name="web.example"),
    Target(address=IPv4Address(91).packed),
]


def body(route: Iterable[int]) -> Body:
    """A traceroute result whose hops are these numbers as addresses; 0 is silent."""
    result = TracerouteResult(reached=True)
    for ttl, number in enumerate(route, start=1):
        hop = TracerouteHop(ttl=ttl, answers=[HopAnswer(round=1)])
        if number:
            hop.answers.add(round=2, address=IPv4Address(number).packed)
        result.hops.append(hop)
    return Body(technique="traceroute", schema=1, body=result.SerializeToString())


def choose(
    candidates: list[Candidate],
    routes: Routes,
    *,
    known: Mapping[tuple[str, int], Body] | None = None,
    borrowed: Mapping[tuple[str, int], Borrowed] | None = None,
    owner: Callable[[Address], int] | None = None,
    targets: list[Target] | None = None,
    max_agents: int = 5,
) -> tuple[Selection, list[Child]]:
    """Drive the plan; agents answer with `routes`, or fail where they have none."""
    plan = discovery(
        candidates,
        TARGETS[:1] if targets is None else targets,
        known=known or {},
        borrowed=borrowed,
        owner=owner,
        max_agents=max_agents,
    )
    children: list[Child] = []
    answer: dict[tuple[str, int], Outcome] | None = None
    while True:
        try:
            child = next(plan) if answer is None else plan.send(answer)
        except StopIteration as end:
            selection: Selection = end.value
            return selection, children
        children.append(child)
        answer = {
            (agent, destination): Outcome(result=body(routes[agent, destination]))
            for agent in child.agents
            for destination in child.destinations
            if (agent, destination) in routes
        }


def agents(count: int) -> list[Candidate]:
    return [Candidate(id=f"a{i}", place=f"city {i}", asn=65000 + i) for i in range(count)]


def test_worked_example() -> None:
    """Four agents, two ways in: one way has three agents behind it, the other one."""
    routes = {
        ("a0", 0): [1, 10, 20, 30, 40, 90],
        ("a1", 0): [2, 11, 20, 30, 40, 90],
        ("a2", 0): [3, 12, 20, 30, 40, 90],
        ("a3", 0): [4, 13, 21, 31, 41, 90],
    }
    selection, children = choose(agents(4), routes)
    assert [choice.agent_id for choice in selection.choices] == ["a0", "a3"]
    assert [choice.why for choice in selection.choices] == ["covers 1 of 2 branches"] * 2
    assert (selection.choices[0].place, selection.choices[0].asn) == ("city 0", 65000)
    assert (selection.branches_known, selection.branches_covered) == (2, 2)
    assert selection.uncovered == ()
    (child,) = children
    assert (child.agents, child.destinations) == (("a0", "a1", "a2", "a3"), (0,))
    assert child.policy == Policy.POLICY_LOCK
    assert Traceroute().worst_case(child.call).duration_s < 10


def test_nothing_is_asked_that_is_known() -> None:
    known = {("a0", 0): body([1, 10, 20, 30, 90]), ("a1", 0): body([2, 11, 21, 31, 90])}
    selection, children = choose(agents(2), {}, known=known)
    assert children == []
    assert len(selection.choices) == 2
    assert selection.branches_known == 2


def test_only_what_is_missing_is_asked() -> None:
    known = {("a0", 0): body([1, 2, 3]), ("a0", 1): body([1, 2, 3]), ("a1", 1): body([1, 2, 3])}
    _, children = choose(agents(3), {}, known=known, targets=TARGETS)
    assert [(child.agents, child.destinations) for child in children] == [
        (("a1", "a2"), (0,)),
        (("a2",), (1,)),
    ]


def test_destinations_that_lack_the_same_agents_share_a_child() -> None:
    _, children = choose(agents(3), {}, targets=TARGETS)
    assert [(child.agents, child.destinations) for child in children] == [
        (("a0", "a1", "a2"), (0, 1))
    ]


def test_who_cannot_trace_is_not_asked_and_can_be_chosen_all_the_same() -> None:
    candidates = [*agents(2), Candidate(id="b", asn=65009, can_trace=False)]
    routes = {(f"a{i}", 0): [i + 1, 20, 30, 40, 50, 90] for i in range(2)}
    _, children = choose(candidates, routes)
    assert [child.agents for child in children] == [("a0", "a1")]
    known = {("b", 0): body([7, 21, 31, 41, 51, 90])}
    selection, _ = choose(candidates, routes, known=known)
    assert "b" in [choice.agent_id for choice in selection.choices]


def test_two_are_chosen_where_one_would_do() -> None:
    routes = {(f"a{i}", 0): [i + 1, 20, 30, 40, 50, 90] for i in range(4)}
    selection, _ = choose(agents(4), routes)
    assert [choice.agent_id for choice in selection.choices] == ["a0", "a1"]
    assert "second view" in selection.choices[1].why


def test_without_any_route_agents_differ_as_much_as_they_can() -> None:
    candidates = [
        Candidate(id="a", asn=1),
        Candidate(id="b", asn=1),
        Candidate(id="c", asn=2),
    ]
    selection, _ = choose(candidates, {})
    assert [choice.agent_id for choice in selection.choices] == ["a", "c"]
    assert "no route is known" in selection.choices[0].why
    assert selection.uncovered == ("3 routes could not be measured",)
    assert selection.branches_known == 0


def test_some_failed_routes_are_told_and_do_no_harm() -> None:
    routes = {("a0", 0): [1, 10, 20, 90], ("a1", 0): [2, 11, 21, 90]}
    selection, _ = choose(agents(4), routes)
    assert [choice.agent_id for choice in selection.choices] == ["a0", "a1"]
    assert selection.uncovered == ("2 routes could not be measured",)


def test_what_the_most_agents_leave_out_is_told() -> None:
    routes = {(f"a{i}", 0): [i + 1, 100 + i, 200 + i, 90] for i in range(3)}
    selection, _ = choose(agents(3), routes, max_agents=2)
    assert (selection.branches_known, selection.branches_covered) == (3, 2)
    assert selection.uncovered == ("to web.example: 0.0.0.3 → 0.0.0.102 → 0.0.0.202 → 0.0.0.90",)


def test_silent_hops_and_destinations() -> None:
    routes = {
        ("a0", 0): [1, 0, 20, 30, 40],
        ("a1", 0): [2, 11, 20, 30, 40],
        ("a2", 0): [0, 0, 0, 0, 0],
    }
    selection, _ = choose(agents(3), routes)
    assert selection.branches_known == 1
    assert [choice.agent_id for choice in selection.choices] == ["a0", "a1"]


def test_at_most_fifty_look_and_one_of_each_as_first() -> None:
    candidates = [Candidate(id=f"{i:03}", asn=i % 60 + 1) for i in range(300)]
    _, (child,) = choose(candidates, {})
    assert len(child.agents) == 50
    assert len({int(agent) % 60 for agent in child.agents}) == 50
    few = [Candidate(id=f"{i:03}", asn=i % 2 + 1) for i in range(300)]
    assert len(choose(few, {})[1][0].agents) == 50


def test_the_least_loaded_of_an_as_looks() -> None:
    candidates = [Candidate(id=f"{i:02}", asn=i % 50 + 1, load=float(i < 50)) for i in range(100)]
    _, (child,) = choose(candidates, {})
    assert min(child.agents) == "50"


def test_nobody_is_eligible() -> None:
    selection, children = choose([], {})
    assert (selection.choices, children) == ((), [])


@pytest.mark.parametrize(
    "result",
    [
        Body(),
        Body(technique="ping", schema=1),
        Body(technique="traceroute", schema=1, body=b"\xff"),
        Body(technique="traceroute", schema=1),
    ],
)
def test_an_outcome_that_is_no_route_is_a_failed_one(result: Body) -> None:
    plan = discovery(agents(1), TARGETS[:1], known={})
    next(plan)
    with pytest.raises(StopIteration) as end:
        plan.send({("a0", 0): Outcome(result=result)})
    assert end.value.value.uncovered == ("1 routes could not be measured",)
    assert [choice.agent_id for choice in end.value.value.choices] == ["a0"]


def test_a_cached_body_that_is_no_route_is_ignored() -> None:
    selection, _ = choose(agents(2), {}, known={("a0", 0): Body(), ("a1", 0): body([1, 2, 3])})
    assert selection.branches_known == 1


def test_answers_nobody_asked_for_are_not_believed() -> None:
    plan = discovery(agents(2), TARGETS[:1], known={})
    next(plan)
    with pytest.raises(StopIteration) as end:
        plan.send({("stranger", 0): Outcome(result=body([1, 2, 3])), ("a0", 7): Outcome()})
    assert end.value.value.branches_known == 0


def test_five_thousand_agents_and_one_destination() -> None:
    candidates = [Candidate(id=f"{i:04}", asn=i % 500) for i in range(5000)]
    known = {
        (c.id, 0): body([i, 6000 + i % 90, 7000 + i % 9, 90]) for i, c in enumerate(candidates, 1)
    }
    before = time.process_time()
    selection, children = choose(candidates, {}, known=known)
    # 1 s is the promise; ten times that guards against hanging.
    assert time.process_time() - before < 10
    assert children == []
    assert selection.branches_known == 90


def test_ways_in_by_different_ases_are_different_branches() -> None:
    """The last two links are the same, but the map knows two ASes before them."""
    routes = {
        ("a0", 0): [1, 10, 20, 30, 90],
        ("a1", 0): [2, 11, 20, 30, 90],
    }
    owners = {1: 5, 10: 100, 2: 6, 11: 200, 20: 0, 30: 300, 90: 300}

    def chosen(*, exchange: int) -> Selection:
        plan = discovery(
            agents(2),
            [Target(address=IPv4Address(90).packed)],
            known={pair: body(route) for pair, route in routes.items()},
            owner=lambda address: owners[int(address)],
            is_exchange=lambda address: int(address) == exchange,
        )
        with pytest.raises(StopIteration) as end:
            next(plan)
        found: Selection = end.value.value
        return found

    apart = chosen(exchange=0)
    assert apart.branches_known == 2
    assert [list(choice.new_branches) for choice in apart.choices] == [
        ["to 0.0.0.90 by AS100: 0.0.0.1 → 0.0.0.10 → 0.0.0.20 → 0.0.0.30 → 0.0.0.90"],
        ["to 0.0.0.90 by AS200: 0.0.0.2 → 0.0.0.11 → 0.0.0.20 → 0.0.0.30 → 0.0.0.90"],
    ]
    # On the fabric of an exchange the address says nothing: the AS before it hands over.
    owners[10] = owners[11] = 100
    assert chosen(exchange=20).branches_known == 1


def lent(route: Iterable[int], kind: str = "prefix") -> Borrowed:
    return Borrowed(body=body(route), kind=kind)


def test_routes_to_neighbours_do_where_none_is_known() -> None:
    """Two ways to 89, which is in the prefix of 90: nobody has to look."""
    borrowed = {
        ("a0", 0): lent([1, 10, 20, 30, 40, 89]),
        ("a1", 0): lent([2, 11, 20, 30, 40, 89]),
        ("a2", 0): lent([4, 13, 21, 31, 41, 89]),
    }
    selection, children = choose(agents(3), {}, borrowed=borrowed)
    assert children == []
    assert (selection.branches_known, selection.branches_covered) == (2, 2)
    assert [choice.agent_id for choice in selection.choices] == ["a0", "a2"]
    assert {choice.why for choice in selection.choices} == {
        "covers 1 of 2 branches, as routes to others in its prefix show"
    }
    # The neighbour itself is on no way to the target.
    lines = [line for choice in selection.choices for line in choice.new_branches]
    assert len(lines) == 2
    assert not any("0.0.0.89" in line for line in lines)


def test_what_neighbours_show_counts_half() -> None:
    """One agent with a route of its own to one target outweighs one with a lent one to another."""
    known = {("a1", 1): body([2, 11, 21, 31, 41, 91]), ("a0", 1): body([0, 0, 0])}
    borrowed = {("a0", 0): lent([1, 10, 20, 30, 40, 89])}
    selection, _ = choose(
        agents(2), {}, known=known, borrowed=borrowed, targets=TARGETS, max_agents=1
    )
    assert [choice.agent_id for choice in selection.choices] == ["a1"]


def test_in_another_prefix_of_its_as_only_the_way_into_the_as_is_shared() -> None:
    """30 is the first router of the AS of 90; 41 and 42 lie behind it, towards others."""

    def owner(address: Address) -> int:
        return 7 if int(address) >= 30 else 5 if int(address) >= 10 else 0

    borrowed = {
        ("a0", 0): lent([1, 10, 20, 30, 41, 70], "AS"),
        ("a1", 0): lent([2, 10, 20, 30, 42, 80], "AS"),
    }
    selection, _ = choose(agents(2), {}, borrowed=borrowed, owner=owner)
    assert selection.branches_known == 1
    assert "as routes to others in its AS show" in selection.choices[0].why


def test_what_is_lent_is_of_use_where_it_shows_a_way_of_a_candidate() -> None:
    good = lent([1, 10, 20, 30, 40, 89])
    nothing = Borrowed(body=Body(technique="ping", schema=1), kind="prefix")
    # The whole of it lies in the target's own AS: no way into that is shown.
    inside = lent([60, 61, 62, 63], "AS")
    borrowed = {
        ("a0", 0): good,
        ("a1", 0): nothing,
        ("a2", 0): inside,
        ("gone", 0): good,
    }
    found = usable(
        agents(3),
        TARGETS,
        borrowed,
        owner=lambda address: 7 if int(address) >= 60 else 0,
        is_exchange=lambda address: False,
    )
    assert set(found) == {("a0", 0)}
