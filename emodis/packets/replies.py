"""What raw sockets deliver, read without trusting a single byte of it.

Nothing here raises for any input. An answer counts only if it echoes, quotes or acknowledges one of
our probes; the rules are those of TECHNIQUES.md 2, (a) to (d); (e) and (f) need memory and are in
`ledger`.
"""

from __future__ import annotations

from ipaddress import ip_address

import attrs

from emodis.packets.checksum import is_valid
from emodis.packets.extensions import interfaces, label_stack
from emodis.packets.invitation import Arrived, read_answer
from emodis.packets.model import Address, InterfaceInfo, Kind, Mark, MplsLabel, ReplyKind
from emodis.packets.quotes import Bytes, Expectation, quoted_probe, word
from emodis.packets.templates import ICMP, ICMPV6, IP_HEADER_BYTES, UDP

ECHO_REPLY = {4: 0, 6: 129}
# IPv6's "packet too big" is a type of its own; IPv4 has it as code 4 of unreachable.
PACKET_TOO_BIG = 2
ERRORS = {
    4: {3: ReplyKind.UNREACHABLE, 11: ReplyKind.TIME_EXCEEDED},
    6: {
        1: ReplyKind.UNREACHABLE,
        PACKET_TOO_BIG: ReplyKind.UNREACHABLE,
        3: ReplyKind.TIME_EXCEEDED,
    },
}
_SYN, _RST, _ACK = 0x02, 0x04, 0x10
_UDP_HEADER_BYTES = 8


@attrs.frozen(kw_only=True)
class Answer:
    """An answer to the probe `probe_id`, or to whichever was the last one (None).

    `size_bytes` is the whole IP packet.
    """

    probe_id: int | None
    kind: ReplyKind
    address: Address
    icmp_type: int = 0
    icmp_code: int = 0
    ttl: int
    quoted_ttl: int | None = None
    quoted_tos: int | None = None
    size_bytes: int
    marks: frozenset[Mark] = frozenset()
    mpls: tuple[MplsLabel, ...] = ()
    interfaces: tuple[InterfaceInfo, ...] = ()
    # When the probe arrived, by the clock of the destination's kernel.
    far_ns: int | None = None


@attrs.frozen
class _Outer:
    """The packet around an answer."""

    source: Bytes
    ttl: int
    protocol: int
    size_bytes: int
    transport: Bytes


def parse(packet: Bytes, expected: Expectation) -> Answer | None:
    """Read one received IP packet; None if it is damaged or no answer to us."""
    outer = (_outer_v4 if expected.version == 4 else _outer_v6)(packet)
    if outer is None:
        return None
    if outer.protocol == (ICMP if expected.version == 4 else ICMPV6):
        return _icmp(outer, expected)
    if outer.protocol != expected.protocol or outer.source != expected.target.packed:
        return None
    return (_datagram if outer.protocol == UDP else _segment)(outer, expected)


def far_ns(arrived: Arrived) -> int | None:
    """The arrival, where the destination's kernel has seen it; its process may have slept."""
    return arrived.at_ns if arrived.by_kernel else None


def _outer_v4(packet: Bytes) -> _Outer | None:
    if len(packet) < 28 or packet[0] >> 4 != 4:
        return None
    header, total = (packet[0] & 15) * 4, word(packet, 2)
    if header < 20 or total < header + 8 or total > len(packet) or word(packet, 6) & 0x3FFF:
        return None
    transport = packet[header:total]
    if packet[9] == ICMP and not is_valid(transport):
        return None
    return _Outer(packet[12:16], packet[8], packet[9], total, transport)


def _outer_v6(packet: Bytes) -> _Outer | None:
    """The kernel has checked the checksum of ICMPv6 before a raw socket sees it."""
    header = IP_HEADER_BYTES[6]
    if len(packet) < header + 8 or packet[0] >> 4 != 6:
        return None
    total = header + word(packet, 4)
    if total < header + 8 or total > len(packet):
        return None
    return _Outer(packet[8:24], packet[7], packet[6], total, packet[header:total])


def _icmp(outer: _Outer, expected: Expectation) -> Answer | None:
    icmp, version = outer.transport, expected.version
    if icmp[0] == ECHO_REPLY[version]:
        return _echo(outer, expected)
    kind = ERRORS[version].get(icmp[0])
    if kind is None:
        return None
    found = quoted_probe(icmp[8:], expected)
    if found is None:
        return None
    too_big = version == 6 and icmp[0] == PACKET_TOO_BIG
    return Answer(
        probe_id=found.probe_id,
        kind=kind,
        address=_address(outer),
        icmp_type=icmp[0],
        icmp_code=icmp[1],
        ttl=outer.ttl,
        quoted_ttl=found.ttl,
        quoted_tos=found.tos,
        size_bytes=outer.size_bytes,
        marks=found.marks,
        # It has the size of the link where others have the length of the quote.
        mpls=() if too_big else label_stack(icmp, version),
        interfaces=() if too_big else interfaces(icmp, version),
    )


def _echo(outer: _Outer, expected: Expectation) -> Answer | None:
    icmp = outer.transport
    if expected.kind is not Kind.ICMP_ECHO or outer.source != expected.target.packed:
        return None
    if word(icmp, 4) not in expected.idents or word(icmp, 6) not in expected.ids:
        return None
    return _own_words(outer, ReplyKind.ECHO_REPLY, word(icmp, 6), icmp[0], icmp[1])


# The checksums of what follows are not looked at: a virtual link hands packets on before the sum is
# filled in, and a raw socket sees them so.


def _datagram(outer: _Outer, expected: Expectation) -> Answer | None:
    """Whatever the probed port says, if it says it to one of our ports."""
    udp = outer.transport
    if word(udp, 0) != expected.port or word(udp, 2) != expected.ident:
        return None
    if not expected.tag:
        return _own_words(outer, ReplyKind.DATAGRAM, None)
    arrived = read_answer(bytes(udp[_UDP_HEADER_BYTES:]), expected.tag)
    if arrived is None or arrived.probe_id not in expected.ids:
        return None
    return attrs.evolve(
        _own_words(outer, ReplyKind.DATAGRAM, arrived.probe_id), far_ns=far_ns(arrived)
    )


def _segment(outer: _Outer, expected: Expectation) -> Answer | None:
    """SYN/ACK or RST that acknowledges the SYN, and its payload as the case may be."""
    tcp = outer.transport
    if len(tcp) < 20 or word(tcp, 0) != expected.port or word(tcp, 2) not in expected.idents:
        return None
    flags = tcp[13]
    if not flags & _ACK or not flags & (_SYN | _RST):
        return None
    acknowledged = (int.from_bytes(tcp[8:12], "big") - 1 - expected.secret) & 0xFFFFFFFF
    probe_id, payload_bytes = acknowledged >> 16, acknowledged & 0xFFFF
    if probe_id not in expected.ids or (payload_bytes and payload_bytes not in expected.payloads):
        return None
    kind = ReplyKind.RESET if flags & _RST else ReplyKind.SYN_ACK
    return _own_words(outer, kind, probe_id)


def _own_words(
    outer: _Outer, kind: ReplyKind, probe_id: int | None, icmp_type: int = 0, icmp_code: int = 0
) -> Answer:
    """What the target itself answers; nothing is quoted."""
    return Answer(
        probe_id=probe_id,
        kind=kind,
        address=_address(outer),
        icmp_type=icmp_type,
        icmp_code=icmp_code,
        ttl=outer.ttl,
        size_bytes=outer.size_bytes,
    )


def _address(outer: _Outer) -> Address:
    return ip_address(bytes(outer.source))
