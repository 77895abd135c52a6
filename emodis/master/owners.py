"""Whose addresses agents have and results show, as far as the operator's map knows."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Protocol

import attrs

from emodis.techniques.base import Technique
from emodis.topology import special
from emodis.topology.asn import AsOwner
from emodis.topology.exchanges import Exchanges
from emodis.wire.v1.client_pb2 import AddressOwner, Result
from emodis.wire.v1.common_pb2 import Hello, Target

Address = IPv4Address | IPv6Address


class Map(Protocol):
    """topology.asn.AsMap, or a test's."""

    def owner(self, address: Address) -> AsOwner | None:
        """None when the map does not have it."""


@attrs.define
class Owners:
    """Whose an address is, whose an agent is, and a result's `owners` and `as_map`."""

    map: Map | None = None
    exchanges: Exchanges = attrs.field(factory=Exchanges)

    def of(self, address: Address) -> tuple[int, str]:
        """AS number (0 = unknown) and name."""
        found = self.map.owner(address) if self.map is not None else None
        return (found.asn, found.name) if found is not None else (0, "")

    def asn_of(self, address: Address) -> int:
        """The AS number alone; 0 = unknown."""
        return self.of(address)[0]

    def is_exchange(self, address: Address) -> bool:
        """It lies on the fabric of an exchange point: no AS on the way."""
        return address in self.exchanges

    def of_agent(self, hello: Hello, peer_host: str) -> tuple[int, str]:
        """What it says itself, else what the map says about where it comes from."""
        try:
            asn, name = self.of(special.canonical(peer_host))
        except ValueError:
            asn, name = 0, ""
        if hello.asn and hello.asn != asn:
            return hello.asn, ""
        return asn, name

    def name_of(self, asn: int, addresses: Iterable[bytes]) -> str:
        """What the AS is called in which one of these addresses lies; empty = not known."""
        found = (self.of(ip_address(raw)) for raw in addresses if len(raw) in {4, 16})
        return next((name for number, name in found if asn and number == asn), "")

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
