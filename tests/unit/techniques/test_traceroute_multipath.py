from __future__ import annotations

import itertools
from ipaddress import IPv4Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emodis.techniques.base import BadParameters, Context, Measured
from emodis.techniques.traceroute import Traceroute
from emodis.wire.v1.common_pb2 import Body, End, Quality
from tests.support.balancers import END, Balancers, chain
from tests.support.driving import drive
from tests.support.fluid import MS, TARGET, S

TRACEROUTE = Traceroute()


def measure(network: Balancers, **options: str) -> Measured:
    call = TRACEROUTE.call({"mda": "lite", **options})
    return drive(TRACEROUTE.conversation(call, Context(address=TARGET, seed=1)), network)


def widths(measured: Measured) -> list[int]:
    """How many addresses each hop has."""
    result: Any = measured.result
    return [hop.branches for hop in result.graph.hops]


def edges(measured: Measured, network: Balancers) -> set[tuple[int, str, str]]:
    names = {network.address(node).packed: node for node in (*network.ways, END)}
    result: Any = measured.result
    return {(e.ttl, names[e.from_address], names[e.to_address]) for e in result.graph.edges}


def test_worked_example() -> None:
    """One router, then two that both lead to a third, then the destination."""
    network = Balancers(ways=chain(1, 2, 1))
    measured = measure(network)
    result: Any = measured.result
    assert measured.ending.end == End.END_DONE
    assert widths(measured) == [1, 2, 1, 1]
    assert edges(measured, network) == {
        (2, "h1.0", "h2.0"),
        (2, "h1.0", "h2.1"),
        (3, "h2.0", "h3.0"),
        (3, "h2.1", "h3.0"),
        (4, "h3.0", END),
    }
    # Six flows for one way, eleven for two.
    assert [hop.answers for hop in result.graph.hops] == [6, 11, 6, 6]
    assert result.graph.hops[0].miss_ratio == pytest.approx(1 / 32)
    assert [len(path.addresses) for path in result.graph.paths] == [4, 4]
    flows = sorted(flow for path in result.graph.paths for flow in path.flows)
    assert flows == list(range(11))
    assert result.graph.stopped == ""
    assert 0.85 < result.graph.confidence_ratio < 0.95
    assert measured.quality.word == Quality.WORD_GOOD
    # The hops themselves are those of one flow.
    assert [len({a.address for a in hop.answers}) for hop in result.hops] == [1, 1, 1, 1]


def test_without_branches_the_destination_is_not_asked_again() -> None:
    network = Balancers(ways=chain(1, 1, 1))
    result: Any = measure(network).result
    assert [hop.answers for hop in result.graph.hops] == [6, 6, 6, 1]
    assert not result.graph.hops[3].HasField("miss_ratio")
    assert result.graph.stopped == ""
    (path,) = result.graph.paths
    assert list(path.flows) == [0, 1, 2, 3, 4, 5]


def test_one_flow_keeps_to_one_way() -> None:
    for seed in range(100):
        network = Balancers(ways=chain(1, 2, 2, 1), seed=seed)
        call = TRACEROUTE.call({})
        talk = TRACEROUTE.conversation(call, Context(address=TARGET, seed=1))
        result: Any = drive(talk, network).result
        assert all(len({a.address for a in hop.answers}) == 1 for hop in result.hops)
        assert not result.HasField("graph")


@pytest.mark.parametrize(
    ("ways", "eps", "runs", "most"),
    # `most` is what is promised, but for the last: one in a hundred may well be two.
    [(2, "0.05", 200, 10), (4, "0.05", 150, 7), (16, "0.05", 60, 3), (4, "0.01", 100, 2)],
)
def test_a_balancer_is_seen_whole_as_often_as_promised(
    ways: int, eps: str, runs: int, most: int
) -> None:
    missed = 0
    for seed in range(runs):
        network = Balancers(ways=chain(1, ways, 1), seed=seed)
        missed += widths(measure(network, eps_ratio=eps))[1] < ways
    assert missed <= most


def test_ways_of_different_length_are_followed_to_their_ends() -> None:
    network = Balancers(
        ways={
            "start": ["a"],
            "a": ["b", "c"],
            "b": [END],
            "c": ["d"],
            "d": ["e"],
            "e": [END],
        }
    )
    measured = measure(network)
    found = edges(measured, network)
    assert {(2, "a", "b"), (2, "a", "c"), (3, "b", END), (3, "c", "d"), (4, "d", "e")} <= found
    assert (5, "e", END) in found
    # Nothing leads on from the destination.
    assert not any(start == END for _, start, _ in found)
    result: Any = measured.result
    assert sorted(len(path.addresses) for path in result.graph.paths) == [3, 5]


def test_two_balancers_in_a_row_are_linked() -> None:
    """2 x 2 routers without crossing: as many ways in as out, so counting by hop does."""
    ways = {
        "start": ["a"],
        "a": ["b0", "b1"],
        "b0": ["c0"],
        "b1": ["c1"],
        "c0": ["d"],
        "c1": ["d"],
        "d": [END],
    }
    network = Balancers(ways=ways)
    found = edges(measure(network), network)
    assert {edge for edge in found if edge[0] == 3} == {(3, "b0", "c0"), (3, "b1", "c1")}


UNEQUAL = {
    "start": ["a"],
    "a": ["b0", "b1", "b2", "b3"],
    **{f"b{i}": ["c0"] for i in range(3)},
    "b3": [f"c{i}" for i in range(1, 5)],
    **{f"c{i}": ["d"] for i in range(5)},
    "d": [END],
}


@pytest.mark.parametrize(("mda", "least"), [("lite", 13), ("full", 18)])
def test_unequal_branching_is_counted_router_by_router(mda: str, least: int) -> None:
    """A sixteenth of all flows meet c1. If all routers of a hop were taken for equally likely, half
    of these runs would stop before they have seen all of c1 to c4. `lite` does not know better as
    long as it has only met c0; `full` counts behind each of the four routers before.
    """
    whole = 0
    for seed in range(20):
        network = Balancers(ways=UNEQUAL, seed=seed)
        whole += widths(measure(network, mda=mda))[2] == 5
    assert whole >= least


def test_full_search_counts_behind_every_branch() -> None:
    network = Balancers(ways=chain(1, 4, 1))
    lite: Any = measure(Balancers(ways=chain(1, 4, 1))).result
    full: Any = measure(network, mda="full").result
    behind = [edge for edge in full.graph.edges if edge.ttl == 3]
    assert len(behind) == 4
    assert min(edge.flows for edge in behind) >= 6
    assert full.graph.flows > lite.graph.flows


def test_packets_that_are_balanced_one_by_one_are_told_and_not_searched() -> None:
    told = 0
    for seed in range(50):
        network = Balancers(ways=chain(1, 2, 1), per_packet=frozenset({"h1.0"}), seed=seed)
        measured = measure(network)
        result: Any = measured.result
        told += result.graph.hops[1].per_packet
        if result.graph.hops[1].per_packet:
            assert not result.graph.hops[1].HasField("miss_ratio")
            assert "packets are balanced one by one" in " ".join(measured.quality.reasons)
            assert "the route changed at hop" not in " ".join(measured.quality.reasons)
    # Flow 0 shows it in three of four runs, the second flow in three of four of the others.
    assert told >= 42


def test_too_many_branches_are_given_up_and_said() -> None:
    measured = measure(Balancers(ways=chain(1, 16, 1)), max_branches="4")
    result: Any = measured.result
    assert result.graph.stopped == "too_many_branches(2)"
    assert result.graph.flows < 20
    assert "not finished: too_many_branches(2)" in measured.quality.reasons[0]


def test_too_few_flows_are_said() -> None:
    result: Any = measure(Balancers(ways=chain(1, 16, 1)), max_flows="20").result
    assert (result.graph.stopped, result.graph.flows) == ("max_flows", 20)
    assert result.graph.confidence_ratio < 0.5


def test_time_runs_out_before_the_deadline_does() -> None:
    network = Balancers(ways=chain(1, 16, 1), hop_ns=200 * MS)
    call = TRACEROUTE.call({"mda": "lite", "max_time_s": "20"})
    start_ns = network.now_ns
    measured = drive(TRACEROUTE.conversation(call, Context(address=TARGET, seed=1)), network)
    result: Any = measured.result
    assert result.graph.stopped == "max_time"
    worst_ns = TRACEROUTE.worst_case(call).duration_s * S
    assert 15 * S < network.now_ns - start_ns < worst_ns


def test_no_router_is_asked_faster_than_it_refills() -> None:
    """Routers that ration their answers lose none of them, save in the rounds of all hops."""
    network = Balancers(ways=chain(1, 2, 1, 1), rationed=frozenset({"h1.0", "h3.0", "h4.0"}))
    measured = measure(network, rounds="3")
    result: Any = measured.result
    assert [hop.answers for hop in result.graph.hops[:4]] == [6, 11, 6, 6]
    for node in ("h1.0", "h3.0", "h4.0"):
        asked = network.asked[node]
        assert len(asked) == 8
        for first, later in itertools.combinations(range(len(asked)), 2):
            allowed = 6 + (asked[later] - asked[first]) / S
            assert later - first + 1 <= allowed + 1e-6


def test_an_unanswered_probe_is_repeated_a_second_later_and_is_no_branch() -> None:
    network = Balancers(ways=chain(1, 2, 1), loses_every=7)
    measured = measure(network)
    result: Any = measured.result
    assert widths(measured)[:3] == [1, 2, 1]
    assert result.graph.stopped == ""
    last: dict[tuple[int, int], int] = {}
    observations: Any = measured.observations
    repeated = 0
    for train in observations.flow_trains:
        for probe in train.probes:
            pair, at_ns = (train.flow, probe.ttl), train.t0_unix_ns + probe.sent_ns
            if pair in last:
                repeated += 1
                assert at_ns - last[pair] >= 1_100 * MS
            last.pop(pair, None)
            if not probe.HasField("received_ns"):
                last[pair] = at_ns
    assert repeated


def test_a_silent_branch_is_told_from_no_branch() -> None:
    network = Balancers(ways=chain(1, 2, 1), silent=frozenset({"h2.1"}), seed=3)
    measured = measure(network)
    result: Any = measured.result
    hop = result.graph.hops[1]
    assert hop.branches == 1
    assert hop.silent_flows > 0
    assert "some flows were never answered at hop 2" in " ".join(measured.quality.reasons)


def test_a_silent_hop_is_asked_by_a_few_flows_and_left() -> None:
    network = Balancers(ways=chain(1, 1, 1), silent=frozenset({"h2.0"}))
    result: Any = measure(network).result
    assert [hop.branches for hop in result.graph.hops] == [1, 0, 1, 1]
    assert [node.ttl for node in result.graph.nodes] == [1, 3, 4]
    (path,) = result.graph.paths
    assert path.addresses[1] == b""


def test_a_silent_destination_is_no_obstacle() -> None:
    network = Balancers(ways=chain(1, 2, 1), silent=frozenset({END}))
    measured = measure(network)
    assert widths(measured) == [1, 2, 1]
    result: Any = measured.result
    assert result.end_reason == "incomplete"


@pytest.mark.parametrize("proto", ["icmp", "tcp"])
def test_other_protocols_search_as_well(proto: str) -> None:
    network = Balancers(ways=chain(1, 2, 1))
    measured = measure(network, proto=proto)
    assert widths(measured) == [1, 2, 1, 1]
    assert len({train.port for train in network.sent}) == 1


def test_a_stored_search_gives_the_same_graph_again() -> None:
    network = Balancers(ways=UNEQUAL, loses_every=9)
    measured = measure(network, mda="full")
    call = TRACEROUTE.call({"mda": "full"})
    assert TRACEROUTE.estimate(call, measured.observations.SerializeToString()) == measured


def test_its_addresses_are_those_of_all_ways() -> None:
    network = Balancers(ways=chain(1, 4, 1))
    measured = measure(network)
    assert measured.result is not None
    body = Body(technique="traceroute", schema=1, body=measured.result.SerializeToString())
    assert set(TRACEROUTE.addresses(body)) == {
        *(network.address(node) for node in network.ways if node != "start"),
        TARGET,
    }


def test_what_may_take_over_two_minutes_is_refused() -> None:
    with pytest.raises(BadParameters, match="no run may take more than 120 s"):
        TRACEROUTE.call({"mda": "lite", "max_time_s": "110", "timeout_s": "5"})


names = st.sampled_from(["a", "b", "c", "d", "e", "f"])


@given(
    hops=st.lists(st.lists(names, min_size=1, max_size=4, unique=True), min_size=1, max_size=4),
    seed=st.integers(0, 1000),
    loses_every=st.integers(0, 9).filter(lambda n: n != 1),
)
def test_every_edge_and_path_is_one_that_there_is(
    hops: list[list[str]], seed: int, loses_every: int
) -> None:
    layers = [[f"{t}{name}" for name in hop] for t, hop in enumerate(hops)]
    ways = {"start": layers[0]}
    for here, there in zip(layers, [*layers[1:], [END]], strict=True):
        ways.update(dict.fromkeys(here, there))
    network = Balancers(ways=ways, seed=seed, loses_every=loses_every)
    measured = measure(network)
    found = edges(measured, network)
    assert all(end in ways[start] for _, start, end in found)
    result: Any = measured.result
    for path in result.graph.paths:
        known = [IPv4Address(place) for place in path.addresses if place]
        assert len(known) == len(set(known))
    assert 0 <= result.graph.confidence_ratio <= 1
