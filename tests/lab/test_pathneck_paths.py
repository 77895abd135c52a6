"""Pathneck where routes part, where packets are copied, and on a host that has no time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from emodis.lab import topofile
from emodis.lab.lab import Lab
from tests.support.hog import hog
from tests.support.trains import measured

pytestmark = pytest.mark.lab

# Behind s flows take a or b, which are not alike; every fifth packet is there twice behind c.
PATHS = """
[as.65001]
name = "Only"

[nodes]
h1 = { kind = "host", asn = 65001 }
r = { kind = "router", asn = 65001 }
s = { kind = "router", asn = 65001, balance = "flow" }
a = { kind = "router", asn = 65001 }
b = { kind = "router", asn = 65001 }
t = { kind = "router", asn = 65001 }
h2 = { kind = "host", asn = 65001 }
h4 = { kind = "host", asn = 65001, icmp = "free" }
c = { kind = "router", asn = 65001 }
d = { kind = "router", asn = 65001 }
h3 = { kind = "host", asn = 65001, icmp = "free" }
""" + "".join(
    f'\n[[links]]\na = "{a}"\nb = "{b}"\n{rest}\n'
    for a, b, rest in (
        ("h1", "r", "capacity_bps = 100_000_000"),
        ("r", "s", "capacity_bps = 100_000_000"),
        ("s", "a", "capacity_bps = 8_000_000"),
        ("s", "b", "capacity_bps = 25_000_000"),
        ("a", "t", "capacity_bps = 100_000_000"),
        ("b", "t", "capacity_bps = 100_000_000"),
        ("t", "h2", "capacity_bps = 100_000_000"),
        ("t", "h4", "capacity_bps = 100_000_000"),
        ("r", "c", "capacity_bps = 100_000_000\nduplicate_up_ratio = 0.2"),
        ("c", "d", "capacity_bps = 10_000_000"),
        ("d", "h3", "capacity_bps = 100_000_000"),
    )
)
RUNS = 2
QUICK = ("-o", "trains=5", "-o", "cause=off")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab.up(topofile.parse(PATHS, place="test", default_name="parting")) as up:
        yield up


@pytest.mark.parametrize(
    ("to", "ordinary", "ipv6"),
    [("h4", False, False), ("h2", False, True), ("h2", True, False)],
    ids=["all-answers", "ipv6", "unprivileged"],
)
def test_trains_keep_to_one_arm(lab: Lab, to: str, ordinary: bool, ipv6: bool) -> None:
    """Every run takes its flow; every train and packet of it goes the same way.

    The way back may be the slower arm, where all answers to an audible train queue.
    """
    for _ in range(RUNS):
        run = measured(lab, to, *QUICK, *(["-6"] if ipv6 else []), ordinary=ordinary)
        result = run["result"]
        way = [hop["address"] for hop in result["hops"]]
        (truth,) = (
            truth
            for truth in lab.truths("h1", to, ipv6=ipv6)
            if [str(hop.address) for hop in truth.hops] == way
        )
        assert result["trains_discarded_route"] == 0
        assert not any("routes" in reason for reason in run["quality"]["reasons"])
        assert result["bottleneck"]["ttl"] == truth.choke.ttl == 3
        assert result["bottleneck"]["bound_bps"] == pytest.approx(
            truth.choke.capacity_ip_bps, rel=0.15
        )


@pytest.mark.parametrize("ordinary", [False, True])
def test_answers_that_come_twice_change_nothing(lab: Lab, ordinary: bool) -> None:
    run = measured(lab, "h3", *QUICK, ordinary=ordinary)
    found = run["result"]["bottleneck"]
    assert found["ttl"] == lab.truth("h1", "h3").choke.ttl == 3
    # A fifth of the train is there twice and takes its time, too.
    assert found["bound_bps"] == pytest.approx(9.7e6 / 1.2, rel=0.2)


def test_a_host_without_time_says_so_or_is_right(lab: Lab) -> None:
    with hog(lab, "h1"):
        run = measured(lab, "h2", *QUICK)
    if run["end"] == "failed":
        assert run["reason"] == "self_congested"
    elif run["result"]["bottleneck"]["ttl"] != 3:
        assert run["quality"]["word"] != "good"
