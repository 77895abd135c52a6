"""Routes, parallel routes and round trips by real packets, against the lab's truth."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import pytest

from emodis.lab.lab import Lab
from emodis.lab.topofile import parse
from emodis.lab.topology import Topology
from tests.support.sizes import sized

pytestmark = pytest.mark.lab
CLIENT = str(Path(sys.executable).parent / "emodis-client")
FAMILIES = pytest.mark.parametrize("ipv6", [False, True], ids=["ipv4", "ipv6"])
PROTOCOLS = pytest.mark.parametrize("proto", ["udp", "icmp", "tcp"])

BALANCE = 'balance = "flow"\n'
# s balances over a and b, a over three more.
FORK_LINKS = (
    "h1 s",
    "s a",
    "s b",
    "a a1",
    "a a2",
    "a a3",
    "b b1",
    "a1 t",
    "a2 t",
    "a3 t",
    "b1 t",
    "h2 t",
)
# s balances over a and b.
PAIR_LINKS = ("h1 s", "s a", "s b", "a t", "b t", "h2 t")
# So many surveys, so many at a time in labs of their own.
SURVEYS, LABS = sized((1, 1), (200, 8))
ROUTES = sized(3, 100)
# r2 rations its answers, r4 gives none.
STUBBORN = {"r2": 'icmp = "limited"\nicmp_per_s = 1\n', "r4": 'icmp = "silent"\n'}
STUBBORN_NODES = ("h1", "r1", "r2", "r3", "r4", "r5", "h2")


def joined(*ends: str, **more: str) -> Topology:
    """Links between "a b"; what begins with h is a host. `more`: further lines of a node."""
    pairs = [link.split() for link in ends]
    text = 'name = "test"\n[as.65001]\nname = "One"\n'
    for name in dict.fromkeys(chain.from_iterable(pairs)):
        kind = "host" if name.startswith("h") else "router"
        text += f'[nodes.{name}]\nkind = "{kind}"\nasn = 65001\n{more.get(name, "")}'
    for a, b in pairs:
        text += f'[[links]]\na = "{a}"\nb = "{b}"\ncapacity_bps = 100_000_000\n'
    return parse(text, place="test", default_name="test")


@pytest.fixture(scope="module")
def fork_lab() -> Iterator[Lab]:
    """h1 - s - (a - (a1 | a2 | a3) | b - b1) - t - h2."""
    with Lab.up(joined(*FORK_LINKS, s=BALANCE, a=BALANCE)) as lab:
        yield lab


@pytest.fixture(scope="module")
def stubborn_lab() -> Iterator[Lab]:
    """h1 - r1 .. r5 - h2."""
    ends = (f"{a} {b}" for a, b in pairwise(STUBBORN_NODES))
    with Lab.up(joined(*ends, **STUBBORN)) as lab:
        yield lab


def measure(lab: Lab, technique: str, *options: str, ipv6: bool = False) -> dict[str, Any]:
    """The only measurement from h1 to h2."""
    command = [CLIENT, "measure", "h2", "--tech", technique, "--format", "json"]
    command += ["-6"] if ipv6 else []
    for option in options:
        command += ["-o", option]
    done = lab.run("h1", command, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    (measurement,) = json.loads(done.stdout)["measurements"]
    return dict(measurement)


def result_of(measurement: dict[str, Any]) -> dict[str, Any]:
    (run,) = measurement["runs"]
    return dict(run["result"])


@FAMILIES
@PROTOCOLS
def test_every_protocol_finds_every_hop_and_its_name(path_lab: Lab, proto: str, ipv6: bool) -> None:
    measurement = measure(path_lab, "traceroute", f"proto={proto}", ipv6=ipv6)
    result = result_of(measurement)
    truth = path_lab.truth("h1", "h2", ipv6=ipv6)
    for hop, true in zip(result["hops"], truth.hops, strict=True):
        # The destination rations its answers to UDP: the second round comes too early for it.
        heard = {answer["address"] for answer in hop["answers"]} - {None}
        assert heard == {str(true.address)}
    assert (result["hop_count"], result["end_reason"]) == (7, "reached")
    assert not any(hop["rate_limited"] for hop in result["hops"])
    names = {owner["address"]: owner["name"] for owner in measurement["owners"]}
    assert names.get(str(truth.hops[-1].address)) == "h2"


@FAMILIES
@PROTOCOLS
def test_every_protocol_is_answered_by_the_destination(
    path_lab: Lab, proto: str, ipv6: bool
) -> None:
    # Linux says "port unreachable" once a second, and others have just asked.
    interval_s = 1.1 if proto == "udp" else 0.1
    options = [f"proto={proto}", "count=4", f"interval_s={interval_s}"]
    result = result_of(measure(path_lab, "ping", *options, ipv6=ipv6))
    assert (result["answered"], result["loss_ratio"]) == (4, 0.0)
    assert result["port_state"] == ("" if proto == "icmp" else "closed")
    assert result["reverse_hops"] == 6


@FAMILIES
def test_a_router_that_rations_its_answers_and_a_silent_one_lose_nothing(
    stubborn_lab: Lab, ipv6: bool
) -> None:
    options = ("rounds=10", "settle_s=0.1", "proto=icmp")
    result = result_of(measure(stubborn_lab, "traceroute", *options, ipv6=ipv6))
    assert result["hop_count"] == 6
    assert [hop["ttl"] for hop in result["hops"] if hop["rate_limited"]] == [2]
    assert not any(answer["address"] for answer in result["hops"][3]["answers"])
    assert all(hop["loss_ratio"] is None for hop in result["hops"])


@pytest.fixture(scope="module")
def surveys(fork_lab: Lab) -> Iterator[dict[bool, Future[dict[str, Any]]]]:
    """One for each family, both at once: they wait for slow answers."""
    options = ("traceroute", "mda=lite", "eps_ratio=0.001")
    with ThreadPoolExecutor() as pool:
        yield {ipv6: pool.submit(measure, fork_lab, *options, ipv6=ipv6) for ipv6 in (False, True)}


@FAMILIES
def test_all_parallel_routes_are_found(
    fork_lab: Lab, surveys: dict[bool, Future[dict[str, Any]]], ipv6: bool
) -> None:
    """The chance to miss one is a thousandth a hop, so a failure here is none of chance."""
    measurement = surveys[ipv6].result()
    graph = result_of(measurement)["graph"]
    assert graph["stopped"] == ""
    assert graph["confidence_ratio"] > 0.99
    true_edges = {
        (true.ttl, str(before.address), str(true.address))
        for truth in fork_lab.truths("h1", "h2", ipv6=ipv6)
        for before, true in pairwise(truth.hops)
    }
    found = {(edge["ttl"], edge["from_address"], edge["to_address"]) for edge in graph["edges"]}
    assert found == true_edges
    true_paths = {
        tuple(str(hop.address) for hop in truth.hops)
        for truth in fork_lab.truths("h1", "h2", ipv6=ipv6)
    }
    assert {tuple(path["addresses"]) for path in graph["paths"]} == true_paths
    assert not any(hop["per_packet"] for hop in graph["hops"])


@pytest.mark.full
def test_both_of_two_routes_are_found_as_often_as_promised() -> None:
    def both(lab: Lab) -> bool:
        graph = result_of(measure(lab, "traceroute", "mda=lite"))["graph"]
        return len({node["address"] for node in graph["nodes"] if node["ttl"] == 2}) == 2

    with ExitStack() as stack, ThreadPoolExecutor(LABS) as pool:
        pair = joined(*PAIR_LINKS, s=BALANCE)
        labs = [stack.enter_context(Lab.up(pair)) for _ in range(LABS)]
        # Of each lab one at a time: its routers ration their answers.
        rounds = [list(pool.map(both, labs)) for _ in range(SURVEYS // LABS)]
    found = [one for each in rounds for one in each]
    assert sum(found) >= 0.95 * SURVEYS, f"{sum(found)} of {SURVEYS}"


@pytest.mark.full
def test_one_flow_takes_one_route(fork_lab: Lab) -> None:
    for _ in range(ROUTES):
        result = result_of(measure(fork_lab, "traceroute"))
        assert result["graph"] is None
        for hop in result["hops"]:
            assert len({answer["address"] for answer in hop["answers"]} - {None}) == 1
