"""What routers and hosts would answer to our probes, made with scapy."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

from scapy.layers.inet import ICMP, IP
from scapy.packet import Raw

from emodis.packets.flow import Flow, IdBlock
from emodis.packets.model import Kind, Probe
from emodis.packets.templates import build

HERE, THERE = IPv4Address("10.0.0.1"), IPv4Address("203.0.113.9")
ROUTER = "10.5.0.1"
# What the raw transport can send.
KINDS = (Kind.ICMP_ECHO, Kind.UDP)
IDENTS = {Kind.UDP: range(40_000, 40_256), Kind.ICMP_ECHO: range(500, 756)}


def flow(kind: Kind) -> Flow:
    return Flow(kind=kind, source=HERE, target=THERE, ident=IDENTS[kind][1], check=0xBEEF)


def probe_packet(kind: Kind, probe_id: int, *, ttl: int = 1, size_bytes: int = 60) -> bytes:
    """A probe as it leaves us."""
    return bytes(build(flow(kind), [Probe(ttl=ttl, size_bytes=size_bytes)], IdBlock(probe_id, 1)))


def icmp_error(
    quoted: bytes, *, source: str = ROUTER, kind: int = 11, code: int = 0, ttl: int = 61
) -> bytes:
    """Time exceeded (or another error) that quotes these bytes."""
    packet = IP(src=source, dst=str(HERE), ttl=ttl) / ICMP(type=kind, code=code) / Raw(quoted)
    return bytes(packet)


def echo_reply(probe_id: int, *, source: str = str(THERE), ident: int | None = None) -> bytes:
    ident = IDENTS[Kind.ICMP_ECHO][1] if ident is None else ident
    packet = IP(src=source, dst=str(HERE), ttl=58) / ICMP(type=0, id=ident, seq=probe_id)
    return bytes(packet / Raw(b"payload"))


def changed(packet: bytes, **fields: Any) -> bytes:
    """The packet with other fields in its IP header, without a new checksum."""
    ip = IP(packet)
    for name, value in fields.items():
        setattr(ip, name, value)
    return bytes(ip)


def with_options(packet: bytes) -> bytes:
    """The packet with eight bytes of IP options, as a router might quote it."""
    header = bytearray(packet[:20])
    header[0] = 0x47
    return bytes(header) + b"\x01" * 8 + packet[20:]
