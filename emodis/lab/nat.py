"""A router's address translation: hosts behind it speak as the router, and nobody calls them.

Ports are drawn at random, so that no port is kept by luck. IPv6 is not translated.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address

from emodis.lab import nftables
from emodis.lab.nftables import DROP, EQUAL, IPV4, NOT_EQUAL, Message, compare, verdict

FORWARD_HOOK, POSTROUTING_HOOK = 2, 4
FILTER_PRIORITY, SOURCE_NAT_PRIORITY = 0, 100
SOURCE_OFFSET, DESTINATION_OFFSET, ADDRESS_BYTES = 12, 16, 4
# linux/netfilter/nf_tables.h and nf_conntrack_common.h
NETWORK_HEADER, CT_STATE, STATE_NEW, RANDOM_PORTS = 1, 0, 8, 16


def hide(hosts: Sequence[IPv4Address]) -> None:
    """Hide these hosts behind the router of the present namespace.

    Raises:
        OSError: if the kernel has no nftables with address translation, or refuses them.
    """
    nftables.apply(rules(hosts))


def rules(hosts: Sequence[IPv4Address]) -> list[Message]:
    """Two tables: one translates what leaves, the other drops what nobody inside asked for."""
    return [*_translation(hosts), *_guard(hosts)]


def _translation(hosts: Sequence[IPv4Address]) -> Iterator[Message]:
    name = "translation"
    yield nftables.table(IPV4, name)
    yield nftables.chain(
        IPV4, name, kind="nat", hook=POSTROUTING_HOOK, priority=SOURCE_NAT_PRIORITY
    )
    masquerade = nftables.expression("masq", nftables.number(1, RANDOM_PORTS))
    for host in hosts:
        yield nftables.rule(IPV4, name, _address(SOURCE_OFFSET, host), masquerade)


def _guard(hosts: Sequence[IPv4Address]) -> Iterator[Message]:
    name = "guard"
    yield nftables.table(IPV4, name)
    yield nftables.chain(IPV4, name, kind="filter", hook=FORWARD_HOOK, priority=FILTER_PRIORITY)
    for host in hosts:
        yield nftables.rule(
            IPV4, name, _address(DESTINATION_OFFSET, host), _is_new(), verdict(DROP)
        )


def _address(offset: int, host: IPv4Address) -> bytes:
    """Go on if the address at that offset of the IP header is the host's."""
    load = nftables.expression(
        "payload",
        nftables.number(1, nftables.REGISTER),
        nftables.number(2, NETWORK_HEADER),
        nftables.number(3, offset),
        nftables.number(4, ADDRESS_BYTES),
    )
    return load + compare(EQUAL, host.packed)


def _is_new() -> bytes:
    """Go on for the first packet of a conversation; the state is a bit mask in host order."""
    state = nftables.expression(
        "ct", nftables.number(1, nftables.REGISTER), nftables.number(2, CT_STATE)
    )
    new = struct.pack("=I", STATE_NEW)
    mask = nftables.expression(
        "bitwise",
        nftables.number(1, nftables.REGISTER),
        nftables.number(2, nftables.REGISTER),
        nftables.number(3, len(new)),
        nftables.nest(4, nftables.attribute(1, new)),
        nftables.nest(5, nftables.attribute(1, bytes(len(new)))),
    )
    return state + mask + compare(NOT_EQUAL, bytes(len(new)))
