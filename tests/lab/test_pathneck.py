"""Pathneck with real processes and packets on paths that make it hard, against the truth."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from emodis.lab import topofile
from emodis.lab.deployment import Deployment, program
from emodis.lab.lab import Lab
from emodis.lab.unprivileged import wrapped
from tests.support.trains import measured

pytestmark = pytest.mark.lab

# The client's own link is the narrow one, and its kernel says nothing by ICMP.
COOPERATIVE = """
[as.65001]
name = "Only"

[nodes]
a1 = { kind = "host", asn = 65001 }
a2 = { kind = "host", asn = 65001 }
r1 = { kind = "router", asn = 65001 }
r2 = { kind = "router", asn = 65001 }
r3 = { kind = "router", asn = 65001 }
c1 = { kind = "host", asn = 65001, icmp = "silent" }
c2 = { kind = "host", asn = 65001 }
""" + "".join(
    f'\n[[links]]\na = "{a}"\nb = "{b}"\ncapacity_bps = {capacity}\n'
    for a, b, capacity in (
        ("a1", "r1", 100_000_000),
        ("a2", "r1", 100_000_000),
        ("r1", "r2", 50_000_000),
        ("r2", "r3", 50_000_000),
        ("r3", "c1", 10_000_000),
        ("r3", "c2", 20_000_000),
    )
)


@pytest.fixture(scope="module")
def cooperative(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Agents at a1, with raw sockets, and at a2, without; master and client at c1."""
    topology = topofile.parse(COOPERATIVE, place="test", default_name="cooperative")
    with Lab.up(topology) as lab:
        emodis = Deployment(lab, tmp_path_factory.mktemp("cooperative"), master_host="c1")
        try:
            emodis.start_master("--listen-clients", r"tcp6:4711:interface=\:\:")
            emodis.start_agent("a1")
            emodis.unprivileged = True
            emodis.start_agent("a2")
            yield emodis
        finally:
            emodis.stop()


def ask(
    emodis: Deployment, *options: str, host: str = "c1", ipv6: bool = False
) -> dict[str, dict[str, Any]]:
    """Every agent's run towards the client at that host, by its place."""
    at = f"[{emodis.lab.address6('c1')}]" if ipv6 else str(emodis.lab.address("c1"))
    asked = ["request", "--tech", "pathneck", "--agents", "ALL", "--format", "json", *options]
    argv = [program("emodis-client"), "--insecure", "--master", f"tcp://{at}", *asked]
    done = emodis.lab.run(host, argv, capture_output=True, text=True, timeout=120)
    assert done.returncode in {0, 1, 6}, done.stderr
    (measurement,) = json.loads(done.stdout)["measurements"]
    places = {agent["agent_id"]: agent["place"] for agent in measurement["agents"]}
    return {places[run["agent_id"]]: run for run in measurement["runs"]}


@pytest.mark.parametrize("ipv6", [False, True])
def test_the_client_takes_part_and_its_own_link_is_measured(
    cooperative: Deployment, ipv6: bool
) -> None:
    runs = ask(cooperative, ipv6=ipv6)
    assert {place: run["transport"] for place, run in runs.items()} == {
        "a1": "raw",
        "a2": "unprivileged",
    }
    for run in runs.values():
        result = run["result"]
        assert (result["cooperation"], result["last_link"]) == ("used", "measured")
        assert (result["bottleneck"]["from_ttl"], result["bottleneck"]["ttl"]) == (3, 4)
        assert result["bottleneck"]["bound_bps"] == pytest.approx(9.73e6, rel=0.1)
        # No answer was waited for, and the load needed none.
        assert result["limiting_ttl"] == 0


# A firewall on the host, as far as UDP is concerned.
CLOSE = """
from emodis.lab import nftables as n
name, protocol = "shut", n.expression("payload", n.number(1, n.REGISTER), n.number(2, 1),
                                      n.number(3, 9), n.number(4, 1))
n.apply([
    n.table(n.IPV4, name),
    n.chain(n.IPV4, name, kind="filter", hook=1, priority=0),
    n.rule(n.IPV4, name, protocol + n.compare(n.EQUAL, bytes([17])), n.verdict(n.DROP)),
])
"""


def test_behind_a_firewall_it_is_measured_as_anybody_else(cooperative: Deployment) -> None:
    cooperative.lab.run("c2", [sys.executable, "-c", CLOSE], check=True, timeout=30)
    for run in ask(cooperative, "-o", "trains=3", "-o", "cause=off", host="c2").values():
        result = run["result"]
        assert (result["cooperation"], result["last_link"]) == ("unanswered", "unmeasured")
        assert any("a firewall or NAT" in reason for reason in run["quality"]["reasons"])


def test_who_insists_on_the_client_is_told_why_not(cooperative: Deployment) -> None:
    asked = ["request", "--tech", "pathneck", "--agents", "ALL", "-o", "mute=coop", "r3"]
    done = cooperative.client("c1", *asked)
    assert done.returncode == 1
    assert "The destination does not take part, which mute=coop needs" in done.stdout


@pytest.mark.parametrize("ordinary", [False, True])
def test_by_icmp_the_last_link_is_measured_without_patience(path_lab: Lab, ordinary: bool) -> None:
    command = [program("emodis-client"), "measure", "--tech", "pathneck", "-o", "proto=icmp"]
    command += ["-o", "trains=5", "--format", "json", "h2"]
    command = wrapped(command) if ordinary else command
    done = path_lab.run("h1", command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    ((run,),) = [m["runs"] for m in json.loads(done.stdout)["measurements"]]
    result = run["result"]
    assert run["transport"] == ("unprivileged" if ordinary else "raw")
    assert (result["last_link"], result["limiting_ttl"]) == ("measured", 0)
    assert result["bottleneck"]["ttl"] == path_lab.truth("h1", "h2").choke.ttl


# Translation, a router that quotes eight bytes, a rationing and a silent one, load on the way back;
# behind them a short queue, and a link that others fill.
HARD = (
    """
[as.65001]
name = "Only"

[nodes]
h1 = { kind = "host", asn = 65001 }
n1 = { kind = "router", asn = 65001, nat_for = ["h1"] }
q1 = { kind = "router", asn = 65001, quote_bytes = 8 }
l1 = { kind = "router", asn = 65001, icmp = "limited", icmp_per_s = 10 }
s1 = { kind = "router", asn = 65001, icmp = "silent" }
b1 = { kind = "router", asn = 65001 }
d1 = { kind = "host", asn = 65001, icmp = "free" }
d2 = { kind = "host", asn = 65001, icmp = "free" }
d3 = { kind = "host", asn = 65001, icmp = "free" }
"""
    + "".join(
        f'\n[[links]]\na = "{a}"\nb = "{b}"\n{rest}\n'
        for a, b, rest in (
            ("h1", "n1", "capacity_bps = 100_000_000"),
            ("n1", "q1", "capacity_bps = 100_000_000"),
            ("q1", "l1", "capacity_bps = 100_000_000"),
            ("l1", "s1", "capacity_bps = 100_000_000"),
            ("s1", "b1", "capacity_bps = 20_000_000"),
            ("b1", "d1", "capacity_bps = 100_000_000"),
            ("b1", "d2", "capacity_bps = 8_000_000\nqueue_bytes = 10_000"),
            ("b1", "d3", "capacity_bps = 10_000_000"),
        )
    )
    + """
[[traffic]]
link = ["b1", "s1"]
model = "poisson"
rate_bps = 10_000_000
packet_bytes = [500, 1500]

[[traffic]]
link = ["b1", "d3"]
model = "cbr"
rate_bps = 9_990_000
packet_bytes = [1500]
"""
)


@pytest.fixture(scope="module")
def hard() -> Iterator[Lab]:
    with Lab.up(topofile.parse(HARD, place="test", default_name="hardships")) as lab:
        yield lab


def test_nat_short_quotes_rations_silence_and_load_on_the_way_back_at_once(hard: Lab) -> None:
    run = measured(hard, "d1")
    assert run["end"] == "done", run["hint"]
    found = run["result"]["bottleneck"]
    # The link before the silent router, or the one behind it: the latter is the truth.
    assert (found["from_ttl"], found["ttl"]) == (3, 5)
    assert found["bound_bps"] == pytest.approx(20e6 * 500 / 514, rel=0.12)
    assert found["cause"] != "load"
    assert run["result"]["hops"][3]["address"] is None
    assert any("between 3 and 5" in reason for reason in run["quality"]["reasons"])


def test_a_queue_shorter_than_the_train_leaves_an_upper_bound(hard: Lab) -> None:
    """It drops some of the load, so that trains leave it shorter than a longer queue's."""
    run = measured(hard, "d2", "-o", "trains=3")
    assert run["end"] == "done", run["hint"]
    result = run["result"]
    if result["bottleneck"]["ttl"] == 6:
        assert result["bottleneck"]["bound_bps"] > 0.9 * 8e6 * 500 / 514
        assert result["bottleneck"]["bucket_bytes"] == 0
    else:
        assert run["quality"]["word"] != "good"


def test_a_link_that_others_fill_ends_in_a_doubt_or_is_named(hard: Lab) -> None:
    run = measured(hard, "d3", "-o", "trains=3", "-o", "cause=off")
    result = run["result"]
    if run["end"] == "failed":
        assert run["reason"]
        assert run["hint"]
    elif not (result["bottleneck"] and result["bottleneck"]["ttl"] == 6):
        assert run["quality"]["word"] != "good"
