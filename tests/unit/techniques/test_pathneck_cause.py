"""Slow or busy, and what a token bucket hides: trains of another size and another spacing."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from emodis.techniques import pathneck_gaps as gaps
from emodis.techniques.base import Context
from emodis.techniques.pathneck import Pathneck
from emodis.techniques.pathneck_cause import SHORT_TRAINS, SPACED_TRAINS
from emodis.techniques.pathneck_shaper import LONG_TRAINS
from emodis.wire.v1.techniques_pb2 import (
    CAUSE_CAPACITY,
    CAUSE_LOAD,
    CAUSE_UNSPECIFIED,
    PathneckResult,
)
from tests.support.driving import drive
from tests.support.fluid import TARGET, Path, path

PATHNECK = Pathneck()
US = 1_000


def measure(network: Path, **options: str) -> Any:
    call = PATHNECK.call(options)
    return drive(PATHNECK.conversation(call, Context(address=TARGET, seed=1)), network)


def narrow(rate: float, *, seed: int = 0, load: float = 0.0, bucket_bytes: int = 0) -> Path:
    network = path([100.0, 100.0, rate, 100.0, 100.0], noise_ns=20 * US, seed=seed)
    network.links[2].load = load
    network.links[2].bucket_bytes = bucket_bytes
    return network


def kinds(measured: Any) -> Counter[str]:
    return Counter(train.discarded for train in measured.observations.trains)


@pytest.mark.parametrize("bucket_bytes", [1_500, 3_000, 6_000])
def test_a_bucket_is_taken_off_the_rate(bucket_bytes: int) -> None:
    flattered, right = [], []
    for seed in range(5):
        network = narrow(20.0, seed=seed, bucket_bytes=bucket_bytes)
        found = measure(network).result.bottleneck
        assert found.bucket_bytes == pytest.approx(bucket_bytes, abs=600)
        right.append(found.bound_bps)
        alone = measure(narrow(20.0, seed=seed, bucket_bytes=bucket_bytes), cause="off")
        flattered.append(alone.result.bottleneck.bound_bps)
        assert alone.result.bottleneck.bucket_bytes == 0
    assert right == [pytest.approx(20e6, rel=0.03)] * 5
    assert min(flattered) > 20e6 * 30_660 / (30_660 - 0.8 * bucket_bytes)


@pytest.mark.parametrize("rate", [5.0, 10.0, 20.0])
def test_a_bucket_of_half_a_train_leaves_place_and_bound_right(rate: float) -> None:
    """A short train fits into it, so that it is underestimated; the bound stays an upper one."""
    for seed in range(5):
        found = measure(narrow(rate, seed=seed, bucket_bytes=15_000)).result.bottleneck
        assert found.ttl == 3
        assert 11_000 < found.bucket_bytes <= 15_000
        assert rate * 1e6 < found.bound_bps < 1.25 * rate * 1e6


def test_a_bucket_that_only_larger_packets_of_a_slow_host_exceed_is_taken_off_too() -> None:
    network = path([1000.0, 1000.0, 60.0, 1000.0], sender_packet_ns=40_000)
    network.links[2].bucket_bytes = 62_500
    measured = measure(network)
    assert kinds(measured)[gaps.LONG] == LONG_TRAINS
    result = measured.result
    assert (result.bottleneck.ttl, result.remark) == (3, "shaper_suspected(3)")
    assert 60e6 < result.bottleneck.bound_bps < 1.5 * 60e6


def test_rates_behind_it_are_without_it_too() -> None:
    result = measure(narrow(20.0, bucket_bytes=6_000)).result
    for hop in result.hops[2:]:
        assert hop.bound_bps == pytest.approx(20e6, rel=0.03)
        assert hop.rate_bps == pytest.approx(20e6, rel=0.03)
    assert result.hops[1].bound_bps == pytest.approx(100e6, rel=0.05)


def test_a_slow_link_is_told_from_a_busy_one() -> None:
    """Never the wrong word, and often enough the right one; a few trains do not always tell."""
    idle = [measure(narrow(10.0, seed=seed)).result.bottleneck for seed in range(10)]
    assert {found.cause for found in idle} == {CAUSE_CAPACITY}
    busy = [measure(narrow(10.0, seed=s, load=0.7)).result.bottleneck for s in range(10)]
    causes = Counter(found.cause for found in busy)
    assert causes[CAUSE_LOAD] >= 5
    assert causes[CAUSE_CAPACITY] == 0
    told = [found for found in busy if found.cause == CAUSE_LOAD]
    shares = sorted(found.utilisation_ratio for found in told)
    assert shares[len(shares) // 2] == pytest.approx(0.7, abs=0.2)
    for found in told:
        assert 0 < found.avail_bps < found.capacity_bps
        share = 1 - found.avail_bps / found.capacity_bps
        assert share == pytest.approx(found.utilisation_ratio, abs=0.01)


def test_a_link_of_half_the_rate_and_one_that_is_half_full_are_never_confused() -> None:
    slow, busy = Counter[int](), Counter[int]()
    for seed in range(20):
        network = path([100.0, 100.0, 50.0, 100.0, 100.0], noise_ns=20 * US, seed=seed)
        slow[measure(network).result.bottleneck.cause] += 1
        network = path([100.0] * 5, noise_ns=20 * US, seed=seed)
        network.links[2].load = 0.5
        busy[measure(network).result.bottleneck.cause] += 1
    assert slow[CAUSE_LOAD] == 0
    assert slow[CAUSE_CAPACITY] >= 15
    assert busy[CAUSE_CAPACITY] == 0


def respaced(measured: Any, *, arriving: float, leaving: float) -> Any:
    """The answer if the paced trains had taken so many times longer before and behind hop 3."""
    observations = type(measured.observations)()
    observations.CopyFrom(measured.observations)
    for train in observations.trains:
        if train.discarded != gaps.SPACED:
            continue
        for ttl in range(train.hops + 1):
            head, tail = gaps.head(train, max(1, ttl)), gaps.tail(train, max(1, ttl))
            factor = leaving if ttl >= 3 else arriving
            if ttl:
                longer_ns = factor * (tail.received_ns - head.received_ns)
                tail.received_ns = head.received_ns + round(longer_ns)
            else:
                tail.queued_ns = head.queued_ns + round(factor * (tail.queued_ns - head.queued_ns))
    found = PATHNECK.estimate(PATHNECK.call({}), observations.SerializeToString()).result
    assert isinstance(found, PathneckResult)
    return found.bottleneck


def test_paced_trains_that_need_not_have_queued_tell_nothing() -> None:
    """The sender was slower than meant: they leave the link as they came, because of nobody."""
    measured = measure(narrow(10.0))
    assert respaced(measured, arriving=1, leaving=1).cause == CAUSE_CAPACITY
    assert respaced(measured, arriving=1.3, leaving=1.2).cause == CAUSE_UNSPECIFIED


def test_a_small_difference_of_paced_trains_is_no_load() -> None:
    """Hosts that paced packets find asleep make as much, where trains hardly arrive longer."""
    measured = measure(path([100.0, 100.0, 50.0, 100.0, 100.0]))
    assert respaced(measured, arriving=1, leaving=1.06).cause == CAUSE_UNSPECIFIED
    assert respaced(measured, arriving=1, leaving=1.15).cause == CAUSE_LOAD


def test_the_load_is_paced_so_that_it_still_queues() -> None:
    network = narrow(10.0)
    measured = measure(network)
    spaced = [train for train in network.sent if any(probe.after_ns for probe in train.probes)]
    assert len(spaced) == SPACED_TRAINS
    length_ns = sum(probe.after_ns for probe in spaced[0].probes)
    assert length_ns == pytest.approx(8 * 30_000 / 10e6 * 1e9 / 1.2, rel=0.05)
    assert kinds(measured)[gaps.SHORT] == SHORT_TRAINS
    # They have no part in the gaps.
    assert measured.result.trains_used == kinds(measured)[""]


def test_fast_links_are_paced_in_groups_of_packets() -> None:
    network = path([400.0, 400.0, 60.0, 400.0, 400.0])
    measure(network)
    after = {probe.after_ns for train in network.sent for probe in train.probes} - {0}
    assert min(after) >= 250 * US


@pytest.mark.parametrize(
    ("network", "options"),
    [
        # Trains arrive hardly faster than they leave: no spacing lies between.
        (path([100.0, 100.0, 80.0, 80.0, 80.0]), {}),
        (narrow(10.0), {"cause": "off"}),
        # Too fast for single send calls.
        (path([1000.0, 1000.0, 400.0, 1000.0], sender_bps=2e9), {"load_packets": "20"}),
    ],
)
def test_where_nothing_can_be_told_nothing_is_said(network: Path, options: dict[str, str]) -> None:
    measured = measure(network, **options)
    assert kinds(measured)[gaps.SPACED] == 0
    assert measured.result.bottleneck.cause == CAUSE_UNSPECIFIED


def test_without_a_bottleneck_only_a_large_bucket_is_looked_for() -> None:
    network = path([100.0] * 5, sender_bps=100e6)
    assert set(kinds(measure(network, load_size_bytes="1400"))) == {"", "control", "long"}
