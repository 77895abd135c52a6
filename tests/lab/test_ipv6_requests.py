"""Agents measure IPv6 destinations with real packets; who cannot is not asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from emodis.client.exits import Exit
from emodis.lab.deployment import Deployment
from emodis.lab.lab import Lab

pytestmark = pytest.mark.lab

NO_IPV6 = ["sh", "-c", "for c in all default lo; do echo 1 > /proc/sys/net/ipv6/conf/$c/$W; done"]


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A master and two agents, the second on a host whose IPv6 is switched off."""
    with Lab.up("demo") as lab:
        deployment = Deployment(lab, tmp_path_factory.mktemp("deployed"))
        try:
            deployment.start_master()
            deployment.start_agent("a1")
            lab.run("a2", NO_IPV6, env={"W": "disable_ipv6", "PATH": "/bin"}, check=True, timeout=9)
            deployment.start_agent("a2")
            yield deployment
        finally:
            deployment.stop()


def runs(deployed: Deployment, *arguments: str) -> dict[str, dict[str, Any]]:
    """By the place of the agent."""
    done = deployed.client("c1", "request", *arguments, "--format", "json")
    assert done.returncode == Exit.OK, done.stderr
    (measurement,) = json.loads(done.stdout)["measurements"]
    places = {agent["agent_id"]: agent["place"] for agent in measurement["agents"]}
    return {places[run["agent_id"]]: run for run in measurement["runs"]}


def hops(run: dict[str, Any]) -> list[str]:
    return [hop["answers"][0]["address"] for hop in run["result"]["hops"]]


def test_a_name_with_both_families_means_ipv4(deployed: Deployment) -> None:
    arguments = ["w1", "--tech", "traceroute", "--agents", "ALL"]
    over_ipv4, over_ipv6 = runs(deployed, *arguments), runs(deployed, *arguments, "-6")
    assert (sorted(over_ipv4), sorted(over_ipv6)) == (["a1", "a2"], ["a1"])
    for found, ipv6 in ((over_ipv4, False), (over_ipv6, True)):
        truth = deployed.lab.truth("a1", "w1", ipv6=ipv6)
        assert hops(found["a1"]) == [str(hop.address) for hop in truth.hops]


def test_pathneck_finds_the_same_bottleneck_over_ipv6(deployed: Deployment) -> None:
    agent = str(deployed.lab.address("a1"))
    found = runs(deployed, "w1", "-6", "--tech", "pathneck", "--agents", agent)
    truth = deployed.lab.truth("a1", "w1", ipv6=True)
    assert found["a1"]["result"]["bottleneck"]["ttl"] == truth.choke.ttl


def test_an_agent_without_ipv6_is_not_eligible_and_it_is_said(deployed: Deployment) -> None:
    agent = str(deployed.lab.address("a2"))
    done = deployed.client("c1", "request", "w1", "-6", "--tech", "ping", "--agents", agent)
    assert done.returncode == Exit.NO_AGENT
    assert "does not offer ping over IPv6" in done.stderr
    assert "without -6" in done.stderr
