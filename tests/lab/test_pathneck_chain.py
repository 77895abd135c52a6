"""Each link of a chain as the bottleneck, by the client's own trains."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest

from emodis.lab.deployment import program
from emodis.lab.lab import Lab
from emodis.lab.topofile import parse
from emodis.lab.topology import Topology
from tests.support.sizes import sized

pytestmark = [pytest.mark.lab, pytest.mark.full]
LINKS = 8
CAPACITY_BPS = 100_000_000
# Which link has how much, and how often it is looked for.
CASES = sized([(LINKS, 50)], [(link, rate) for rate in (10, 50) for link in range(1, LINKS + 1)])
RUNS = sized(1, 20)


def chain(narrow: int, narrow_bps: int) -> Topology:
    """h1 - r1 .. r7 - h2; one link is slower than the others."""
    nodes = ["h1", *(f"r{k}" for k in range(1, LINKS)), "h2"]
    text = 'name = "chain"\n[as.65001]\nname = "One"\n'
    for node in nodes:
        kind = "host" if node.startswith("h") else "router"
        text += f'[nodes.{node}]\nkind = "{kind}"\nasn = 65001\n'
    for link, (a, b) in enumerate(pairwise(nodes), start=1):
        bps = narrow_bps if link == narrow else CAPACITY_BPS
        text += f'[[links]]\na = "{a}"\nb = "{b}"\ncapacity_bps = {bps}\n'
    return parse(text, place="chain.toml", default_name="chain")


def bottleneck(lab: Lab) -> tuple[int, int] | None:
    """TTLs of both ends of the link that is named."""
    command = [program("emodis-client"), "measure", "h2", "--tech", "pathneck", "--format", "json"]
    done = lab.run("h1", command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    ((run,),) = (one["runs"] for one in json.loads(done.stdout)["measurements"])
    found: dict[str, Any] | None = run["result"]["bottleneck"]
    return None if found is None else (found["from_ttl"], found["ttl"])


@pytest.mark.parametrize(("link", "rate"), CASES)
def test_each_link_is_named_exactly(link: int, rate: int) -> None:
    with Lab.up(chain(link, rate * 1_000_000)) as lab:
        named = [bottleneck(lab) for _ in range(RUNS)]
    assert named.count((link - 1, link)) >= 0.95 * RUNS, named
