"""BRoute by real agents and packets: ways in and bounds against the lab's truth."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from emodis.lab.deployment import Deployment
from emodis.lab.lab import Lab

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def diamond(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Two ways into c1 that share its access link only; an agent on each."""
    with Lab.up("diamond") as lab:
        deployment = Deployment(lab=lab, home=tmp_path_factory.mktemp("diamond"))
        try:
            deployment.start_master()
            for agent in ("a1", "a2"):
                deployment.start_agent(agent)
            yield deployment
        finally:
            deployment.stop()


def measured(diamond: Deployment, *arguments: str) -> list[dict[str, Any]]:
    """The results of all measurements of a command of c1."""
    done = diamond.client("c1", *arguments, "--tech", "broute", "--format", "json")
    assert done.returncode == 0, done.stderr
    measurements = json.loads(done.stdout)["measurements"]
    return [run["result"] for measurement in measurements for run in measurement["runs"]]


def test_both_ways_into_a_host_with_what_each_has_left(diamond: Deployment) -> None:
    lab = diamond.lab
    done = diamond.client(
        "c1", "request", "--tech", "broute", "--format", "json", "--explain", "-o", "trains=8"
    )
    assert done.returncode == 0, done.stderr
    (measurement,) = json.loads(done.stdout)["measurements"]
    (run,) = measurement["runs"]
    result = run["result"]
    assert run["agent_id"] is None
    assert result["as_map"]
    assert result["coverage_ratio"] == 1.0
    ways = {branch["upstream_asn"]: branch for branch in result["branches"]}
    assert set(ways) == {65001, 65002}
    # r2-r4 with 10 Mbit/s is the tightest from a1, c1's own access with 20 from a2.
    for agent, asn in (("a1", 65001), ("a2", 65002)):
        truth = lab.truth(agent, "c1")
        way = ways[asn]
        assert way["links"][-1]["to_address"] == str(lab.address("c1"))
        assert way["bottleneck"]["to_address"] == str(truth.choke.to_address)
        assert way["upper_bps"] == pytest.approx(truth.choke.avail_ip_bps, rel=0.2)
    assert {(e["from_asn"], e["to_asn"]) for e in result["edges"]} == {
        (65001, 65003),
        (65002, 65003),
    }
    assert "covers 1 of 2 branches" in done.stderr
    # It can be read back, and is not measured again within half an hour.
    shown = diamond.client("c1", "results", measurement["measurement_id"])
    assert "2 ways in are known" in shown.stdout
    again = diamond.client("c1", "request", "--tech", "broute", "--format", "json")
    assert json.loads(again.stdout)["measurements"][0]["cost"]["sent_bytes"] == 0


def test_both_ways_in_over_ipv6(diamond: Deployment) -> None:
    lab = diamond.lab
    me = str(lab.address6("c1"))
    (result,) = measured(diamond, "request", "-6", me, "-o", "trains=8")
    ways = {branch["upstream_asn"]: branch for branch in result["branches"]}
    assert set(ways) == {65001, 65002}
    for agent, asn in (("a1", 65001), ("a2", 65002)):
        truth = lab.truth(agent, "c1", ipv6=True)
        assert ways[asn]["bottleneck"]["to_address"] == str(truth.choke.to_address)
        assert ways[asn]["upper_bps"] == pytest.approx(truth.choke.avail_ip_bps, rel=0.2)


def test_both_ways_out_over_ipv6_with_no_master(diamond: Deployment) -> None:
    lab = diamond.lab
    landmarks = [str(lab.address6(agent)) for agent in ("a1", "a2")]
    (result,) = measured(diamond, "measure", "-6", *landmarks)
    assert result["source"]
    assert {branch["upstream_asn"] for branch in result["branches"]} == {65001, 65002}
    for branch, agent in zip(result["branches"], ("a1", "a2"), strict=True):
        truth = lab.truth("c1", agent, ipv6=True)
        # Its own access is the slowest link of both.
        assert branch["links"][0]["from_address"] == str(lab.address6("c1"))
        assert branch["bottleneck"]["to_address"] == str(truth.choke.to_address)
        assert branch["upper_bps"] == pytest.approx(truth.choke.avail_ip_bps, rel=0.2)


def test_the_way_to_a_host_by_both_its_edges(diamond: Deployment) -> None:
    out, into = measured(diamond, "request", "m1", "-o", "direction=both", "-o", "trains=3")
    assert (out["source"], out["root_asn"]) == (True, 65003)
    assert (into["source"], into["root_asn"]) == (False, 65001)
    assert {branch["upstream_asn"] for branch in out["branches"]} == {65001, 65002}
    (found,) = out["estimates"]
    truth = diamond.lab.truth("c1", "m1")
    assert found["name"] == "m1"
    assert found["asns"] == [65003, 65001]
    assert found["upper_bps"] == pytest.approx(truth.choke.avail_ip_bps, rel=0.2)
