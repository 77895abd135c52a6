"""Which address of a host is measured: IPv4 unless IPv6 is wanted or all there is (DESIGN.md 1)."""

from __future__ import annotations

from collections.abc import Iterable

from emodis.topology.special import Address, canonical

# A family as requests have it: 0 = any.
ANY, IPV4, IPV6 = 0, 4, 6
FAMILIES = (ANY, IPV4, IPV6)


def pick(texts: Iterable[str], family: int) -> Address | None:
    """The first address of the family, with any family the first of IPv4 and then of IPv6.

    What has a zone means something on one host only and is passed over.
    """
    found = [address for text in texts if (address := _read(text)) is not None]
    for version in (family,) if family else (IPV4, IPV6):
        for address in found:
            if address.version == version:
                return address
    return None


def fits(address: Address, family: int) -> bool:
    """Whether an address that somebody gave is of the family they asked for."""
    return family in {ANY, address.version}


def _read(text: str) -> Address | None:
    try:
        return canonical(text)
    except ValueError:
        return None
