"""The IPv6 half of a lab: every IPv4 address has a twin, written with the same digits.

10.1.255.3 is also fd00:10:1:255::3, so an AS with 10.1.0.0/16 has fd00:10:1::/48. Pure. Routes are
those of IPv4. Unlike there, a router sends everything from its loopback address, ICMP errors too:
Linux does not take IPv6's error source from the interface that the probe came in by.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

PREFIX = 0xFD00
AS_PREFIX_LENGTH = 48
HOST_PREFIX_LENGTH = 128


def twin(address: IPv4Address) -> IPv6Address:
    """The IPv6 address of whoever has that IPv4 address of the lab."""
    first, second, third, fourth = (int(f"0x{byte}", 16) for byte in address.packed)
    return IPv6Address(PREFIX << 112 | first << 96 | second << 80 | third << 64 | fourth)


def twin_prefix(prefix: IPv4Network) -> IPv6Network:
    """The IPv6 prefix of an AS."""
    return IPv6Network((twin(prefix.network_address), AS_PREFIX_LENGTH))


def twin_destination(destination: IPv4Network) -> IPv6Network:
    """Where a route leads: one host, or everywhere."""
    if destination.prefixlen == 0:
        return IPv6Network("::/0")
    return IPv6Network((twin(destination.network_address), HOST_PREFIX_LENGTH))
