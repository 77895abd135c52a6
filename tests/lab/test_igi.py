"""IGI/PTR with real master, agent, client and packets, against the truth of a lab."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from emodis.lab import topofile
from emodis.lab.deployment import Deployment
from emodis.lab.lab import Lab
from tests.support.sizes import sized

pytestmark = pytest.mark.lab
MBIT = 1_000_000
# Capacity in Mbit/s, share that others fill, and how they come.
LOADED = sized(
    [(10, 0.3, "poisson")],
    list(itertools.product((10, 50), (0.1, 0.3, 0.5, 0.7), ("cbr", "poisson"))),
)
PATH = """
[as.65001]
name = "Left"

[as.65002]
name = "Right"

[nodes]
h1 = {{ kind = "host", asn = 65001 }}
r1 = {{ kind = "router", asn = 65001 }}
r2 = {{ kind = "router", asn = 65002 }}
h2 = {{ kind = "host", asn = 65002 }}

[[links]]
a = "h1"
b = "r1"
capacity_bps = {access}

[[links]]
a = "r1"
b = "r2"
capacity_bps = {capacity}

[[links]]
a = "h2"
b = "r2"
capacity_bps = {access}
"""
TRAFFIC = """
[[traffic]]
link = ["r1", "r2"]
model = "{model}"
rate_bps = {rate}
packet_bytes = [800]
"""


@contextmanager
def deployed(
    home: Path, capacity_bps: int, load_bps: int = 0, model: str = "poisson"
) -> Iterator[Deployment]:
    """h1 (agent) - r1 = r2 - h2 (master and client), the narrow link in the middle."""
    text = PATH.format(access=4 * capacity_bps, capacity=capacity_bps)
    if load_bps:
        text += TRAFFIC.format(rate=load_bps, model=model)
    with Lab.up(topofile.parse(text, place="test", default_name="igi")) as lab:
        emodis = Deployment(lab, home, master_host="h2")
        try:
            emodis.start_master()
            emodis.start_agent("h1", "--allow", "igi")
            yield emodis
        finally:
            emodis.stop()


def ask(emodis: Deployment, *options: str) -> dict[str, Any]:
    """One run's JSON."""
    arguments = ("request", "--tech", "igi", "--agents", "ALL", "--format", "json", *options)
    done = emodis.client("h2", *arguments)
    (measurement,) = json.loads(done.stdout)["measurements"]
    (run,) = measurement["runs"]
    return {"exit": done.returncode, **run}


def error(emodis: Deployment, run: dict[str, Any], answer: str = "ptr_bps") -> float:
    """Relative to what is available at the size of the probes."""
    assert run["end"] == "done", run
    size_bytes = run["result"]["phases"][-1]["size_bytes"]
    truth = emodis.lab.truth("h1", "h2", packet_bytes=size_bytes).tight.avail_ip_bps
    return float(run["result"][answer] / truth - 1)


@pytest.mark.full
@pytest.mark.parametrize("capacity", [10, 100])
def test_an_idle_link(tmp_path: Path, capacity: int) -> None:
    with deployed(tmp_path, capacity * MBIT) as emodis:
        runs = [ask(emodis) for _ in range(3)]
        assert abs(median(error(emodis, run) for run in runs)) <= 0.1
        assert {run["exit"] for run in runs} == {0}
        assert {run["transport"] for run in runs} == {"unprivileged"}


@pytest.mark.full
def test_a_link_faster_than_this_host_can_pace_is_not_called_good(tmp_path: Path) -> None:
    with deployed(tmp_path, 1000 * MBIT) as emodis:
        for _ in range(sized(1, 5)):
            run = ask(emodis)
            assert run["quality"]["word"] != "good" or abs(error(emodis, run)) <= 0.1, run


@pytest.mark.full
@pytest.mark.parametrize(("capacity", "load_ratio", "model"), LOADED)
def test_a_loaded_link(tmp_path: Path, capacity: int, load_ratio: float, model: str) -> None:
    load_bps = round(load_ratio * capacity * MBIT)
    with deployed(tmp_path, capacity * MBIT, load_bps, model) as emodis:
        errors = [error(emodis, ask(emodis)) for _ in range(5)]
        assert abs(median(errors)) <= 0.25
        precise = ask(emodis, "-o", "precise=true")
        assert abs(error(emodis, precise, "precise_bps")) <= 0.25
        found = precise["result"]
        assert found["precise_low_bps"] <= found["precise_bps"] <= found["precise_high_bps"]
        # From 50 Mbit/s of capacity on probes are larger.
        most_bytes = 3_100_000 if capacity < 50 else 4_500_000
        assert precise["cost"]["sent_bytes"] <= most_bytes
        assert precise["duration_ns"] <= 20e9
