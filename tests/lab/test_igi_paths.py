"""IGI/PTR on paths that are hard on it, all of one lab: TECHNIQUES.md 4, cases 3, 4, 5, 14."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from emodis.lab import topofile
from emodis.lab.deployment import Deployment
from emodis.lab.lab import Lab
from tests.support.hog import hog

pytestmark = pytest.mark.lab
# Each agent behind a router of its own; what is special about its path is the link r0 comes after.
HEAD = """
[as.65001]
name = "Agents"

[as.65002]
name = "Client"

[nodes]
r0 = { kind = "router", asn = 65002 }
h2 = { kind = "host", asn = 65002 }
"""
LAST = """
[[links]]
a = "h2"
b = "r0"
capacity_bps = 25_000_000
"""
WAY = """
[[links]]
a = "{name}"
b = "r-{name}"
capacity_bps = {access}

[[links]]
a = "r-{name}"
b = "r0"
capacity_bps = {capacity}
{special}
"""
TRAFFIC = """
[[traffic]]
link = ["{a}", "{b}"]
model = "poisson"
rate_bps = {rate}
packet_bytes = [800]
"""
MBIT = 1_000_000
# Capacity of the special link, what is special, traffic over it.
WAYS = {
    "rough": (20, "loss_up_ratio = 0.05\nreorder_up_ratio = 0.1\nreorder_by_s = 0.002", 6),
    "tight": (40, "", 24),
}


def paths() -> str:
    """Everything as one topology; the last link, 25 Mbit/s, is narrower than the tight one."""
    nodes, links = "", LAST
    for name, (capacity, special, load) in WAYS.items():
        nodes += f'{name} = {{ kind = "host", asn = 65001 }}\n'
        nodes += f'r-{name} = {{ kind = "router", asn = 65001 }}\n'
        links += WAY.format(name=name, access=80 * MBIT, capacity=capacity * MBIT, special=special)
        links += TRAFFIC.format(a=f"r-{name}", b="r0", rate=load * MBIT)
    return HEAD + nodes + links


@pytest.fixture(scope="module")
def emodis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with Lab.up(topofile.parse(paths(), place="test", default_name="igi-paths")) as lab:
        made = Deployment(lab, tmp_path_factory.mktemp("igi-paths"), master_host="h2")
        try:
            made.start_master()
            for name in WAYS:
                made.start_agent(name, "--allow", "igi")
            yield made
        finally:
            made.stop()


def asked(emodis: Deployment) -> dict[str, dict[str, Any]]:
    """All agents, one after the other: each one's run."""
    done = emodis.client("h2", "request", "--tech", "igi", "--agents", "ALL", "--format", "json")
    (measurement,) = json.loads(done.stdout)["measurements"]
    places = {agent["agent_id"]: agent["place"] for agent in measurement["agents"]}
    return {places[run["agent_id"]]: run for run in measurement["runs"]}


def error(emodis: Deployment, name: str, run: dict[str, Any]) -> float:
    """Relative to what is available at the size of the probes."""
    size_bytes = run["result"]["phases"][-1]["size_bytes"]
    truth = emodis.lab.truth(name, "h2", packet_bytes=size_bytes).tight.avail_ip_bps
    return float(run["result"]["ptr_bps"] / truth - 1)


def test_hard_paths_are_measured_within_what_is_promised_of_them(emodis: Deployment) -> None:
    runs = asked(emodis)
    assert {name: run["end"] for name, run in runs.items()} == dict.fromkeys(WAYS, "done")
    errors = {name: error(emodis, name, run) for name, run in runs.items()}
    assert abs(errors["rough"]) <= 0.25, errors
    assert -0.5 <= errors["tight"] <= 1.0, errors
    assert runs["rough"]["result"]["loss_ratio"] == pytest.approx(0.05, abs=0.03)
    assert any("out of order" in reason for reason in runs["rough"]["quality"]["reasons"])


def test_a_sender_that_is_held_up_says_so_and_nothing_wrong(emodis: Deployment) -> None:
    with hog(emodis.lab, "h2"):
        runs = asked(emodis)
    rough = runs["rough"]
    if rough["end"] == "done":
        assert abs(error(emodis, "rough", rough)) <= 0.35
    else:
        assert rough["reason"] == "self_congested", rough
    assert sum(run["result"]["trains_discarded"] for run in runs.values() if run["result"]) > 0
