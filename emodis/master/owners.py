"""Whose addresses appear in a result, as far as the operator's map knows."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Protocol

import attrs

from emodis.techniques.base import Technique
from emodis.topology.asn import AsOwner
from emodis.wire.v1.client_pb2 import AddressOwner, Result
from emodis.wire.v1.common_pb2 import Target

Address = IPv4Address | IPv6Address


class Map(Protocol):
    """topology.asn.AsMap, or a test's."""

    def owner(self, address: Address) -> AsOwner | None:
        """None when the map does not have it."""


@attrs.define
class Owners:
    """Fills in a result's `owners` and `as_map`."""

    map: Map | None = None

    def of(self, address: Address) -> tuple[int, str]:
        """AS number (0 = unknown) and name."""
        found = self.map.owner(address) if self.map is not None else None
        return (found.asn, found.name) if found is not None else (0, "")

    def fill(self, result: Result, technique: Technique | None, target: Target | None) -> None:
        """Look up every address of the result, and the target."""
        result.as_map = self.map is not None
        if self.map is None:
            return
        for address in sorted(_addresses(result, technique, target), key=int):
            asn, name = self.of(address)
            if asn:
                result.owners.append(AddressOwner(address=address.packed, asn=asn, as_name=name))


def _addresses(
    result: Result, technique: Technique | None, target: Target | None
) -> Iterable[Address]:
    found: set[Address] = set()
    if target is not None:
        found.add(ip_address(target.address))
    if technique is not None and result.outcome.HasField("result"):
        try:
            found.update(technique.addresses(result.outcome.result))
        except ValueError:
            # An agent's result that does not decode is shown, and stored, without owners.
            return found
    return found
