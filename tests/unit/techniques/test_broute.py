"""BRoute over a virtual Internet of 12 ASes (the numbered cases of TECHNIQUES.md 5)."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address
from typing import Any

import attrs
import pytest

from emodis.techniques.base import BadParameters, Child, Measured, Pair, Scene, Stored, Vantage
from emodis.techniques.broute import Broute
from emodis.techniques.broute_estimator import LEFT_OUT, NOBODY_ASKED
from emodis.topology.aspath import AsPath
from emodis.topology.trees import meeting, tree
from emodis.wire.v1.broute_pb2 import BrouteObservations, BrouteResult
from emodis.wire.v1.client_pb2 import POLICY_LOCK, POLICY_RING, Policy
from emodis.wire.v1.common_pb2 import (
    END_DONE,
    END_FAILED,
    Body,
    Ending,
    Outcome,
    Quality,
    Target,
)
from emodis.wire.v1.techniques_pb2 import TracerouteResult
from tests.support.edge_world import HOST, NOW_NS, World, done, owner, router
from tests.support.valley_free import STUBS, routes_to

BROUTE = Broute()
MBIT = 10**6


@attrs.define
class Play:
    """A plan with its world: agents stand in stub ASes and are named after them."""

    world: World = attrs.field(factory=World)
    destinations: tuple[int, ...] = (101,)
    agents: tuple[int, ...] = (102, 103, 104, 105, 106)
    options: Mapping[str, str] = attrs.field(factory=dict)
    known: Mapping[str, Mapping[Pair, Stored]] = attrs.field(factory=dict)
    owner: Callable[[Any], int] | None = owner
    is_exchange: Callable[[Any], bool] = lambda address: False
    # What these agents answer instead, by the child's technique.
    instead: Mapping[tuple[str, str], Outcome] = attrs.field(factory=dict)
    children: list[Child] = attrs.field(factory=list)

    def measured(self) -> Mapping[Pair, Measured]:
        scene = Scene(
            targets=tuple(
                Target(address=self.world.packed(router(d, HOST)), name=f"host{d}")
                for d in self.destinations
            ),
            agents=tuple(Vantage(id=f"a{asn}", asn=asn) for asn in self.agents),
            pairs=frozenset(
                (f"a{asn}", i) for asn in self.agents for i in range(len(self.destinations))
            ),
            policy=POLICY_RING,
            now_unix_ns=NOW_NS,
            known=self.known,
            owner=self.owner,
            is_exchange=self.is_exchange,
        )
        plan = BROUTE.plan(BROUTE.call(self.options), scene)
        try:
            child = next(plan)
            while True:
                self.children.append(child)
                child = plan.send(self._answers(child))
        except StopIteration as end:
            found: Mapping[Pair, Measured] = end.value
            return found

    def one(self) -> Measured:
        (found,) = self.measured().values()
        return found

    def result(self) -> BrouteResult:
        found = self.one().result
        assert isinstance(found, BrouteResult)
        return found

    def _answers(self, child: Child) -> dict[Pair, Outcome]:
        assert child.pairs is not None
        return {(a, d): self._answer(child, a, self.destinations[d]) for a, d in child.pairs}

    def _answer(self, child: Child, agent: str, destination: int) -> Outcome:
        name = child.call.technique
        if (name, agent) in self.instead:
            return self.instead[name, agent]
        measure = {"traceroute": self.world.traceroute, "pathneck": self.world.pathneck}[name]
        return done(measure(int(agent[1:]), destination))


def failure(hint: str) -> Outcome:
    return Outcome(ending=Ending(end=END_FAILED, hint=hint))


def ways(result: BrouteResult) -> dict[int, list[str]]:
    """Agents by the AS that hands over to the destination's."""
    return {branch.upstream_asn: list(branch.agents) for branch in result.branches}


def stored(body: Body) -> Stored:
    return Stored(body=body, started_unix_ns=NOW_NS)


def test_worked_example_a_destination_with_two_providers() -> None:
    """AS 101 buys from 11 and 12: three agents come by 11, two by 12; one of each measures."""
    slow = (router(12, 1), router(101, 12))
    play = Play(world=World({slow: 8 * MBIT}))
    found = play.one()
    result = found.result
    assert isinstance(result, BrouteResult)
    assert found.ending.end == END_DONE
    assert found.quality.word == Quality.WORD_GOOD
    by_11, by_12 = sorted(result.branches, key=lambda branch: branch.upstream_asn)
    assert (by_11.upstream_asn, by_12.upstream_asn) == (11, 12)
    assert {*by_11.agents, *by_12.agents} == {f"a{asn}" for asn in play.agents}
    # The slow link lies on one edge route only.
    assert by_12.upper_bps == 8 * MBIT
    assert by_12.bottleneck.to_address == router(101, 12).packed
    assert by_12.confidence == 1.0
    assert not by_12.HasField("lower_bps")
    assert (by_11.lower_bps, by_11.HasField("upper_bps")) == (10**9, False)
    assert len(by_12.links) == 4
    assert by_12.links[-1].to_address == router(101, HOST).packed
    assert result.coverage_ratio == 1.0
    assert [list(one.branches) for one in result.landmarks] == [[0], [1]]
    assert {(edge.from_asn, edge.to_asn) for edge in result.edges} >= {(11, 101), (12, 101)}
    # Routes first, then trains by the two landmarks only, one after the other.
    traces, trains = play.children
    assert (traces.call.technique, traces.policy) == ("traceroute", POLICY_LOCK)
    assert len(traces.pairs or ()) == 5
    assert (trains.call.technique, trains.policy) == ("pathneck", POLICY_RING)
    assert len(trains.pairs or ()) == 2


def test_ipv6_is_no_different() -> None:
    links = {(router(12, 1), router(101, 12)): 8 * MBIT}
    old, new = Play(World(links)).result(), Play(World(links, ipv6=True)).result()
    assert ways(new) == ways(old)
    assert [branch.upper_bps for branch in new.branches] == [b.upper_bps for b in old.branches]
    assert {len(link.to_address) for b in new.branches for link in b.links} == {16}
    assert new.nodes == old.nodes


def test_agents_in_one_as_share_a_branch_and_one_of_them_measures() -> None:
    world = World()
    routes = {(f"b{i}", 0): stored(world.traceroute(103, 101)) for i in range(9)}
    play = Play(agents=(103,), known={"traceroute": routes})
    result = play.result()
    (branch,) = result.branches
    assert len(branch.agents) == 10
    assert list(branch.measured_by) == ["a103"]
    assert result.coverage_ratio == 1.0


@pytest.mark.parametrize("end", STUBS)
def test_the_branches_of_every_destination_are_those_of_the_truth(end: int) -> None:
    agents = tuple(asn for asn in STUBS if asn != end)
    result = Play(destinations=(end,), agents=agents).result()
    truth: dict[int, list[str]] = {}
    for asn in agents:
        truth.setdefault(routes_to(end)[asn][-2], []).append(f"a{asn}")
    found: dict[int, list[str]] = {}
    for branch in result.branches:
        found.setdefault(branch.upstream_asn, []).extend(branch.agents)
    assert {asn: sorted(names) for asn, names in found.items()} == truth


def test_unmapped_private_and_exchange_hops_make_no_branches_of_their_own() -> None:
    def patchy(address: IPv4Address) -> int:
        """The inner routers are not mapped; those at the fabric have the exchange's own AS."""
        return 0 if address.packed[3] == 1 else 9999 if address.packed[3] == 11 else owner(address)

    play = Play(owner=patchy, is_exchange=lambda address: address.packed[3] == 11)
    result = play.result()
    assert set(ways(result)) == {11, 12}
    assert 9999 not in {node.asn for node in result.nodes}
    assert 0 not in {node.asn for node in result.nodes}
    assert result.unmapped_hops > 0


def test_a_route_with_a_loop_of_ases_is_discarded_and_counted() -> None:
    def twisted(address: IPv4Address) -> int:
        # A router of AS 12 that answers agent 103's probes is mapped to 103 again.
        return 101 if address == router(12, 103) else owner(address)

    result = Play(owner=twisted).result()
    assert result.routes_discarded == 1
    assert "a103" not in {agent for branch in result.branches for agent in branch.agents}


def test_a_route_with_a_loop_of_routers_is_discarded() -> None:
    looping = TracerouteResult()
    traced = TracerouteResult.FromString(World().traceroute(103, 101).body)
    for hop in [*traced.hops, traced.hops[1]]:
        looping.hops.append(hop)
    body = World().traceroute(103, 101)
    body.body = looping.SerializeToString()
    result = Play(instead={("traceroute", "a103"): done(body)}).result()
    assert result.routes_discarded == 1


def test_without_a_map_branches_are_told_apart_by_addresses_and_it_is_said() -> None:
    play = Play(owner=None)
    found = play.one()
    result = found.result
    assert isinstance(result, BrouteResult)
    assert found.ending.end == END_DONE
    assert found.quality.word == Quality.WORD_FAIR
    assert "no address-to-AS map" in found.quality.reasons[0]
    assert not result.as_map
    assert len(result.branches) >= 2
    assert {branch.upstream_asn for branch in result.branches} == {0}
    assert (list(result.nodes), list(result.edges)) == ([], [])
    assert result.coverage_ratio == 1.0


def test_a_map_that_is_all_wrong_breaks_nothing() -> None:
    """Rows are data of others: negative, too large, random."""
    rng = random.Random(5)
    for _ in range(20):
        forged: dict[object, int] = {}

        def lies(address: object, rows: dict[object, int] = forged) -> int:
            return rows.setdefault(address, rng.choice([-1, 0, 2**40, rng.randrange(1, 2**32)]))

        found = Play(owner=lies).one()
        result = found.result
        if isinstance(result, BrouteResult):
            assert all(0 < node.asn < 2**32 for node in result.nodes)
        else:
            assert found.ending.reason == "too_few_routes"


def test_nothing_is_measured_that_is_known() -> None:
    world = World()
    routes = {(f"a{asn}", 0): stored(world.traceroute(asn, 101)) for asn in (102, 103)}
    trains = {("a102", 0): stored(world.pathneck(102, 101))}
    play = Play(agents=(102, 103), known={"traceroute": routes, "pathneck": trains})
    result = play.result()
    (child,) = play.children
    assert child.pairs == frozenset({("a103", 0)})
    assert result.coverage_ratio == 1.0
    assert BROUTE.reuses(BROUTE.call({"bandwidth_max_age_s": "60"})) == {
        "traceroute": 86400.0,
        "pathneck": 60.0,
    }


def test_of_equal_landmarks_the_one_whose_bandwidth_is_known_is_taken() -> None:
    world = World()
    routes = {(f"a{asn}", 0): stored(world.traceroute(asn, 105)) for asn in (101, 102, 103, 106)}
    branch = Play(destinations=(105,), agents=(101, 102, 103, 106), known={"traceroute": routes})
    crowded = max(branch.result().branches, key=lambda one: len(one.agents))
    last = crowded.agents[-1]
    assert crowded.measured_by[0] != last
    trains = {(last, 0): stored(world.pathneck(int(last[1:]), 105))}
    play = Play(
        destinations=(105,),
        agents=(101, 102, 103, 106),
        known={"traceroute": routes, "pathneck": trains},
    )
    assert last in {landmark.agent_id for landmark in play.result().landmarks}
    assert not any(last in child.agents for child in play.children)


def test_what_was_stored_and_cannot_be_read_is_measured_anew() -> None:
    broken = Body(technique="pathneck", schema=99, body=b"?")
    play = Play(agents=(102,), known={"pathneck": {("a102", 0): stored(broken)}})
    assert play.result().coverage_ratio == 1.0
    assert [child.call.technique for child in play.children] == ["traceroute", "pathneck"]


def test_ways_that_only_others_know_are_listed_and_not_covered() -> None:
    routes = {("gone", 0): stored(World().traceroute(103, 101))}
    play = Play(agents=(102,), known={"traceroute": routes})
    found = play.one()
    result = found.result
    assert isinstance(result, BrouteResult)
    by_11, by_12 = sorted(result.branches, key=lambda branch: branch.upstream_asn)
    assert (by_11.uncovered, by_12.uncovered) == ("", NOBODY_ASKED)
    assert result.coverage_ratio == 0.5
    assert "50%" in found.quality.reasons[0]


def test_landmarks_stop_at_the_most_agents() -> None:
    result = Play(options={"max_agents": "1"}).result()
    assert len(result.landmarks) == 1
    assert [branch.uncovered for branch in result.branches] == ["", LEFT_OUT]


def test_a_landmark_that_fails_leaves_its_branch_with_the_reason() -> None:
    play = Play(agents=(102, 103), instead={("pathneck", "a103"): failure("its budget is spent")})
    found = play.one()
    assert found.ending.end == END_DONE
    assert isinstance(found.result, BrouteResult)
    missed = next(b for b in found.result.branches if list(b.agents) == ["a103"])
    assert missed.uncovered == "a103: its budget is spent"
    assert found.quality.word == Quality.WORD_FAIR


def test_no_bandwidth_at_all_is_a_failure_that_keeps_its_tree() -> None:
    play = Play(agents=(102,), instead={("pathneck", "a102"): failure("no reply")})
    found = play.one()
    assert (found.ending.end, found.ending.reason) == (END_FAILED, "no_bandwidth")
    assert isinstance(found.result, BrouteResult)
    assert found.quality.word == Quality.WORD_POOR
    assert found.ending.hint == (
        "Ways in were found, and none could be measured: a102: no reply; ask more agents "
        "(--agents ALL), and let more of them have their bandwidth measured (-o max_agents=20)."
    )


def test_what_travels_with_a_result_has_room_in_a_frame() -> None:
    world = World()
    routes = {(f"b{i:05}", 0): stored(world.traceroute(103, 101)) for i in range(9000)}
    trains = {(f"b{i:05}", 0): stored(world.pathneck(103, 101)) for i in range(2000)}
    routes["a103", 0] = stored(world.traceroute(103, 101))
    found = Play(agents=(103,), known={"traceroute": routes, "pathneck": trains}).one()
    assert isinstance(found.observations, BrouteObservations)
    assert found.observations.ByteSize() < 768 << 10
    assert found.observations.routes_left_out == 9001 - len(found.observations.routes) > 0
    assert "a103" in {route.agent_id for route in found.observations.routes}
    assert any("were left out" in reason for reason in found.quality.reasons)
    assert isinstance(found.result, BrouteResult)
    assert found.result.ByteSize() < 256 << 10


def test_without_any_route_nobody_measures() -> None:
    said = "No hop answered: they are silent; try another -o proto."
    play = Play(agents=(102,), instead={("traceroute", "a102"): failure(said)})
    found = play.one()
    assert (found.ending.end, found.ending.reason) == (END_FAILED, "too_few_routes")
    # With one advice, not two.
    assert found.ending.hint == (
        "No agent has a route that shows the destination's edge: a102: No hop answered: they are "
        "silent; ask more agents (--agents ALL), or have routes traced anew (-o trace_max_age_s=0)."
    )
    assert found.result is None
    assert len(play.children) == 1


def test_a_silent_destination_is_measured_to_its_last_router() -> None:
    traced = TracerouteResult.FromString(World().traceroute(103, 101).body)
    del traced.hops[-1]
    traced.reached = False
    body = World().traceroute(103, 101)
    body.body = traced.SerializeToString()
    found = Play(agents=(103,), instead={("traceroute", "a103"): done(body)}).one()
    assert isinstance(found.result, BrouteResult)
    assert found.result.destination_silent
    assert any("answered no traceroute" in reason for reason in found.quality.reasons)
    # With fewer answers than links it says nothing certain.
    del traced.hops[3:]
    body.body = traced.SerializeToString()
    found = Play(agents=(103,), instead={("traceroute", "a103"): done(body)}).one()
    assert found.ending.reason == "too_few_routes"


def test_several_destinations_share_their_children() -> None:
    play = Play(destinations=(101, 105), agents=(102, 103, 104))
    found = play.measured()
    assert set(found) == {("", 0), ("", 1)}
    assert [child.call.technique for child in play.children] == ["traceroute", "pathneck"]
    assert {index for _, index in play.children[1].pairs or ()} == {0, 1}


def test_bounds_that_contradict_each_other_are_called_inconsistent() -> None:
    slow = World({(router(12, 1), router(101, 12)): 5 * MBIT})
    routes = {("old", 0): stored(slow.traceroute(103, 101))}
    trains = {("old", 0): stored(slow.pathneck(103, 101))}
    found = Play(agents=(103,), known={"traceroute": routes, "pathneck": trains}).one()
    assert isinstance(found.result, BrouteResult)
    (branch,) = found.result.branches
    assert (branch.upper_bps, branch.lower_bps) == (5 * MBIT, 10**9)
    assert branch.inconsistent
    assert any("contradict" in reason for reason in found.quality.reasons)


def test_edges_reproduce_the_truth_where_the_bottleneck_is_at_the_edge() -> None:
    """min(source edge, sink edge) within 20 % of every path; where neither edge holds the
    bottleneck both say only `at least`, and the estimate is no more than that."""
    rng = random.Random(8)
    links = {}
    for stub in STUBS:
        for provider in {routes_to(stub)[other][-2] for other in STUBS if other != stub}:
            # Into the stub, and out of it.
            links[router(provider, 1), router(stub, provider)] = rng.randrange(2, 50) * MBIT
    world = World(links)
    summaries = {
        end: Play(world, (end,), tuple(s for s in STUBS if s != end)).result() for end in STUBS
    }
    checked = 0
    for start in STUBS:
        for end in STUBS:
            if start == end:
                continue
            up = tree(
                [AsPath(asns=routes_to(o)[start]) for o in STUBS if o not in {start, end}],
                start,
                sink=False,
            )
            down = tree(
                [AsPath(asns=routes_to(end)[o]) for o in STUBS if o not in {start, end}],
                end,
                sink=True,
            )
            met = meeting(up, down)
            assert met is not None
            assert met.sink_branch is not None
            branch = next(
                b for b in summaries[end].branches if b.upstream_asn == met.sink_branch[0]
            )
            if met.sink_branch == routes_to(end)[start][-2:]:
                checked += 1
                truth_bps = world.available_bps(start, end)
                assert abs(branch.upper_bps - truth_bps) <= 0.2 * truth_bps
    assert checked >= 24


def test_where_the_bottleneck_is_in_the_core_edges_say_at_least() -> None:
    assert routes_to(101)[105] == (105, 13, 11, 101)
    world = World({(router(13, 1), router(11, 13)): 3 * MBIT})
    (branch,) = Play(world, (101,), (105,), options={"links": "2"}).result().branches
    assert not branch.HasField("upper_bps")
    assert branch.lower_bps == world.available_bps(105, 101) == 3 * MBIT


@pytest.mark.parametrize(
    "options",
    [{"links": "0"}, {"links": "9"}, {"max_agents": "0"}, {"coverage_ratio": "1.1"}, {"e": "4"}],
)
def test_bad_parameters_are_refused(options: dict[str, str]) -> None:
    with pytest.raises(BadParameters):
        BROUTE.call(options)


def test_the_summary_can_be_estimated_again_from_what_was_observed() -> None:
    found = Play(world=World({(router(12, 1), router(101, 12)): 8 * MBIT})).one()
    assert isinstance(found.observations, BrouteObservations)
    again = BROUTE.estimate(BROUTE.call({}), found.observations.SerializeToString())
    assert again.result == found.result
    assert again.quality == found.quality
    shorter = BROUTE.estimate(BROUTE.call({"links": "1"}), found.observations.SerializeToString())
    assert isinstance(shorter.result, BrouteResult)
    assert all(len(branch.links) == 1 for branch in shorter.result.branches)


def test_price_and_deadline() -> None:
    call = BROUTE.call({})
    assert BROUTE.worst_case(call).duration_s <= 120
    assert BROUTE.expected(call).duration_s < 15
    assert BROUTE.expected(call).sent_bytes < 300_000
    assert Policy.Name(BROUTE.POLICY) == "POLICY_RING"


def test_a_route_that_trains_have_left_since_is_traced_anew() -> None:
    world = World()
    routes = {(f"a{asn}", 0): stored(world.traceroute(asn, 101)) for asn in (102, 103)}
    # The later trains of agent 102 went as those of another AS do, those of 103 as before.
    later = Stored(body=world.pathneck(106, 101), started_unix_ns=NOW_NS + 1)
    same = Stored(body=world.pathneck(103, 101), started_unix_ns=NOW_NS + 1)
    known = {"traceroute": routes, "pathneck": {("a102", 0): later, ("a103", 0): same}}
    play = Play(agents=(102, 103), known=known)
    play.measured()
    traces = play.children[0]
    assert traces.call.technique == "traceroute"
    assert traces.pairs == frozenset({("a102", 0)})
