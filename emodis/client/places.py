"""Where plaintext may go: to loopback always, to private and lab addresses when told so. Pure."""

from __future__ import annotations

import ipaddress

from emodis.topology import special


def objection(address: str, *, insecure: bool) -> str | None:
    """Why a plaintext connection to this address is not made; None when it may be."""
    place = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(place, ipaddress.IPv6Address) and place.ipv4_mapped is not None:
        place = place.ipv4_mapped
    if place.is_loopback:
        return None
    if not special.is_local(place):
        return (
            f"{place} is a public address and this version has no TLS; "
            "only loopback, private and lab addresses can be used"
        )
    if not insecure:
        return f"the connection to {place} would not be encrypted; say --insecure to allow that"
    return None
