"""The lab's address-to-AS map, in the format and with the field names of GeoLite2-ASN."""

from __future__ import annotations

from pathlib import Path

from mmdb_writer import MMDBWriter
from netaddr import IPSet

from emodis.lab.ipv6 import twin_prefix
from emodis.lab.plan import Plan

DATABASE_TYPE = "Emodis-Lab-ASN"


def write(plan: Plan, path: Path) -> None:
    """Map every prefix of the plan, of both families, to its AS number and name."""
    writer = MMDBWriter(
        ip_version=6, ipv4_compatible=True, database_type=DATABASE_TYPE, languages=["en"]
    )
    for asn, prefix in plan.prefixes.items():
        record = {
            "autonomous_system_number": asn,
            "autonomous_system_organization": plan.topology.systems[asn].name,
        }
        writer.insert_network(IPSet([str(prefix), str(twin_prefix(prefix))]), record)
    writer.to_db_file(str(path))
