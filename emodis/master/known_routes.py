"""What is known already of routes to targets: their own, or else those to their neighbours.

A stored route counts for a day, and no longer than until its agent's own trains were seen to go
another way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address, ip_network

import attrs

from emodis.master.clocks import NS
from emodis.master.ledger import Ledger
from emodis.master.owners import Address
from emodis.techniques import edge_routes
from emodis.techniques.discovery_branches import Borrowed
from emodis.wire.v1.client_pb2 import Result
from emodis.wire.v1.common_pb2 import Body, Target

TRACEROUTE = "traceroute"
PATHNECK = "pathneck"
# A route is taken from the store if it is not older.
CACHE_S = 24 * 3600.0
# What counts as one prefix (DESIGN.md section 7 has the same for budgets).
PREFIX_BITS = {4: 24, 6: 48}
# Of the store's recent targets so many are looked at, and so many neighbours are asked for.
MOST_TARGETS = 1000
MOST_NEIGHBOURS = 4

Pair = tuple[str, int]


@attrs.frozen(kw_only=True)
class KnownRoutes:
    """By (agent id, destination index). Borrowed ones only where there are none of its own."""

    own: Mapping[Pair, Body]
    borrowed: Mapping[Pair, Borrowed] = attrs.field(factory=dict)


async def known_routes(
    ledger: Ledger,
    targets: Sequence[Target],
    *,
    now_unix_ns: int,
    agents: frozenset[str],
    owner: Callable[[Address], int] | None,
    borrow: bool,
) -> KnownRoutes:
    """Traceroutes that are still fresh, whoever asked for them.

    Args:
        ledger: the store.
        targets: what shall be measured.
        now_unix_ns: the master's clock.
        agents: whose routes could help; those of others are no reason not to borrow.
        owner: the AS of an address; without it only prefixes have neighbours.
        borrow: use routes to neighbours of a target to which no route is known.
    """
    since_unix_ns = now_unix_ns - round(CACHE_S * NS)
    own: dict[Pair, Body] = {}
    borrowed: dict[Pair, Borrowed] = {}
    for index, target in enumerate(targets):
        found = await _routes_to(ledger, target.address, since_unix_ns)
        own.update({(agent, index): body for agent, body in found.items()})
        if borrow and not agents & found.keys():
            near = await _borrowed(ledger, target.address, since_unix_ns, owner)
            borrowed.update({(agent, index): one for agent, one in near.items()})
    return KnownRoutes(own=own, borrowed=borrowed)


async def _routes_to(ledger: Ledger, address: bytes, since_unix_ns: int) -> dict[str, Body]:
    """By agent."""
    routes = await ledger.results_towards(TRACEROUTE, address, since_unix_ns=since_unix_ns)
    if not routes:
        return {}
    trains = await ledger.results_towards(PATHNECK, address, since_unix_ns=since_unix_ns)
    later = {result.run.agent_id: result for result in trains}
    return {
        result.run.agent_id: result.outcome.result
        for result in routes
        if not _has_moved(result, later.get(result.run.agent_id))
    }


def _has_moved(route: Result, trains: Result | None) -> bool:
    """Both times are of one agent's clock."""
    if trains is None or trains.outcome.started_unix_ns <= route.outcome.started_unix_ns:
        return False
    return edge_routes.has_moved(route.outcome.result, trains.outcome.result)


async def _borrowed(
    ledger: Ledger, address: bytes, since_unix_ns: int, owner: Callable[[Address], int] | None
) -> dict[str, Borrowed]:
    """Routes to others in its prefix; with none, to others in its origin AS."""
    recent = await ledger.recent_targets(
        TRACEROUTE, since_unix_ns=since_unix_ns, limit=MOST_TARGETS
    )
    others = [one for one in recent if one != address and len(one) == len(address)]
    for kind, is_near in (("prefix", _same_prefix), ("AS", _same_owner(owner))):
        found: dict[str, Borrowed] = {}
        for other in [one for one in others if is_near(address, one)][:MOST_NEIGHBOURS]:
            for agent, body in (await _routes_to(ledger, other, since_unix_ns)).items():
                found.setdefault(agent, Borrowed(body=body, kind=kind))
        if found:
            return found
    return {}


def _same_prefix(mine: bytes, other: bytes) -> bool:
    address = ip_address(mine)
    prefix = ip_network((address, PREFIX_BITS[address.version]), strict=False)
    return ip_address(other) in prefix


def _same_owner(owner: Callable[[Address], int] | None) -> Callable[[bytes, bytes], bool]:
    def is_near(mine: bytes, other: bytes) -> bool:
        if owner is None:
            return False
        asn = owner(ip_address(mine))
        return asn != 0 and owner(ip_address(other)) == asn

    return is_near
