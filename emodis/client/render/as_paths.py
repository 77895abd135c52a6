"""The ASes that a route passes, by the owners that came with its result. Pure."""

from __future__ import annotations

from emodis.client.render.decoded import decode
from emodis.topology.aspath import AsPath, Hop, as_path
from emodis.wire.v1.client_pb2 import Result
from emodis.wire.v1.techniques_pb2 import TracerouteResult


def as_path_of(result: Result) -> AsPath | None:
    """None for what is no route, without a map, and for a route that comes back to an AS."""
    value = decode(result)
    if not isinstance(value, TracerouteResult) or not result.as_map:
        return None
    owners = {owner.address: owner.asn for owner in result.owners}
    firsts = [next((a.address for a in hop.answers if a.address), b"") for hop in value.hops]
    return as_path([Hop(owners.get(first, 0)) for first in firsts])
