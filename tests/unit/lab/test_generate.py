from __future__ import annotations

import pytest

from emodis.lab.generate import random_internet, random_path
from emodis.lab.plan import make_plan
from emodis.lab.truth import path_truth

SEEDS = range(60)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_bottleneck_of_a_path_is_unambiguous(seed: int) -> None:
    found = path_truth(make_plan(random_path(seed)), "h1", "h2")
    assert 5 <= len(found.links) <= 9
    assert found.choke is found.tight
    assert found.tight is found.narrow
    others = [link.capacity_ethernet_bps for link in found.links if link is not found.narrow]
    assert min(others) >= 1.5 * found.narrow.capacity_ethernet_bps
    assert found.narrow.capacity_ethernet_bps >= 1e6
    assert max(others) <= 100e6
    load = found.narrow.cross_ethernet_bps / found.narrow.capacity_ethernet_bps
    assert 0.29 < load < 0.71 if seed % 2 else load == 0


def test_what_is_asked_for_is_what_is_drawn() -> None:
    found = path_truth(
        make_plan(random_path(5, links=7, bottleneck=7, cross_ratio=0.5)), "h1", "h2"
    )
    assert len(found.links) == found.choke.ttl == 7
    load = found.choke.cross_ethernet_bps / found.choke.capacity_ethernet_bps
    assert load == pytest.approx(0.5, abs=0.01)


def test_a_flat_path_has_no_choke_behind_its_first_link() -> None:
    for seed in SEEDS:
        assert path_truth(make_plan(random_path(seed, flat=True)), "h1", "h2").choke.ttl == 1


def test_all_links_take_their_turn_as_bottleneck() -> None:
    paths = [path_truth(make_plan(random_path(seed)), "h1", "h2") for seed in SEEDS]
    assert any(found.choke.ttl == 1 for found in paths)
    assert any(found.choke.ttl == len(found.links) for found in paths)


def test_one_seed_is_one_network() -> None:
    assert random_path(7) == random_path(7)
    assert random_path(7) != random_path(8)
    assert random_internet(7) == random_internet(7)


@pytest.mark.parametrize("seed", SEEDS)
def test_hosts_of_a_random_internet_reach_each_other(seed: int) -> None:
    topology = random_internet(seed)
    plan = make_plan(topology)
    first, *others = topology.hosts
    for host in others:
        assert plan.path(first, host)[-1] == host
