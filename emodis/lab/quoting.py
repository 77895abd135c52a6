"""Routers whose "time exceeded" quotes less than Linux would: one process answers for all of them.

It sees what arrives with a TTL of 1 and answers as the kernel would, but for the length of the
quote; the kernel itself is kept from answering by its rate limit. The answer leaves some tens of
microseconds later than the kernel's, as those of real routers do.
"""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Mapping
from ipaddress import IPv4Address

import attrs

from emodis.lab import frames, kernel
from emodis.lab.plan import NodePlan, Plan

ETHERNET_BYTES, ETHERTYPE, TTL, ETHERTYPE_IPV4 = 14, 12, 22, 0x0800
EXPIRING = (
    (frames.LOAD_HALF, 0, 0, ETHERTYPE),
    (frames.JUMP_EQUAL, 0, 3, ETHERTYPE_IPV4),
    (frames.LOAD_BYTE, 0, 0, TTL),
    (frames.JUMP_EQUAL, 0, 1, 1),
    (frames.RETURN, 0, 0, frames.WHOLE_FRAME),
    (frames.RETURN, 0, 0, 0),
)
BATCH = 64
# Our sockets for sending shall not pile up what they receive.
SOL_RAW, ICMP_FILTER, NOTHING = 255, 1, b"\xff" * 4
TIME_EXCEEDED = 11
ICMP_PROTOCOL, ICMP_QUERIES = 1, {0, 8, 13, 14}
FRAGMENT_OFFSET_MASK = 0x1FFF


@attrs.frozen(kw_only=True)
class Desk:
    """Where the answers to one interface's arrivals leave: speaking as that interface."""

    out: socket.socket
    own: frozenset[bytes]
    quote_bytes: int


def answer(plan: Plan, networks: Mapping[str, int]) -> None:
    """Answer for all routers that quote little, until killed; `networks` holds the namespaces."""
    desks: dict[socket.socket, Desk] = {}
    for name, node in plan.nodes.items():
        quote_bytes = plan.topology.nodes[name].quote_bytes
        if quote_bytes is not None:
            kernel.setns(networks[name], kernel.NEWNET)
            desks |= _desks(node, quote_bytes)
    while True:
        for source in select.select(desks, [], [])[0]:
            desk = desks[source]
            for _, frame in frames.arrivals(source, BATCH):
                packet = frame[ETHERNET_BYTES:]
                if message := time_exceeded(packet, desk.own, desk.quote_bytes):
                    desk.out.sendto(message, (str(IPv4Address(packet[12:16])), 0))


def _desks(node: NodePlan, quote_bytes: int) -> dict[socket.socket, Desk]:
    own = frozenset(
        address.packed for address in (node.address, *(i.address for i in node.interfaces))
    )
    found = {}
    for interface in node.interfaces:
        out = socket.socket(socket.AF_INET, socket.SOCK_RAW, ICMP_PROTOCOL)
        out.bind((str(interface.address), 0))
        out.setsockopt(SOL_RAW, ICMP_FILTER, NOTHING)
        desk = Desk(out=out, own=own, quote_bytes=quote_bytes)
        found[frames.open_frames(interface.name, EXPIRING)] = desk
    return found


def time_exceeded(packet: bytes, own: frozenset[bytes], quote_bytes: int) -> bytes:
    """The ICMP message about an expired IPv4 packet; empty if none is due (RFC 1812 4.3.2.7).

    Args:
        packet: as it arrived.
        own: the router's addresses: what is for itself has arrived, not expired.
        quote_bytes: how much to quote behind the packet's IP header.
    """
    header_bytes = (packet[0] & 15) * 4
    is_error = packet[9] == ICMP_PROTOCOL and packet[header_bytes] not in ICMP_QUERIES
    later_fragment = struct.unpack_from("!H", packet, 6)[0] & FRAGMENT_OFFSET_MASK
    if packet[16:20] in own or is_error or later_fragment:
        return b""
    length = struct.unpack_from("!H", packet, 2)[0]
    quote = packet[: min(header_bytes + quote_bytes, length)]
    message = struct.pack("!BBHI", TIME_EXCEEDED, 0, 0, 0) + quote
    return message[:2] + struct.pack("!H", checksum(message)) + message[4:]


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    data += bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total >> 16) + (total & 0xFFFF)
    return ~total & 0xFFFF
