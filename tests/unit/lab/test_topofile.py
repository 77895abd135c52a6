from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given

from emodis.lab.impairment import Impairment
from emodis.lab.topofile import find, load, parse, render, shipped
from emodis.lab.topology import IcmpLimits, Model, Topology, TopologyError
from tests.unit.lab.builders import SMALL, small, topologies


def test_a_file_becomes_what_it_says() -> None:
    topology = small()
    assert topology.hosts == ("h1", "h2")
    assert topology.nodes["r1"].icmp is IcmpLimits.FREE
    assert topology.nodes["h1"].icmp is IcmpLimits.LINUX
    assert topology.links[0].capacity_bps("h1") == 4_000_000
    assert topology.links[0].capacity_bps("r1") == 10_000_000
    assert topology.traffic[0].model is Model.POISSON
    assert topology.cross_bps("r1", "r2") == 30_000_000
    assert topology.cross_bps("r2", "r1") == 0


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('name = "small"', "name = ", "not valid TOML"),
        ('name = "small"', 'name = "Sm all"', "name 'Sm all': use at most 40"),
        (
            'name = "small"',
            "nmae = 1",
            "the file: nmae is no key of this table; did you mean 'name'?",
        ),
        ("[as.65002]", "[as.x]", "[as.x]: must be [as.NUMBER]"),
        ('name = "Left"', "", "[as.65001]: name is missing"),
        ("[nodes]", "[nodes]\nh9 = 3", "must hold one table per name"),
        (
            'kind = "host", asn = 65002',
            'kind = "hots", asn = 65002',
            'kind must be "router" or "host"',
        ),
        (
            'kind = "host", asn = 65002',
            'kind = "host", asn = 7',
            "[nodes.h2]: AS 7 is not declared",
        ),
        ('kind = "host", asn = 65002', 'kind = "host", asn = "x"', "asn must be a whole number"),
        (
            'kind = "host", asn = 65002',
            'kind = "host", asn = 65002, icmp_per_s = 5',
            'icmp_per_s is for icmp = "limited"',
        ),
        (
            'kind = "host", asn = 65002',
            'kind = "host", asn = 65002, balance = "flow"',
            "[nodes.h2]: a host has one link and nothing to balance",
        ),
        (
            "capacity_bps = 50_000_000",
            "capacity_bps = 50_000_000\nburst_bytes = 60",
            "burst_bytes must be a whole number from 1514",
        ),
        (
            'r2 = { kind = "router"',
            'r2 = { nat_for = ["h1"], kind = "router"',
            "[nodes.r2]: nat_for names 'h1'; name hosts with a link to r2",
        ),
        (
            'r2 = { kind = "router"',
            'r2 = { nat_for = "h2", kind = "router"',
            "nat_for must be a list of texts",
        ),
        (
            'kind = "host", asn = 65002',
            'kind = "host", asn = 65002, quote_bytes = 8',
            '[nodes.h2]: quote_bytes is for routers with icmp = "free"',
        ),
        ("h2 = {", "h2_with_a_long_name = {", "[nodes.h2_with_a_long_name]: a node's name has"),
        ("capacity_bps = 50_000_000", "", "number 2 (r1 - r2): capacity_bps is missing; write"),
        (
            "capacity_bps = 50_000_000",
            "capacity_bps = 5",
            "number 2 (r1 - r2): capacity_bps must be",
        ),
        ("capacity_bps = 50_000_000", "capcity_bps = 5", "capacity_bps is missing"),
        ("capacity_up_bps = 4_000_000", "capacity_bps = 1_000_000", "both given"),
        ("capacity_up_bps = 4_000_000", "", "capacity_up_bps is missing"),
        ("capacity_bps = 50_000_000", "capacity_bps = 50_000_000\nloss_ratio = 2", "from 0 to 1"),
        ("capacity_bps = 50_000_000", "capacity_bps = 50_000_000\nloss_ratio = nan", "from 0 to 1"),
        (
            "capacity_bps = 50_000_000",
            "capacity_bps = 50_000_000\ndelay_s = 'x'",
            "delay_s must be a number from 0 to 10, not 'x'",
        ),
        (
            "capacity_bps = 50_000_000",
            "capacity_bps = 50_000_000\ndelay_s = 1\ndelay_down_s = 2",
            "delay_s and delay_down_s are both given",
        ),
        ('b = "r2"\ncapacity_bps = 100', 'b = "r3"\ncapacity_bps = 100', "there is no node 'r3'"),
        ('a = "h2"\nb = "r2"', 'a = "r2"\nb = "r2"', "a link joins two different nodes"),
        ('a = "h2"\nb = "r2"', 'a = "r2"\nb = "r1"', "r2 - r1: declared twice"),
        ('a = "h2"\nb = "r2"', 'a = "h2"\nb = "h1"', "[nodes.h1]: a host has exactly one link"),
        ('link = ["r1", "r2"]', 'link = ["r1"]', "link must be two node names"),
        ('link = ["r1", "r2"]', 'link = ["h1", "r2"]', "h1 -> r2: no link joins these two"),
        ("rate_bps = 30_000_000", "rate_bps = 50_000_000", "do not fit a link of 50000000 bit/s"),
        ('model = "poisson"', 'model = "burst"', 'model must be "cbr" or "poisson"'),
        ('model = "poisson"', 'model = "cbr"\npacket_bytes = [9]', "packet_bytes must be whole"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_with_file_and_place(
    old: str, new: str, complaint: str
) -> None:
    assert old in SMALL
    with pytest.raises(TopologyError) as caught:
        small(SMALL.replace(old, new, 1))
    text = str(caught.value)
    assert text.startswith("small.toml: ")
    assert complaint in text
    assert "\n" not in text


def test_impairments_are_of_one_direction_or_both() -> None:
    text = "capacity_bps = 50_000_000\ndelay_s = 0.01\nloss_up_ratio = 0.1\njitter_down_s = 1"
    link = small(SMALL.replace("capacity_bps = 50_000_000", text)).links[1]
    assert link.impairment("r1") == link.up == Impairment(delay_s=0.01, loss_ratio=0.1)
    assert link.impairment("r2") == link.down == Impairment(delay_s=0.01, jitter_s=1.0)
    assert link.wired
    # The kernel loses packets by itself.
    text = "capacity_bps = 50_000_000\nloss_ratio = 0.1"
    assert not small(SMALL.replace("capacity_bps = 50_000_000", text)).links[1].wired


def test_two_parts_that_nothing_joins_are_refused() -> None:
    with pytest.raises(TopologyError, match=r"cannot be reached from r3"):
        small(
            SMALL.replace('a = "r1"\nb = "r2"', 'a = "r1"\nb = "r3"')
            .replace("[nodes]", '[nodes]\nr3 = { kind = "router", asn = 65001 }')
            .split("[[traffic]]")[0]
        )


def test_an_unreadable_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(TopologyError, match=r"none\.toml: cannot be read: No such file"):
        load(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b'name = "\xe9"')
    with pytest.raises(TopologyError, match=r"not a text file in UTF-8"):
        load(tmp_path / "latin.toml")


def test_a_name_that_is_neither_file_nor_shipped_lists_the_shipped() -> None:
    with pytest.raises(TopologyError, match=r"\(demo, diamond, hard, path\)"):
        find("nothing")


@pytest.mark.parametrize("name", sorted(shipped()))
def test_shipped_topologies_load_under_their_names(name: str) -> None:
    assert find(name).name == name


@given(topologies())
def test_what_is_written_reads_the_same(topology: Topology) -> None:
    assert parse(render(topology), place="x", default_name="x") == topology


def test_translation_survives_writing() -> None:
    topology = small(SMALL.replace("r2 = { kind", 'r2 = { nat_for = ["h2"], kind'))
    assert topology.nat_of("h2") == "r2"
    assert topology.nat_of("h1") is None
    assert parse(render(topology), place="x", default_name="x") == topology


def test_odd_names_of_systems_survive_writing() -> None:
    topology = small(SMALL.replace('name = "Left"', 'name = "A \\"q\\" \\\\ \\u0007 é"'))
    again = parse(render(topology), place="x", default_name="x")
    assert again.systems[65001].name == 'A "q" \\ \x07 é'
