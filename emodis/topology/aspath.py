"""From the hops of a route to the ASes that it passes (BRoute, IMC 2005; TECHNIQUES.md 5).

What is not known never becomes a node: a hop without AS belongs to its neighbours' AS where both
have the same, and else is counted and left out. Addresses of exchange points are left out, too:
they belong to the fabric between two ASes, whatever a map says.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence

import attrs

# An address that the map does not know, and a hop that did not answer.
UNKNOWN = 0
MAX_ASN = 2**32 - 1
# Whatever a route claims: IP's hop limit allows no more.
MOST_HOPS = 255


@attrs.frozen
class Hop:
    """The AS of one hop. An `exchange` is a hop on the fabric of an exchange point."""

    asn: int = UNKNOWN
    exchange: bool = False


@attrs.frozen(kw_only=True)
class AsPath:
    """ASes in the order of the packets, no two neighbours alike, none twice.

    `unmapped` hops are in it without a node of their own. `loose` holds the positions i where
    unmapped hops stand between asns[i] and asns[i + 1]: another AS may be hidden there.
    """

    asns: tuple[int, ...]
    unmapped: int = 0
    loose: frozenset[int] = frozenset()

    @property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """Pairs of neighbours."""
        return tuple(itertools.pairwise(self.asns))

    @property
    def hash(self) -> str:
        """Equal for equal sequences of ASes: 16 hexadecimal digits; empty without any."""
        text = "\n".join(str(asn) for asn in self.asns)
        return hashlib.sha256(text.encode()).hexdigest()[:16] if self.asns else ""


def as_path(
    hops: Sequence[Hop], *, start_asn: int = UNKNOWN, end_asn: int = UNKNOWN
) -> AsPath | None:
    """The ASes of a route.

    Args:
        hops: TTL 1, 2, ... in order; a silent one is `Hop()`.
        start_asn: the AS of the measuring host, where it is known.
        end_asn: the AS of the destination, where it is known.

    Returns:
        None for a route that comes back to an AS it has left: the addresses in it do not tell
        the way, or the way changed meanwhile.
    """
    marks = [hop.asn for hop in hops[:MOST_HOPS] if not hop.exchange]
    known = [start_asn, *map(believable, marks), end_asn]
    asns: list[int] = []
    loose: set[int] = set()
    waiting = unmapped = 0
    for position, asn in enumerate(known):
        inside = 0 < position < len(known) - 1
        if asn == UNKNOWN:
            waiting += inside
            continue
        if not asns or asn != asns[-1]:
            unmapped += waiting
            if asns and waiting:
                loose.add(len(asns) - 1)
            asns.append(asn)
        # Else both neighbours of what was waiting have the same AS, and so has that.
        waiting = 0
    if len(set(asns)) < len(asns):
        return None
    return AsPath(asns=tuple(asns), unmapped=unmapped + waiting, loose=frozenset(loose))


def believable(asn: int) -> int:
    """The number, or 0 if no AS can have it."""
    return asn if 0 < asn <= MAX_ASN else UNKNOWN
