from __future__ import annotations

import itertools
from ipaddress import IPv4Address, IPv4Network

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emodis.lab.plan import Plan, make_plan
from emodis.lab.topofile import find
from emodis.lab.topology import Balance, Kind, Topology
from emodis.lab.truth import path_truths
from tests.unit.lab.builders import small, topologies


def test_addresses_come_from_the_prefix_of_the_right_system() -> None:
    plan = make_plan(small())
    assert plan.prefixes[65001] == IPv4Network("10.1.0.0/16")
    assert plan.nodes["h1"].address == IPv4Address("10.1.0.1")
    assert plan.nodes["r1"].address == plan.nodes["r1"].loopback == IPv4Address("10.1.255.1")
    # The border link belongs to its `a`: r2 of AS 65002 answers with an address of AS 65001.
    assert plan.interface("r2", "r1").address == IPv4Address("10.1.0.6")
    # An access link belongs to its host.
    assert plan.nodes["h2"].address == IPv4Address("10.2.0.1")
    assert plan.asn_of(IPv4Address("10.2.0.2")) == 65002
    assert plan.asn_of(IPv4Address("10.9.0.1")) is None


def test_a_host_knows_one_route_and_cross_traffic_has_its_own() -> None:
    plan = make_plan(small())
    assert [str(r.destination) for r in plan.nodes["h1"].routes] == ["0.0.0.0/0"]
    sink = plan.flows[0].sink
    to_sink = [r for r in plan.nodes["r1"].routes if r.destination == IPv4Network(sink)]
    assert [hop.interface for r in to_sink for hop in r.hops] == ["to-r2"]


CROSSED = """
[as.65001]
name = "One"
[nodes]
h1 = { kind = "host", asn = 65001 }
h2 = { kind = "host", asn = 65001 }
""" + "".join(
    f'{name} = {{ kind = "router", asn = 65001 }}\n' for name in ("s", "t", "a1", "a2", "b1", "b2")
)


def test_equal_paths_are_chosen_the_same_way_in_both_directions() -> None:
    """s - a1 - b2 - t or s - a2 - b1 - t: choosing by the nearest name would cross over."""
    plan = crossed()
    assert plan.path("h1", "h2") == plan.path("h2", "h1")[::-1]


def crossed(balancing: str = "") -> Plan:
    pairs = ["h1 s", "h2 t", "s a1", "s a2", "a1 b2", "a2 b1", "b1 t", "b2 t"]
    links = (
        '[[links]]\na = "{}"\nb = "{}"\ncapacity_bps = 1000000\n'.format(*pair.split())
        for pair in pairs
    )
    nodes = CROSSED
    for name in balancing.split():
        plain = f'{name} = {{ kind = "router"'
        assert plain in nodes
        nodes = nodes.replace(plain, plain + ', balance = "flow"')
    return make_plan(small(nodes + "".join(links)))


def test_a_router_that_balances_uses_all_its_equal_ways() -> None:
    plan = crossed("s")
    ways = {("h1", "s", "a1", "b2", "t", "h2"), ("h1", "s", "a2", "b1", "t", "h2")}
    assert set(plan.paths("h1", "h2")) == ways
    # What does not balance goes one way, which is the first of those back.
    assert plan.paths("h2", "h1") == (plan.path("h1", "h2")[::-1],)
    to_h2 = {
        h.node
        for r in plan.nodes["s"].routes
        for h in r.hops
        if plan.nodes["h2"].address in r.destination
    }
    assert to_h2 == {"a1", "a2"}


def test_ways_that_are_longer_are_not_equal() -> None:
    plan = crossed("s t a1")
    assert plan.paths("h1", "s") == (("h1", "s"),)
    assert len(plan.paths("s", "b2")) == 1
    assert len(plan.paths("a1", "b1")) == 2


@given(topologies(), st.data())
def test_equal_paths_are_all_shortest_and_end(topology: Topology, data: st.DataObject) -> None:
    """Whichever routers balance, no flow goes round in circles."""
    spread = data.draw(st.sets(st.sampled_from(topology.routers)))
    nodes = {
        name: attrs.evolve(node, balance=Balance.FLOW) if name in spread else node
        for name, node in topology.nodes.items()
    }
    plan = make_plan(attrs.evolve(topology, nodes=nodes))
    source, destination = data.draw(st.permutations(topology.hosts))[:2]
    found = plan.paths(source, destination)
    assert found[0] == plan.path(source, destination)
    assert len(set(found)) == len(found)
    for path in found:
        assert weight(plan, path) == distances(topology, source)[destination]
        assert len(set(path)) == len(path) == len(found[0])
    truths = path_truths(plan, source, destination)
    assert [(source, *(hop.node for hop in t.hops)) for t in truths] == list(found)


def test_the_demo_answers_on_the_way_it_is_asked() -> None:
    plan = make_plan(find("demo"))
    for agent in ("a1", "a2", "a3", "a4", "a5"):
        assert plan.path(agent, "c1") == plan.path("c1", agent)[::-1]


def weight(plan: Plan, path: tuple[str, ...]) -> int:
    links = (plan.topology.link_between(a, b) for a, b in itertools.pairwise(path))
    return sum(link.metric for link in links if link)


def distances(topology: Topology, source: str) -> dict[str, int]:
    """Bellman-Ford: slow, and nothing like the code under test."""
    best = {source: 0}
    for _ in topology.nodes:
        for link in topology.links:
            for a, b in ((link.a, link.b), (link.b, link.a)):
                if a in best:
                    best[b] = min(best.get(b, 1 << 30), best[a] + link.metric)
    return best


@given(topologies(), st.data())
def test_hop_by_hop_forwarding_is_a_shortest_path_and_the_way_back_the_same(
    topology: Topology, data: st.DataObject
) -> None:
    plan = make_plan(topology)
    ends = st.sampled_from(sorted(topology.nodes))
    source, destination = data.draw(ends), data.draw(ends)
    path = plan.path(source, destination)
    assert weight(plan, path) == distances(topology, source)[destination]
    assert plan.path(destination, source) == path[::-1]
    assert all(topology.nodes[name].kind is Kind.ROUTER for name in path[1:-1])


@given(topologies())
def test_no_address_or_mac_is_given_twice_and_neighbours_know_each_other(
    topology: Topology,
) -> None:
    plan = make_plan(topology)
    interfaces = [i for node in plan.nodes.values() for i in node.interfaces]
    loopbacks = [node.loopback for node in plan.nodes.values() if node.loopback]
    addresses = [i.address for i in interfaces] + loopbacks
    assert len(set(addresses)) == len(addresses)
    assert len({i.mac for i in interfaces}) == len(interfaces)
    for i in interfaces:
        other = plan.interface(i.peer, i.node)
        assert (other.address, other.mac) == (i.peer_address, i.peer_mac)
        assert len(i.name) <= 15
    assert all(plan.asn_of(address) for address in addresses)


@given(topologies())
def test_every_router_knows_the_way_to_every_address(topology: Topology) -> None:
    plan = make_plan(topology)
    addresses = {i.address for node in plan.nodes.values() for i in node.interfaces}
    for node in plan.nodes.values():
        if node.loopback:
            near = {i.address for i in node.interfaces} | {i.peer_address for i in node.interfaces}
            known = {r.destination.network_address for r in node.routes}
            assert addresses - near <= known


@pytest.mark.parametrize("agent", ["a1", "a2", "a3", "a4", "a5"])
def test_the_demo_reaches_client_and_server_in_five_to_nine_hops(agent: str) -> None:
    plan = make_plan(find("demo"))
    for target in ("c1", "w1"):
        assert 5 <= len(plan.path(agent, target)) - 1 <= 9


def test_the_demo_reaches_the_client_through_both_of_its_upstreams() -> None:
    plan = make_plan(find("demo"))
    borders = {plan.path(agent, "c1")[-4] for agent in ("a1", "a2", "a3", "a4", "a5")}
    assert borders == {"n1", "s2"}
