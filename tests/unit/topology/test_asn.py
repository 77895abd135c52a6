from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from emodis.topology.asn import AsMap, AsOwner, BadMap

Opener = Callable[[dict[str, Any]], AsMap]


@pytest.fixture
def mapped(tmp_path: Path) -> Iterator[Opener]:
    """Make and open a map from {network: row}."""
    opened: list[AsMap] = []

    def make(rows: dict[str, Any]) -> AsMap:
        version = 6 if any(":" in network for network in rows) else 4
        writer = MMDBWriter(ip_version=version, ipv4_compatible=version == 6, database_type="test")
        for network, row in rows.items():
            writer.insert_network(IPSet([network]), row)
        path = tmp_path / f"{len(opened)}.mmdb"
        writer.to_db_file(str(path))
        opened.append(AsMap.open(path))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


@pytest.mark.parametrize(
    "row",
    [
        {"autonomous_system_number": 65001, "autonomous_system_organization": "Edge Net"},
        {"asn": "AS65001", "as_name": "Edge Net"},
        {"asn": "as65001", "name": "Edge Net"},
        {"asn": "65001", "as_name": "Edge Net"},
        {"asn": 65001, "as_name": "Edge\n  Net"},
    ],
)
def test_the_usual_field_names(mapped: Opener, row: dict[str, Any]) -> None:
    assert mapped({"10.1.0.0/16": row}).owner(ip_address("10.1.2.3")) == AsOwner(65001, "Edge Net")


# As the maps have them, with what stands beside.
FREE_MAPS = {
    "GeoLite2-ASN": {
        "autonomous_system_number": 65001,
        "autonomous_system_organization": "Edge Net",
    },
    "DB-IP ASN Lite": {
        "autonomous_system_number": 65001,
        "autonomous_system_organization": "Edge Net",
    },
    "IPinfo Lite": {
        "country": "Germany",
        "country_code": "DE",
        "continent": "Europe",
        "asn": "AS65001",
        "as_name": "Edge Net",
        "as_domain": "edge.example",
    },
    "IPinfo ASN": {"asn": "AS65001", "name": "Edge Net", "domain": "edge.example"},
    "IP2Location LITE ASN": {"asn": "65001", "as": "Edge Net"},
}


@pytest.mark.parametrize("name", FREE_MAPS)
def test_the_free_maps_in_both_families(mapped: Opener, name: str) -> None:
    row = FREE_MAPS[name]
    owners = mapped({"10.1.0.0/16": row, "2001:db8:1::/48": row})
    assert owners.owner(ip_address("10.1.2.3")) == AsOwner(65001, "Edge Net")
    assert owners.owner(ip_address("2001:db8:1::7")) == AsOwner(65001, "Edge Net")
    assert owners.owner(ip_address("2001:db8:2::7")) is None


def test_the_longest_prefix_wins_and_gaps_are_unknown(mapped: Opener) -> None:
    rows = {"10.0.0.0/8": {"asn": 1}, "10.2.0.0/16": {"asn": 2}}
    owners = mapped(rows)
    assert owners.owner(ip_address("10.1.0.1")) == AsOwner(1)
    assert owners.owner(ip_address("10.2.0.1")) == AsOwner(2)
    assert owners.owner(ip_address("192.0.2.1")) is None


@pytest.mark.parametrize(
    "row",
    [
        {"asn": 0},
        {"asn": "AS"},
        {"asn": "ASx"},
        {"asn": "AS" + "9" * 40},
        {"asn": "²"},
        {"asn": True},
        {"asn": 1.5},
        {"asn": ["1"]},
        {"asn": 2**32},
        {"other": 5},
        "AS1",
        [1],
    ],
)
def test_forged_rows_are_nobodys(mapped: Opener, row: Any) -> None:
    assert mapped({"10.1.0.0/16": row}).owner(ip_address("10.1.2.3")) is None


def test_a_name_is_one_printable_line(mapped: Opener) -> None:
    owner = mapped({"10.0.0.0/8": {"asn": 1, "name": "\x1b[31mred" + "x" * 500}}).owner(
        ip_address("10.0.0.1")
    )
    assert owner is not None
    assert owner.name.isprintable()
    assert len(owner.name) == 80


def test_an_ipv6_address_in_an_ipv4_map_is_unknown(mapped: Opener) -> None:
    assert mapped({"10.0.0.0/8": {"asn": 1}}).owner(ip_address("2001:db8::1")) is None


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadMap, match=r"^cannot read the AS map .*none\.mmdb: No such file"):
        AsMap.open(tmp_path / "none.mmdb")


@pytest.mark.parametrize("content", [b"", b"not a map", b"\x00" * 5000])
def test_a_broken_file_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.mmdb"
    path.write_bytes(content)
    with pytest.raises(BadMap, match=r"broken\.mmdb is not an MMDB file$"):
        AsMap.open(path)


def test_a_directory_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadMap):
        AsMap.open(tmp_path)
