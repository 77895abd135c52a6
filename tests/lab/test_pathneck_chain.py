"""Each link of a chain as the bottleneck, by the client's own trains."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from emodis.lab.lab import Lab
from emodis.lab.topofile import parse
from emodis.lab.topology import Topology
from tests.support.sizes import sized
from tests.support.trains import measured

pytestmark = [pytest.mark.lab, pytest.mark.full]
LINKS, MIDDLE = 8, 4
MBIT = 1_000_000
# Which link has how much, and how often it is looked for.
CASES = sized([(5, 10)], [(link, rate) for rate in (10, 50) for link in range(1, LINKS + 1)])
RUNS = sized(1, 20)
LARGEST = ("-o", "load_packets=200", "-o", "load_size_bytes=1400")
# In Mbit/s, where the others have 100: what the middle link has, and how much of that others take;
# what may be said of why it is the bottleneck, and how often it must be found.
REASONS = {
    "slow": (50, 0, {"capacity", "unspecified"}, 0.95),
    "busy": (100, 50, {"load", "unspecified"}, 0.9),
}


def chain(
    narrow: int, narrow_bps: int, *, others_bps: int, load_bps: int = 0, links: int = LINKS
) -> Topology:
    """h1 - r1 .. r7 - h2; one link is slower than the others, or busier."""
    nodes = ["h1", *(f"r{k}" for k in range(1, links)), "h2"]
    text = 'name = "chain"\n[as.65001]\nname = "One"\n'
    for node in nodes:
        kind = "host" if node.startswith("h") else "router"
        text += f'[nodes.{node}]\nkind = "{kind}"\nasn = 65001\n'
    for link, (a, b) in enumerate(pairwise(nodes), start=1):
        bps = narrow_bps if link == narrow else others_bps
        text += f'[[links]]\na = "{a}"\nb = "{b}"\ncapacity_bps = {bps}\n'
    if load_bps:
        text += f'[[traffic]]\nlink = ["{nodes[narrow - 1]}", "{nodes[narrow]}"]\n'
        text += f'model = "cbr"\nrate_bps = {load_bps}\n'
    return parse(text, place="chain.toml", default_name="chain")


def result_of(lab: Lab, *words: str) -> dict[str, Any]:
    run = measured(lab, "h2", *words)
    assert run["end"] == "done", run
    return dict(run["result"])


def bottleneck(result: dict[str, Any]) -> dict[str, Any]:
    """What is said of it; nothing where none is named."""
    return dict(result["bottleneck"] or {})


def place(result: dict[str, Any]) -> tuple[int | None, int | None]:
    found = bottleneck(result)
    return found.get("from_ttl"), found.get("ttl")


@pytest.mark.parametrize(("link", "rate"), CASES)
def test_each_link_is_named_exactly(link: int, rate: int) -> None:
    with Lab.up(chain(link, rate * MBIT, others_bps=100 * MBIT)) as lab:
        named = [place(result_of(lab)) for _ in range(RUNS)]
    assert named.count((link - 1, link)) >= 0.95 * RUNS, named


@pytest.mark.parametrize("kind", sized(["slow"], list(REASONS)))
def test_a_slow_link_is_not_called_busy_nor_a_busy_one_slow(kind: str) -> None:
    capacity, load, causes, share = REASONS[kind]
    topology = chain(MIDDLE, capacity * MBIT, others_bps=100 * MBIT, load_bps=load * MBIT)
    with Lab.up(topology) as lab:
        found = [result_of(lab) for _ in range(RUNS)]
    right = [one for one in found if place(one) == (MIDDLE - 1, MIDDLE)]
    assert len(right) >= share * RUNS, [place(one) for one in found]
    assert {bottleneck(one)["cause"] for one in right} <= causes


def test_a_link_as_fast_as_this_host_sends_is_named_or_none_is() -> None:
    """A train that left no faster than the link lets it pass is not stretched there."""
    with Lab.up(chain(2, 300 * MBIT, others_bps=1000 * MBIT, links=3)) as lab:
        found = [result_of(lab, *LARGEST) for _ in range(RUNS)]
    left_bps = [8 * one["train_bytes"] / one["hop0_gap_ns"] * 1e9 for one in found]
    true = [
        place(one) == (1, 2) or (place(one) == (None, None) and bps < 1.2 * 300 * MBIT)
        for one, bps in zip(found, left_bps, strict=True)
    ]
    assert sum(true) >= 0.9 * RUNS, list(zip(map(place, found), left_bps, strict=True))
    assert all(0 < one["resolution_ratio"] < 1 for one in found)
