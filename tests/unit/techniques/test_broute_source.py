"""BRoute's source side and its query, over the virtual Internet (TECHNIQUES.md 5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs
import pytest

from emodis.techniques.base import Answer, Child, Measured, Pair, Scene, Sides, Vantage
from emodis.techniques.broute import Broute
from emodis.topology.aspath import AsPath
from emodis.topology.trees import Tree, meeting, tree
from emodis.wire.v1.broute_pb2 import BrouteResult
from emodis.wire.v1.client_pb2 import POLICY_LOCK, POLICY_RING
from emodis.wire.v1.common_pb2 import END_FAILED, Body, Ending, Outcome, Quality, Target
from tests.support.edge_world import FAST_BPS, HOST, NOW_NS, World, done, owner, router
from tests.support.valley_free import STUBS, routes_to

BROUTE = Broute()
MBIT = 10**6


@attrs.define
class Outing:
    """A host in a stub AS that looks at landmarks in others."""

    world: World = attrs.field(factory=World)
    start: int = 101
    landmarks: tuple[int, ...] = (102, 103, 104, 105, 106)
    options: Mapping[str, str] = attrs.field(factory=dict)
    owner: Callable[[Any], int] | None = owner
    instead: Mapping[tuple[str, int], Outcome] = attrs.field(factory=dict)
    children: list[Child] = attrs.field(factory=list)

    @property
    def call(self) -> Body:
        return BROUTE.call({"direction": "source", **self.options})

    def one(self) -> Measured:
        here = Vantage(id="", address=router(self.start, HOST))
        scene = Scene(
            targets=tuple(
                Target(address=self.world.packed(router(asn, HOST)), name=f"a{asn}")
                for asn in self.landmarks
            ),
            agents=(here, *(Vantage(id=f"a{asn}", asn=asn) for asn in self.landmarks)),
            pairs=frozenset(("", index) for index in range(len(self.landmarks))),
            policy=POLICY_LOCK,
            now_unix_ns=NOW_NS,
            owner=self.owner,
        )
        plan = BROUTE.outward(self.call, scene)
        try:
            child = next(plan)
            while True:
                self.children.append(child)
                child = plan.send(self._answers(child))
        except StopIteration as end:
            found: Measured = end.value
            return found

    def result(self) -> BrouteResult:
        found = self.one().result
        assert isinstance(found, BrouteResult)
        return found

    def _answers(self, child: Child) -> dict[Pair, Outcome]:
        assert child.pairs is not None
        name = child.call.technique
        measure = {"traceroute": self.world.traceroute, "pathneck": self.world.pathneck}[name]
        return {
            (agent, index): self.instead.get((name, self.landmarks[index]))
            or done(measure(self.start, self.landmarks[index]))
            for agent, index in child.pairs
        }


def into(world: World, end: int, *, agents: tuple[int, ...] = STUBS) -> Answer:
    """What agents in all other stubs find of the ways into a host."""
    target = Target(address=router(end, HOST).packed, name=f"host{end}")
    others = [asn for asn in agents if asn != end]
    scene = Scene(
        targets=(target,),
        agents=tuple(Vantage(id=f"a{asn}", asn=asn) for asn in others),
        pairs=frozenset((f"a{asn}", 0) for asn in others),
        policy=POLICY_RING,
        now_unix_ns=NOW_NS,
        owner=owner,
    )
    plan = BROUTE.plan(BROUTE.call({}), scene)
    try:
        child = next(plan)
        while True:
            measure = {"traceroute": world.traceroute, "pathneck": world.pathneck}
            answers = {
                (agent, index): done(measure[child.call.technique](int(agent[1:]), end))
                for agent, index in child.pairs or ()
            }
            child = plan.send(answers)
    except StopIteration as stop:
        return answer(target, stop.value["", 0].result)


def answer(target: Target, result: BrouteResult) -> Answer:
    body = Body(technique="broute", schema=BROUTE.SCHEMA, body=result.SerializeToString())
    return Answer(target, body)


def joined(outing: Outing, *others: Answer) -> BrouteResult:
    observations = outing.one().observations.SerializeToString()
    found = BROUTE.joined(outing.call, observations, others).result
    assert isinstance(found, BrouteResult)
    return found


def test_worked_example_a_host_with_two_providers() -> None:
    """AS 101 leaves by 11 for two landmarks and by 12 for three; the link to 12 is slow."""
    slow = (router(101, 1), router(12, 101))
    outing = Outing(World({slow: 8 * MBIT}))
    found = outing.one()
    result = found.result
    assert isinstance(result, BrouteResult)
    assert found.quality.word == Quality.WORD_GOOD
    assert (result.source, result.root_asn) == (True, 101)
    truth = {asn: routes_to(asn)[101][1] for asn in outing.landmarks}
    assert {branch.upstream_asn: set(branch.agents) for branch in result.branches} == {
        upstream: {f"a{asn}" for asn, by in truth.items() if by == upstream}
        for upstream in (11, 12)
    }
    ways = {branch.upstream_asn: branch for branch in result.branches}
    # The first link is the host's own; the slow one is named.
    assert ways[12].links[0].from_address == router(101, HOST).packed
    assert len(ways[12].links) == 4
    assert ways[12].upper_bps == 8 * MBIT
    assert ways[12].bottleneck.to_address == router(12, 101).packed
    assert (ways[11].lower_bps, ways[11].HasField("upper_bps")) == (FAST_BPS, False)
    assert {(edge.from_asn, edge.to_asn) for edge in result.edges} >= {(101, 11), (101, 12)}
    assert result.coverage_ratio == 1.0
    # All are looked at, one of each way is measured.
    traces, trains = outing.children
    assert (traces.call.technique, len(traces.pairs or ())) == ("traceroute", 5)
    assert (trains.call.technique, len(trains.pairs or ())) == ("pathneck", 2)
    assert {agent for child in outing.children for agent in child.agents} == {""}


def test_a_slow_own_link_bounds_every_way_out_and_one_behind_the_edge_none() -> None:
    own = (router(101, HOST), router(101, 1))
    for branch in Outing(World({own: 5 * MBIT})).result().branches:
        assert branch.upper_bps == 5 * MBIT
        assert branch.bottleneck.from_address == router(101, HOST).packed
    far = (router(106, 1), router(106, HOST))
    for branch in Outing(World({far: 5 * MBIT})).result().branches:
        assert (branch.lower_bps, branch.HasField("upper_bps")) == (FAST_BPS, False)


def test_a_choke_point_on_the_edge_counts_though_a_tighter_one_lies_behind() -> None:
    own, far = (router(101, HOST), router(101, 1)), (router(106, 1), router(106, HOST))
    result = Outing(World({own: 20 * MBIT, far: 5 * MBIT}), landmarks=(106,)).result()
    assert [branch.upper_bps for branch in result.branches] == [20 * MBIT]


def test_without_a_map_there_are_branches_and_no_tree() -> None:
    found = Outing(owner=None).one()
    assert isinstance(found.result, BrouteResult)
    assert found.result.branches
    assert not found.result.nodes
    assert "--as-map" in found.quality.reasons[0]


def test_landmarks_that_fail_leave_reasons() -> None:
    dead = Outcome(ending=Ending(end=END_FAILED, hint="Nothing answered."))
    outing = Outing(landmarks=(102,), instead={("traceroute", 102): dead})
    found = outing.one()
    assert found.ending.reason == "too_few_routes"
    assert "102: Nothing answered; take more landmarks (--agents ALL;" in found.ending.hint
    outing = Outing(landmarks=(102,), instead={("pathneck", 102): dead})
    found = outing.one()
    assert found.ending.reason == "no_bandwidth"
    assert "Ways out were found" in found.ending.hint


def test_at_most_fifty_landmarks_are_looked_at_and_one_of_each_as_first() -> None:
    targets = tuple(
        Target(address=router(2, number).packed, name=f"a{number:02}") for number in range(60)
    )
    landmarks = (Vantage(id=one.name, asn=7 if one.name < "a55" else 8) for one in targets)
    scene = Scene(
        targets=targets,
        agents=(Vantage(id="", address=router(1, HOST)), *landmarks),
        pairs=frozenset(("", index) for index in range(60)),
        policy=POLICY_LOCK,
        now_unix_ns=NOW_NS,
    )
    first = next(BROUTE.outward(BROUTE.call({"direction": "source"}), scene))
    looked_at = {index for _, index in first.pairs or ()}
    assert len(looked_at) == 50
    assert {55, 0} <= looked_at


def test_sides() -> None:
    assert BROUTE.sides(BROUTE.call({})) == Sides(here=False, there=True)
    assert BROUTE.sides(BROUTE.call({"direction": "source"})) == Sides(here=True, there=False)
    assert BROUTE.sides(BROUTE.call({"direction": "both"})) == Sides(here=True, there=True)


def test_agents_do_not_measure_the_requesters_ways_out() -> None:
    target = Target(address=router(101, HOST).packed)
    scene = Scene(
        targets=(target,),
        agents=(Vantage(id="a102", asn=102),),
        pairs=frozenset({("a102", 0)}),
        policy=POLICY_RING,
        now_unix_ns=NOW_NS,
    )
    plan = BROUTE.plan(BROUTE.call({"direction": "source"}), scene)
    with pytest.raises(StopIteration) as stop:
        next(plan)
    assert stop.value.value["", 0].ending.reason == "bad_params"


def test_edges_of_a_path_nobody_measured_and_what_they_have() -> None:
    """Both edges have a slow link, then one of them."""
    leaving, entering = (router(101, 1), router(12, 101)), (router(14, 1), router(106, 14))
    landmarks = (102, 103, 104, 105)
    for links, expected in (
        ({leaving: 8 * MBIT, entering: 6 * MBIT}, 6 * MBIT),
        ({leaving: 8 * MBIT}, 8 * MBIT),
        ({entering: 6 * MBIT}, 6 * MBIT),
    ):
        world = World(links)
        assert world.available_bps(101, 106) == expected
        (found,) = joined(
            Outing(world, landmarks=landmarks), into(world, 106, agents=(102, 103, 104, 105))
        ).estimates
        assert found.name == "host106"
        assert tuple(found.asns) == routes_to(106)[101]
        assert found.upper_bps == expected
        assert not found.core


@pytest.mark.parametrize("end", [asn for asn in STUBS if asn != 101])
def test_estimates_are_the_truth_where_the_edges_are_right_and_hold_the_bottleneck(
    end: int,
) -> None:
    route = World().route(101, end)
    entering = (route[-3], route[-2])
    world = World({entering: 7 * MBIT})
    others = tuple(asn for asn in STUBS if asn not in {101, end})
    (found,) = joined(Outing(world, landmarks=others), into(world, end, agents=others)).estimates
    truth = routes_to(end)[101]
    met = meeting(_source_tree(others), _sink_tree(end, others))
    assert (met is None) == (found.reason == "no_common_as")
    if found.reason:
        return
    assert found.common_asn == (met.asn if met else 0)
    if found.sink_upstream_asn == truth[-2]:
        assert found.upper_bps == 7 * MBIT
        assert not found.core


def test_most_edges_of_paths_that_nobody_measured_are_right() -> None:
    """Case 1: at least 80 % of the edges of all paths, each left out of both trees."""
    right = total = 0
    for start in STUBS:
        for end in STUBS:
            if start == end:
                continue
            others = tuple(asn for asn in STUBS if asn not in {start, end})
            known = into(World(), end, agents=others)
            (found,) = joined(Outing(start=start, landmarks=others), known).estimates
            truth = routes_to(end)[start]
            total += 2
            right += found.source_upstream_asn == truth[1]
            right += found.sink_upstream_asn == truth[-2]
    assert right / total >= 0.8


def test_a_bottleneck_in_the_core_is_said_to_be_possible() -> None:
    """Case 12, its other half."""
    route = World().route(101, 106)
    middle = len(route) // 2
    world = World({(route[middle - 1], route[middle]): 3 * MBIT})
    assert world.available_bps(101, 106) == 3 * MBIT
    (found,) = joined(Outing(world, landmarks=(102,)), into(world, 106, agents=(105,))).estimates
    assert found.core or found.reason
    assert not found.HasField("upper_bps")


def test_trees_that_share_nothing_and_maps_that_are_missing_give_no_estimate() -> None:
    """Case 7."""
    known = into(World(), 106)
    other = BROUTE.result(known.result)
    for node in other.nodes:
        node.asn += 1000
    for edge in other.edges:
        edge.from_asn += 1000
        edge.to_asn += 1000
    other.root_asn += 1000
    (found,) = joined(Outing(), answer(known.target, other)).estimates
    assert (found.reason, found.HasField("upper_bps")) == ("no_common_as", False)
    (found,) = joined(Outing(owner=None), known).estimates
    assert found.reason == "asmap_missing"


def test_both_ends_in_one_as_have_no_edges_between_ases() -> None:
    (found,) = joined(Outing(), into(World(), 101)).estimates
    assert found.reason == "same_as"


def test_of_an_edge_that_nobody_measured_the_other_one_speaks_if_it_can() -> None:
    known = into(World(), 106)
    other = BROUTE.result(known.result)
    for branch in other.branches:
        branch.uncovered = "its landmark failed"
    (found,) = joined(Outing(), answer(known.target, other)).estimates
    assert found.reason == "no_bandwidth"
    own = World({(router(101, HOST), router(101, 1)): 5 * MBIT})
    (found,) = joined(Outing(own), answer(known.target, other)).estimates
    assert (found.reason, found.one_sided, found.upper_bps) == ("", True, 5 * MBIT)
    assert not found.core


def test_the_summary_can_be_estimated_again_with_its_estimates() -> None:
    outing = Outing()
    first = BROUTE.joined(
        outing.call, outing.one().observations.SerializeToString(), (into(World(), 106),)
    )
    again = BROUTE.estimate(outing.call, first.observations.SerializeToString())
    assert again.result == first.result


def _source_tree(others: tuple[int, ...]) -> Tree:
    return tree((AsPath(asns=routes_to(asn)[101]) for asn in others), 101, sink=False)


def _sink_tree(end: int, others: tuple[int, ...]) -> Tree:
    return tree((AsPath(asns=routes_to(end)[asn]) for asn in others), end, sink=True)
