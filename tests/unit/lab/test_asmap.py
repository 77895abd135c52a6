from __future__ import annotations

from pathlib import Path

import maxminddb

from emodis.lab.asmap import write
from emodis.lab.ipv6 import twin
from emodis.lab.plan import make_plan
from emodis.lab.topofile import find


def test_every_address_of_the_lab_maps_to_its_system(tmp_path: Path) -> None:
    plan = make_plan(find("demo"))
    write(plan, tmp_path / "as.mmdb")
    with maxminddb.open_database(tmp_path / "as.mmdb") as database:
        for node in plan.nodes.values():
            for address in (node.address, *(i.address for i in node.interfaces)):
                asn = plan.asn_of(address)
                assert asn is not None
                wanted = {
                    "autonomous_system_number": asn,
                    "autonomous_system_organization": plan.topology.systems[asn].name,
                }
                assert database.get(str(address)) == wanted
                assert database.get(str(twin(address))) == wanted
        assert database.get("192.0.2.1") is None
        assert database.get("10.200.0.1") is None
        assert database.get("fd00:10:200::1") is None
