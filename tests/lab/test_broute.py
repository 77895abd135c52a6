"""BRoute by real agents and packets: ways in and bounds against the lab's truth."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from emodis.lab.deployment import Deployment
from emodis.lab.lab import Lab

pytestmark = pytest.mark.lab


@pytest.fixture
def diamond(tmp_path: Path) -> Iterator[Deployment]:
    """Two ways into c1 that share its access link only; an agent on each."""
    with Lab.up("diamond") as lab:
        deployment = Deployment(lab=lab, home=tmp_path)
        try:
            deployment.start_master()
            for agent in ("a1", "a2"):
                deployment.start_agent(agent)
            yield deployment
        finally:
            deployment.stop()


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
