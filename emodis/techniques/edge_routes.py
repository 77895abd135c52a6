"""A route as BRoute and AUTO look at it: its last links, and the ASes it passes.

Routes are data of others. More hops than IP allows are not looked at, and a route that says
nothing certain about the edge (a loop, too few answers) is no route.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from emodis.packets.model import Address
from emodis.techniques import records
from emodis.techniques.pathneck import Pathneck
from emodis.techniques.traceroute import Traceroute
from emodis.topology.aspath import UNKNOWN, AsPath, Hop, as_path
from emodis.topology.segments import SEGMENT_LINKS, Branch, branch
from emodis.wire.v1.common_pb2 import Body

_PATHNECK = Pathneck()
_TRACEROUTE = Traceroute()
# No traceroute of ours looks further.
MOST_HOPS = 64

# The AS of an address, 0 = unknown.
Owner = Callable[[Address], int]


@attrs.frozen(kw_only=True)
class Responder:
    """One hop; silent without an address."""

    address: Address | None = None
    asn: int = UNKNOWN
    exchange: bool = False


@attrs.frozen(kw_only=True)
class Seen:
    """What a route says of an end node's edge. `entry_asn` is at the branch's far end."""

    branch: Branch
    path: AsPath
    entry_asn: int


def responders(body: Body) -> list[Address | None]:
    """Who answered at TTL 1, 2, ... of a traceroute; empty where it cannot be read."""
    try:
        hops = _TRACEROUTE.result(body).hops[:MOST_HOPS]
    except ValueError:
        return []
    firsts = (next((a.address for a in hop.answers if a.address), b"") for hop in hops)
    return [records.to_address(first) for first in firsts]


def reached(body: Body) -> bool:
    """Whether its destination answered it."""
    try:
        return bool(_TRACEROUTE.result(body).reached)
    except ValueError:
        return False


def has_moved(route: Body, trains: Body) -> bool:
    """Whether a later Pathneck run met other routers than this traceroute did.

    Silent hops say nothing; neither does what cannot be read.
    """
    try:
        hops = _PATHNECK.result(trains).hops
    except ValueError:
        return False
    then = dict(enumerate(responders(route), start=1))
    now = {hop.ttl: records.to_address(hop.address) for hop in hops}
    both = ((then[ttl], place) for ttl, place in now.items() if then.get(ttl) and place)
    return any(before != after for before, after in both)


def rtt_ns(body: Body) -> int:
    """The least round-trip time of the last hop that answered; 0 = not known."""
    try:
        hops = _TRACEROUTE.result(body).hops[:MOST_HOPS]
    except ValueError:
        return 0
    for hop in reversed(hops):
        times = [answer.rtt_ns for answer in hop.answers if answer.HasField("rtt_ns")]
        if times:
            return int(max(0, min(times)))
    return 0


def seen(
    hops: Sequence[Responder],
    *,
    links: int = SEGMENT_LINKS,
    start_asn: int = UNKNOWN,
    end_asn: int = UNKNOWN,
    complete: bool = True,
    source: bool = False,
) -> Seen | None:
    """What a route says of the edge.

    Args:
        hops: TTL 1, 2, ...; before them the source itself where that is the end node.
        links: how many of its last links make a branch, of its first ones for a source.
        start_asn: the measuring host's AS; 0 = unknown.
        end_asn: the destination's.
        complete: the destination answered.
        source: it is the source's edge that matters, not the destination's.

    Returns:
        None for a route with a loop, of routers or of ASes, with fewer than two answers, or one
        that ends early and has not even `links` links.
    """
    path = as_path(
        [Hop(hop.asn, hop.exchange) for hop in hops], start_asn=start_asn, end_asn=end_asn
    )
    if path is None:
        return None
    origin_asn = start_asn if source else end_asn
    known_neighbour = origin_asn != UNKNOWN and len(path.asns) > 1
    found = branch(
        [hop.address for hop in hops],
        links,
        upstream_asn=path.asns[1 if source else -2] if known_neighbour else UNKNOWN,
        origin_asn=origin_asn,
        source=source,
    )
    if found is None or not (complete or len(found.links) >= links):
        return None
    far = found.links[-1][1] if source else found.links[0][0]
    entry_asn = next((hop.asn for hop in hops if hop.address == far), UNKNOWN)
    return Seen(branch=found, path=path, entry_asn=entry_asn)
