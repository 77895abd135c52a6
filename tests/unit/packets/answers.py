"""What routers and hosts would answer to our probes, made with scapy."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Any

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6PacketTooBig,
    ICMPv6TimeExceeded,
    IPv6,
)
from scapy.packet import Raw

from emodis.packets.checksum import checksum
from emodis.packets.flow import UDP_PORT, Flow, IdBlock
from emodis.packets.model import Address, Kind, Probe
from emodis.packets.quotes import Expectation
from emodis.packets.templates import build

HERE, THERE = IPv4Address("10.0.0.1"), IPv4Address("203.0.113.9")
ROUTER = "10.5.0.1"
HERE6, THERE6 = IPv6Address("fd00::1"), IPv6Address("2001:db8::9")
ROUTER6 = "fd00:5::1"
ENDS: dict[int, tuple[Address, Address]] = {4: (HERE, THERE), 6: (HERE6, THERE6)}
ROUTERS = {4: ROUTER, 6: ROUTER6}
VERSIONS = (4, 6)
# Every kind over both versions.
MADE = [(kind, version) for kind in Kind for version in VERSIONS]
SIZES = {4: 60, 6: 80}
PORTS = range(40_000, 40_256)
IDENTS = {Kind.UDP: PORTS, Kind.TCP_SYN: PORTS, Kind.ICMP_ECHO: range(500, 756)}
# Where the source port or the ICMP id stands in the transport header.
IDENT_AT = {Kind.UDP: 0, Kind.TCP_SYN: 0, Kind.ICMP_ECHO: 4}
HEADER = {4: 20, 6: 40}
SECRET = 0xC0DE
TIME_EXCEEDED = {4: 11, 6: 3}
UNREACHABLE = {4: 3, 6: 1}
_ERRORS6 = {1: ICMPv6DestUnreach, 2: ICMPv6PacketTooBig, 3: ICMPv6TimeExceeded}


def flow(
    kind: Kind,
    version: int = 4,
    *,
    port: int = UDP_PORT,
    dscp: int = 0,
    df: bool = True,
    tag: bytes = b"",
) -> Flow:
    source, target = ENDS[version]
    return Flow(
        kind=kind,
        source=source,
        target=target,
        ident=IDENTS[kind][1],
        port=port,
        dscp=dscp,
        df=df,
        check=0xBEEF,
        label=0x12345,
        secret=SECRET,
        tag=tag,
    )


def expectation(kind: Kind, version: int, ids: IdBlock, **more: Any) -> Expectation:
    made = flow(kind, version)
    return Expectation(
        kind=kind,
        target=made.target,
        source=made.source,
        idents=IDENTS[kind],
        ids=ids,
        ident=made.ident,
        secret=SECRET,
        **more,
    )


def probe_packet(
    kind: Kind, probe_id: int, *, version: int = 4, ttl: int = 1, size_bytes: int | None = None
) -> bytes:
    """A probe as it leaves us."""
    probe = Probe(ttl=ttl, size_bytes=size_bytes or SIZES[version])
    return bytes(build(flow(kind, version), [probe], IdBlock(probe_id, 1)))


def icmp_error(
    quoted: bytes, *, source: str = ROUTER, kind: int = 11, code: int = 0, ttl: int = 61
) -> bytes:
    """Time exceeded (or another error) that quotes these bytes."""
    packet = IP(src=source, dst=str(HERE), ttl=ttl) / ICMP(type=kind, code=code) / Raw(quoted)
    return bytes(packet)


def icmp6_error(
    quoted: bytes, *, source: str = ROUTER6, kind: int = 3, code: int = 0, ttl: int = 61
) -> bytes:
    """The same of IPv6."""
    packet = IPv6(src=source, dst=str(HERE6), hlim=ttl) / _ERRORS6[kind](code=code) / Raw(quoted)
    return bytes(packet)


def error(version: int, quoted: bytes, **more: Any) -> bytes:
    """A router's error of either version; time exceeded unless `kind` says another."""
    return (icmp_error if version == 4 else icmp6_error)(quoted, **more)


def with_extension(version: int, quoted: bytes, structure: bytes, *, length: int | None) -> bytes:
    """Time exceeded with the quote padded to 128 bytes and this structure behind it.

    `length` is what the router says about the quote, in the units of the version; None = nothing.
    """
    packet = bytearray(error(version, quoted.ljust(128, b"\0")[:128] + structure))
    header = HEADER[version]
    packet[header + (5 if version == 4 else 4)] = length or 0
    packet[header + 2 : header + 4] = b"\0\0"
    packet[header + 2 : header + 4] = checksum(packet[header:]).to_bytes(2, "big")
    return bytes(packet)


def echo_reply(
    probe_id: int, *, version: int = 4, source: str | None = None, ident: int | None = None
) -> bytes:
    ident = IDENTS[Kind.ICMP_ECHO][1] if ident is None else ident
    here, there = ENDS[version]
    source = source or str(there)
    if version == 6:
        reply = ICMPv6EchoReply(id=ident, seq=probe_id, data=b"payload")
        return bytes(IPv6(src=source, dst=str(here), hlim=58) / reply)
    packet = IP(src=source, dst=str(here), ttl=58) / ICMP(type=0, id=ident, seq=probe_id)
    return bytes(packet / Raw(b"payload"))


def outer(version: int, source: str | None = None) -> IP | IPv6:
    """The header of something that the target itself says."""
    here, there = ENDS[version]
    source = source or str(there)
    if version == 4:
        return IP(src=source, dst=str(here), ttl=58)
    return IPv6(src=source, dst=str(here), hlim=58)


def segment(
    probe_id: int, *, version: int = 4, flags: str = "SA", off: int = 1, **fields: Any
) -> bytes:
    """SYN/ACK or RST of the probed port; `off` is what it acknowledges behind the number."""
    source = fields.pop("source", None)
    ack = ((probe_id << 16 | SECRET) + off) & 0xFFFFFFFF
    ports = {"sport": UDP_PORT, "dport": IDENTS[Kind.TCP_SYN][1], **fields}
    return bytes(outer(version, source) / TCP(flags=flags, ack=ack, **ports))


def datagram(*, version: int = 4, source: str | None = None, **fields: Any) -> bytes:
    """An answer of the probed UDP port."""
    ports = {"sport": UDP_PORT, "dport": IDENTS[Kind.UDP][1], **fields}
    return bytes(outer(version, source) / UDP(**ports) / Raw(b"hello"))


def changed(packet: bytes, **fields: Any) -> bytes:
    """The packet with other fields in its IP header, without a new checksum."""
    ip = IP(packet) if packet[0] >> 4 == 4 else IPv6(packet)
    for name, value in fields.items():
        setattr(ip, name, value)
    return bytes(ip)


def with_ident(kind: Kind, packet: bytes, ident: int) -> bytes:
    """The packet with another source port or ICMP id, checksums as they were."""
    at = HEADER[packet[0] >> 4] + IDENT_AT[kind]
    return packet[:at] + ident.to_bytes(2, "big") + packet[at + 2 :]


def with_options(packet: bytes) -> bytes:
    """The packet with eight bytes of IP options, as a router might quote it."""
    header = bytearray(packet[:20])
    header[0] = 0x47
    return bytes(header) + b"\x01" * 8 + packet[20:]
