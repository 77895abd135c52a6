"""Where a path loses, found by real packets among routers that ration or refuse their answers."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from emodis.lab.lab import Lab
from emodis.lab.topofile import parse
from emodis.techniques.stats import wilson

pytestmark = pytest.mark.lab
CLIENT = str(Path(sys.executable).parent / "emodis-client")
LOSSY_LINK = 5
NODES = ("h1", "r1", "r2", "r3", "r4", "r5", "h2")
MANNERS = {"r2": 'icmp = "limited"\nicmp_per_s = 1\n', "r3": 'icmp = "silent"\n'}


def topology() -> str:
    """h1 - r1 .. r5 - h2: r2 rations its answers, r3 gives none, r4 - r5 loses on the way back."""
    text = 'name = "lossy"\n[as.65001]\nname = "One"\n'
    for name in NODES:
        kind = "host" if name.startswith("h") else "router"
        text += f'[nodes.{name}]\nkind = "{kind}"\nasn = 65001\n{MANNERS.get(name, "")}'
    for number, (a, b) in enumerate(pairwise(NODES), start=1):
        text += f'[[links]]\na = "{a}"\nb = "{b}"\ncapacity_bps = 100_000_000\n'
        text += "loss_down_ratio = 0.25\n" * (number == LOSSY_LINK)
    return text


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab.up(parse(topology(), place="lossy.toml", default_name="lossy")) as up:
        yield up


def measure(lab: Lab, *options: str) -> Any:
    """The only run of a measurement from h1 to h2."""
    command = [CLIENT, "measure", "h2", "--tech", "loss", "--format", "json", *options]
    done = lab.run("h1", command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    ((run,),) = (one["runs"] for one in json.loads(done.stdout)["measurements"])
    return run


@pytest.mark.parametrize("family", [(), ("-6",)], ids=["ipv4", "ipv6"])
def test_the_link_that_loses_is_found_and_no_router_is_slandered(
    lab: Lab, family: tuple[str, ...]
) -> None:
    result = measure(lab, "-o", "count=300", "-o", "interval_s=0.05", *family)["result"]
    truth = lab.truth("h1", "h2").round_trip_loss_ratio
    low, high = wilson(result["sent"] - result["answered"], result["sent"], z=3.5)
    assert low < truth < high
    assert (result["sent"], result["hop_count"]) == (300, 6)
    begins = result["begins"]
    assert begins["from_ttl"] < LOSSY_LINK <= begins["to_ttl"]
    # r4 and r5 answer everything, 60 times each: that is enough to tell them apart.
    assert (begins["from_ttl"], begins["to_ttl"]) == (4, 5)
    hops = {hop["ttl"]: hop for hop in result["hops"]}
    assert {ttl: hop["shows"] for ttl, hop in hops.items()} == {
        1: "before",
        2: "before",
        3: "silent",
        4: "before",
        5: "behind",
    }
    assert [ttl for ttl, hop in hops.items() if hop["rate_limited"]] == [2]
    assert hops[2]["answered"] == hops[2]["asked"]


def test_a_series_without_routers_asks_none(lab: Lab) -> None:
    run = measure(lab, "-o", "count=20", "-o", "interval_s=0.05", "-o", "locate=off")
    assert (run["result"]["hops"], run["cost"]["sent_packets"]) == ([], 20)
