"""Edge segments: the last links of a route, by which branches of a destination are told apart.

After BRoute (IMC 2005): most bottlenecks are near the edges, and edges are shared by many paths.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import TypeVar

import attrs

Address = IPv4Address | IPv6Address
Link = tuple[Address, Address]
K = TypeVar("K")

# Links in a segment (E).
SEGMENT_LINKS = 4
# Segments that share so many links are one branch; fewer where a segment is shorter.
SHARED_LINKS = 2


@attrs.frozen(cache_hash=True)
class Branch:
    """One way into a destination: its last answering links, in the direction of the packets.

    `upstream_asn` hands over to `origin_asn`, the destination's; 0 where that is not known. A way
    out of a source is the same from the other end: its first links, and who takes over.
    """

    links: tuple[Link, ...]
    upstream_asn: int = 0
    origin_asn: int = 0

    def __str__(self) -> str:
        """The addresses in order, for people."""
        if not self.links:
            return "(no link)"
        return " → ".join(str(a) for a in (self.links[0][0], *(link[1] for link in self.links)))

    def is_like(self, other: Branch) -> bool:
        """True if both are the same edge route, maybe entered at different places.

        Never, if they come by different ASes.
        """
        if not self._may_be(other):
            return False
        shared = len(set(self.links) & set(other.links))
        return shared >= min(SHARED_LINKS, len(self.links), len(other.links)) > 0

    def _may_be(self, other: Branch) -> bool:
        """What is not known may be anything."""
        pairs = ((self.upstream_asn, other.upstream_asn), (self.origin_asn, other.origin_asn))
        return all(mine == theirs or 0 in {mine, theirs} for mine, theirs in pairs)


def branch(
    responders: Sequence[Address | None],
    length: int = SEGMENT_LINKS,
    *,
    upstream_asn: int = 0,
    origin_asn: int = 0,
    source: bool = False,
) -> Branch | None:
    """The last `length` answering links of a route, or the first ones: out of its `source`.

    Args:
        responders: who answered at TTL 1, 2, ..., None where nobody did; the destination is last
            if it was reached.

    Returns:
        None for a route with fewer than two answers, or one that visits a router twice: it says
        nothing about the edge.
    """
    answered = [address for address in responders if address is not None]
    # A router that answers two hops running forwards packets whose TTL is used up.
    answered = [address for address, _ in itertools.groupby(answered)]
    if len(answered) < 2 or len(set(answered)) < len(answered):
        return None
    links = tuple(itertools.pairwise(answered))
    links = links[:length] if source else links[-length:]
    return Branch(links, upstream_asn, origin_asn)


def merged(branches: Mapping[K, Branch]) -> dict[K, Branch]:
    """Give like branches one name: the first, in the order of the keys, that they resemble."""
    names: list[Branch] = []
    by_link: dict[Link, list[Branch]] = {}
    result: dict[K, Branch] = {}
    for key, found in branches.items():
        near = (name for link in found.links for name in by_link.get(link, ()))
        name = next((name for name in near if name.is_like(found)), None)
        if name is None:
            name = found
            names.append(found)
            for link in found.links:
                by_link.setdefault(link, []).append(found)
        result[key] = name
    return result
