"""A virtual Internet of ASes with valley-free routes: who sells to whom decides who goes where.

Routes as BGP makes them: through a customer rather than a peer rather than a provider, then the
shortest, then the smallest number; nobody carries traffic between two who do not pay it.
"""

from __future__ import annotations

from functools import cache

import attrs

# What each AS buys from whom, and who exchanges traffic for free: 2 tier-1 ASes, 4 in the
# middle, 6 stubs, of which 101 and 104 have two providers each.
PROVIDERS: dict[int, tuple[int, ...]] = {
    1: (),
    2: (),
    11: (1,),
    12: (1, 2),
    13: (2,),
    14: (2,),
    101: (11, 12),
    102: (11,),
    103: (12,),
    104: (13, 14),
    105: (13,),
    106: (14,),
}
PEERS: frozenset[frozenset[int]] = frozenset({frozenset({1, 2}), frozenset({11, 13})})
STUBS = tuple(asn for asn in PROVIDERS if asn > 100)


@attrs.frozen(order=True)
class _Route:
    # 0 by a customer, 1 by a peer, 2 by a provider.
    kind: int
    length: int
    path: tuple[int, ...]


@cache
def routes_to(destination: int) -> dict[int, tuple[int, ...]]:
    """The AS path from every AS to this one, both ends included."""
    best: dict[int, _Route] = {destination: _Route(0, 0, (destination,))}
    changed = True
    while changed:
        changed = False
        for asn in PROVIDERS:
            if asn == destination:
                continue
            offers = [
                _Route(kind, found.length + 1, (asn, *found.path))
                for other, kind in _neighbours(asn)
                if (found := best.get(other)) is not None
                and asn not in found.path
                and (kind == 2 or found.kind == 0)
            ]
            if offers and best.get(asn) != min(offers):
                best[asn] = min(offers)
                changed = True
    return {asn: route.path for asn, route in best.items()}


def _neighbours(asn: int) -> list[tuple[int, int]]:
    """With the kind that a route through each has: an AS tells its own provider and peers only
    what its customers told it, its customers everything."""
    customers = [(other, 0) for other, sold in PROVIDERS.items() if asn in sold]
    peers = [(other, 1) for pair in PEERS if asn in pair for other in pair - {asn}]
    return [*customers, *peers, *((other, 2) for other in PROVIDERS[asn])]
