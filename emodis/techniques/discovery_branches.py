"""By which branch an agent comes to a target, from its own route or one to a neighbour of that."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from emodis.packets.model import Address
from emodis.techniques import edge_routes, records
from emodis.techniques.edge_routes import Owner
from emodis.topology.segments import Branch
from emodis.wire.v1.common_pb2 import Body, Target

PREFIX = "prefix"


@attrs.frozen(kw_only=True)
class Borrowed:
    """A route to a neighbour of the target, in the same "prefix" or the same "AS"."""

    body: Body
    kind: str


@attrs.frozen
class Atlas:
    """What is known of addresses."""

    owner: Owner | None
    is_exchange: Callable[[Address], bool]

    def asn(self, address: Address | None) -> int:
        """0 = unknown."""
        return self.owner(address) if self.owner is not None and address is not None else 0

    def responder(self, address: Address | None) -> edge_routes.Responder:
        """A hop of this address; None is a silent one."""
        exchange = address is not None and self.is_exchange(address)
        return edge_routes.Responder(
            address=address, asn=0 if exchange else self.asn(address), exchange=exchange
        )


def branch_of(asn: int, target: Target, route: Body, atlas: Atlas) -> Branch | None:
    """Of an agent in this AS (0 = unknown); None where its route says nothing certain."""
    seen = edge_routes.seen(
        [atlas.responder(address) for address in edge_routes.responders(route)],
        start_asn=asn if atlas.owner is not None else 0,
        end_asn=atlas.asn(records.to_address(target.address)),
    )
    return seen.branch if seen is not None else None


def neighbours_branch(asn: int, target: Target, found: Borrowed, atlas: Atlas) -> Branch | None:
    """As far as the neighbour shares it: without itself, in another prefix without their AS."""
    hops = [atlas.responder(address) for address in edge_routes.responders(found.body)]
    if edge_routes.reached(found.body):
        hops = hops[:-1]
    end_asn = atlas.asn(records.to_address(target.address))
    if found.kind != PREFIX:
        inside = [place for place, hop in enumerate(hops) if end_asn and hop.asn == end_asn]
        hops = hops[: inside[0] + 1] if inside else hops
    seen = edge_routes.seen(hops, start_asn=asn if atlas.owner is not None else 0, end_asn=end_asn)
    return seen.branch if seen is not None else None
