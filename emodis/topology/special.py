"""Which addresses may be probed at all, and which count as local. Pure; master and agent both ask.

A list of our own: `ipaddress.is_global` and `is_private` are wrong here for multicast, NAT64, 6to4
and IPv4-mapped addresses. What is not on the list is refused.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
_Network = IPv4Network | IPv6Network

# Private, loopback and lab ranges: all that is probed until there is a policy (DESIGN.md 7).
_LOCAL: tuple[_Network, ...] = tuple(
    ip_network(text)
    for text in (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "127.0.0.0/8",
        "192.0.2.0/24",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "198.18.0.0/15",
        "fc00::/7",
        "::1/128",
        "2001:db8::/32",
    )
)
# Never, whatever a policy says. The first that fits gives the reason.
_NEVER: tuple[tuple[_Network, str], ...] = (
    (ip_network("224.0.0.0/4"), "a multicast address"),
    (ip_network("ff00::/8"), "a multicast address"),
    (ip_network("255.255.255.255/32"), "the broadcast address"),
    (ip_network("0.0.0.0/8"), "no host's address"),
    (ip_network("::/128"), "no host's address"),
)


def canonical(address: str | bytes) -> Address:
    """One address per host: text or 4 or 16 bytes in, IPv4-mapped IPv6 unwrapped.

    Raises:
        ValueError: if it is no IP address, or carries a zone.
    """
    found = ip_address(address)
    if isinstance(found, IPv6Address):
        if found.scope_id is not None:
            raise ValueError(f"{found} has a zone, which means something on its own host only")
        return found.ipv4_mapped or found
    return found


def is_local(address: Address) -> bool:
    """True for private, loopback and lab addresses: where plaintext is allowed."""
    address = canonical(address.packed)
    return any(address in network for network in _LOCAL)


def refusal(address: Address) -> str | None:
    """Why this destination is not probed, in one line; None if it may be."""
    address = canonical(address.packed)
    for network, what in _NEVER:
        if address in network:
            return f"{address} is {what}"
    if not is_local(address):
        return f"{address} is outside private, loopback and lab ranges"
    return None
