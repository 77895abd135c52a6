from __future__ import annotations

from emodis.lab.names import hosts_file
from emodis.lab.plan import make_plan
from tests.unit.lab.builders import small


def test_nodes_and_the_interfaces_of_routers_have_names() -> None:
    lines = hosts_file(make_plan(small())).splitlines()
    assert "10.1.0.1 h1" in lines
    assert "10.1.255.1 r1" in lines
    assert "fd00:10:1:255::1 r1" in lines
    assert "10.1.0.6 to-r1.r2" in lines
    addresses = [line.split()[0] for line in lines]
    assert len(set(addresses)) == len(addresses)
