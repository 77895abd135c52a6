from __future__ import annotations

import functools

import pytest

from emodis.lab.bench.pathneck import as_seen, is_clear
from emodis.lab.bench.paths import (
    JUDGED_LOADS,
    KINDS,
    MOST_CROSS_RATIO,
    MOST_LOSS_RATIO,
    MOST_ROOM_CROSS_RATIO,
    Seeds,
    path,
)
from emodis.lab.bench.trial import DESTINATION, SOURCE
from emodis.lab.plan import make_plan
from emodis.lab.topology import IcmpLimits, Model, Topology
from emodis.lab.truth import Truth, path_truth

NUMBERS = range(100)


@functools.cache
def drawn(kind: str) -> list[tuple[Topology, Truth]]:
    found = [path(kind, Seeds.DEVELOPMENT, number) for number in NUMBERS]
    return [(one, path_truth(make_plan(one), SOURCE, DESTINATION)) for one in found]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_stays_within_what_is_promised(kind: str) -> None:
    lengths = set()
    for topology, truth in drawn(kind):
        lengths.add(len(truth.links))
        for link in truth.links:
            assert 1e6 <= link.capacity_ethernet_bps <= 100e6 + 10_000
            assert link.cross_ethernet_bps <= MOST_CROSS_RATIO * link.capacity_ethernet_bps + 1
        assert truth.loss_ratio <= MOST_LOSS_RATIO
        assert len(topology.name) <= 40
    assert lengths == set(range(4, 13))


@pytest.mark.parametrize("kind", ["clear", "loaded"])
def test_clear_ones_are_clear_first_and_last_links_included(kind: str) -> None:
    found = drawn(kind)
    assert all(is_clear(truth) for _, truth in found)
    chokes = [(truth.choke.ttl, len(truth.links)) for _, truth in found]
    assert sum(choke == 1 for choke, _ in chokes) >= 20
    assert sum(choke == links for choke, links in chokes) >= 20
    assert all(bool(topology.traffic) == (kind == "loaded") for topology, _ in found)


def test_loads_are_even_and_random_and_light_and_heavy() -> None:
    found = drawn("loaded")
    models = [topology.traffic[0].model for topology, _ in found]
    assert min(models.count(Model.CBR), models.count(Model.POISSON)) > 25
    shares = [
        truth.choke.cross_ethernet_bps / truth.choke.capacity_ethernet_bps for _, truth in found
    ]
    assert min(shares) < 0.2 < 0.7 < max(shares)
    # Most are such as a hit rate is demanded for.
    judged = [JUDGED_LOADS[0] <= share <= JUDGED_LOADS[1] for share in shares]
    assert sum(judged) == pytest.approx(0.8 * len(judged), abs=2)


def test_the_tight_link_is_another_than_the_narrow_one() -> None:
    assert all(truth.tight is not truth.narrow for _, truth in drawn("tight"))


def test_without_a_rule_some_are_clear_and_some_are_not() -> None:
    clear = [is_clear(truth) for _, truth in drawn("any")]
    assert 10 < sum(clear) < 90


def test_quiet_paths_have_routers_that_are() -> None:
    for topology, _ in drawn("quiet"):
        kinds = [topology.nodes[name].icmp for name in topology.routers]
        assert 1 <= sum(icmp is not IcmpLimits.FREE for icmp in kinds) <= 3


def test_where_hops_are_silent_the_link_that_can_be_named_is_longer() -> None:
    wider = 0
    for topology, truth in drawn("quiet"):
        start, end = as_seen(topology, truth)
        assert start < truth.choke.ttl <= end
        for ttl in range(start + 1, end):
            assert topology.nodes[truth.hops[ttl - 1].node].icmp is IcmpLimits.SILENT
        wider += end - start > 1
    assert wider > 10


def test_lossy_paths_lose() -> None:
    assert all(truth.loss_ratio > 0 for _, truth in drawn("lossy"))


def test_available_bandwidth_is_asked_for_up_to_70_percent_load() -> None:
    found = [truth for _, truth in drawn("room")]
    loads = [truth.tight.cross_ethernet_bps / truth.tight.capacity_ethernet_bps for truth in found]
    assert max(loads) <= MOST_ROOM_CROSS_RATIO + 1e-6
    assert 25 <= sum(load == 0 for load in loads) <= 30
    hidden = [truth.tight is not truth.narrow for truth in found]
    assert sum(hidden) == 25
    assert min(load for load, odd in zip(loads, hidden, strict=True) if odd) < 0.4
    assert sum(truth.narrow.capacity_ethernet_bps <= 40e6 for truth in found) >= 60


def test_far_paths_take_time_and_some_have_silent_routers() -> None:
    found = drawn("far")
    assert all(2_000_000 <= truth.rtt_ns <= 180_000_000 for _, truth in found)
    silent = [
        any(node.icmp is IcmpLimits.SILENT for node in topology.nodes.values())
        for topology, _ in found
    ]
    assert sum(silent) == 34


def test_a_flat_path_is_choked_by_its_first_link_only() -> None:
    for topology, truth in drawn("flat"):
        assert truth.choke.ttl == 1
        assert not topology.traffic


@pytest.mark.parametrize("kind", KINDS)
def test_one_number_is_one_path_and_the_two_sets_share_none(kind: str) -> None:
    def links(seeds: Seeds, number: int) -> object:
        return path(kind, seeds, number).links

    assert path(kind, Seeds.REPORTED, 7) == path(kind, Seeds.REPORTED, 7)
    looked_at = [links(Seeds.DEVELOPMENT, number) for number in NUMBERS]
    # Flat ones have two numbers only, and may meet by chance.
    met = sum(links(Seeds.REPORTED, number) in looked_at for number in NUMBERS)
    assert met <= (5 if kind == "flat" else 0)
