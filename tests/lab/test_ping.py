"""Ping against the truth: delay, loss, disorder and copies, each on a path of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from emodis.lab.deployment import program
from emodis.lab.lab import Lab
from emodis.lab.topofile import parse
from emodis.techniques.stats import wilson
from tests.support.sizes import sized

pytestmark = pytest.mark.lab
# What the link to each host does.
LINKS = {
    "far": "delay_s = 0.010",
    "lossy": "loss_up_ratio = 0.1",
    "mixed": "reorder_up_ratio = 0.25\nreorder_by_s = 0.025",
    "copied": "duplicate_up_ratio = 0.05",
}
OPTIONS = {
    "far": ("count=10", "interval_s=0.05"),
    "lossy": ("count=300", "interval_s=0.01"),
    "mixed": ("count=200", "interval_s=0.01"),
    "copied": ("count=300", "interval_s=0.01"),
}
FAMILIES = ((), ("-6",))
# Intervals of 95 % that are tried, and how many may miss.
INTERVALS, MISSES = sized((1, 0), (100, 10))


def topology() -> str:
    """h1 - r1 in the middle of the hosts."""
    text = 'name = "star"\n[as.65001]\nname = "One"\n[nodes]\n'
    text += "".join(f'{h} = {{ kind = "host", asn = 65001 }}\n' for h in ("h1", *LINKS))
    text += 'r1 = { kind = "router", asn = 65001 }\n'
    for host, manner in {"h1": "", **LINKS}.items():
        text += f'[[links]]\na = "r1"\nb = "{host}"\ncapacity_bps = 100_000_000\n{manner}\n'
    return text


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab.up(parse(topology(), place="star.toml", default_name="star")) as up:
        yield up


def ping(lab: Lab, host: str, family: tuple[str, ...]) -> dict[str, Any]:
    words = [word for option in OPTIONS[host] for word in ("-o", option)]
    command = [program("emodis-client"), "measure", host, "--tech", "ping", *words, *family]
    done = lab.run("h1", [*command, "--format", "json"], capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr
    ((run,),) = (one["runs"] for one in json.loads(done.stdout)["measurements"])
    result: dict[str, Any] = run["result"]
    return result


@pytest.fixture(scope="module")
def results(lab: Lab) -> Mapping[tuple[str, tuple[str, ...]], dict[str, Any]]:
    """All but the delays, several at once: what comes back does not depend on when."""
    asked = [(host, family) for host in LINKS if host != "far" for family in FAMILIES]
    with ThreadPoolExecutor(3) as pool:
        return dict(zip(asked, pool.map(lambda ask: ping(lab, *ask), asked), strict=True))


@pytest.fixture(params=FAMILIES, ids=["ipv4", "ipv6"])
def family(request: pytest.FixtureRequest) -> tuple[str, ...]:
    chosen: tuple[str, ...] = request.param
    return chosen


def test_the_round_trip_is_the_delay_of_both_ways(lab: Lab, family: tuple[str, ...]) -> None:
    result = ping(lab, "far", family)
    assert abs(result["rtt_median_ns"] - lab.truth("h1", "far").rtt_ns) < 1_000_000
    assert (result["loss_ratio"], result["duplicates"]) == (0.0, 0)


def test_random_loss_is_counted(results: Any, family: tuple[str, ...]) -> None:
    result = results["lossy", family]
    lost = result["sent"] - result["answered"]
    # One interval in twenty misses the truth; one so much wider misses it in two thousand.
    low, high = wilson(lost, result["sent"], 3.5)
    assert low < 0.1 < high
    assert result["loss_low_ratio"] < result["loss_ratio"] < result["loss_high_ratio"]
    assert sum(result["loss_runs"]) == lost
    assert (result["reordered"] or 0, result["duplicates"]) == (0, 0)


@pytest.mark.full
def test_intervals_hold_the_true_loss_as_often_as_promised(lab: Lab) -> None:
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: ping(lab, "lossy", ()), range(INTERVALS)))
    held = [one["loss_low_ratio"] <= 0.1 <= one["loss_high_ratio"] for one in found]
    assert held.count(False) <= MISSES, f"{sum(held)} of {INTERVALS}"


def test_answers_out_of_order_are_no_loss(results: Any, family: tuple[str, ...]) -> None:
    result = results["mixed", family]
    assert result["loss_ratio"] == 0.0
    assert result["reordered"] > 10
    assert 1 <= result["reorder_extent_max"] <= 6


def test_copies_are_counted_and_answer_nothing_twice(results: Any, family: tuple[str, ...]) -> None:
    result = results["copied", family]
    assert (result["answered"], result["loss_ratio"]) == (result["sent"], 0.0)
    low, high = wilson(result["duplicates"], result["sent"], 3.5)
    assert low < 0.05 < high
