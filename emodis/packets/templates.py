"""Whole trains as bytes: one template per packet size, copied and patched for each probe.

Built with struct rather than scapy, whose import takes half a second; the tests have scapy dissect
every kind of packet made here. What varies within a train is the TTL and the probe id, which stands
wherever routers quote it: in the IPv4 identification, in the UDP checksum, the ICMP or the TCP
sequence number, and with IPv6 in the payload, too. One word makes up for it, so that checksums are
right and no load balancer sees a difference: the first of the payload, or the checksum of TCP,
which none looks at (TECHNIQUES.md 2).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import attrs

from emodis.packets.checksum import compensation, ones_sum, spoiled
from emodis.packets.flow import Flow, IdBlock
from emodis.packets.invitation import (
    INVITATION_AT,
    INVITATION_BYTES,
    PROBE_ID_AT,
    invitation,
)
from emodis.packets.model import Kind, Probe

IP_HEADER_BYTES = {4: 20, 6: 40}
UDP, TCP, ICMP, ICMPV6 = 17, 6, 1, 58
ECHO_REQUEST = {4: 8, 6: 128}
LARGEST_BYTES = 1500

_IPV4 = struct.Struct("!BBHHHBBH4s4s")
_IPV6 = struct.Struct("!IHBB16s16s")
_UDP = struct.Struct("!HHHH")
_ICMP = struct.Struct("!BBHHH")
_TCP = struct.Struct("!HHIIBBHHH")
_WORD = struct.Struct("!H")
_TTL_AT = {4: 8, 6: 7}
_IPV4_ID_AT = 4
_DONT_FRAGMENT = 0x4000
_SYN = 0x02
_WINDOW = 0xFFFF
# A SYN without any option is odd enough for some firewalls. With these it is one like any other:
# largest segment, selective acknowledgements, time stamps, window scale.
_SEGMENT = {4: b"\x02\x04\x05\xb4", 6: b"\x02\x04\x05\xa0"}
_USUAL = b"\x04\x02\x08\x0a\x00\x00\x00\x01\x00\x00\x00\x00\x01\x03\x03\x07"
# Payload that no link can compress; the same for all, so that it gives nothing away.
_FILLER = bytes((index * 167 + (index >> 3) * 59 + 13) & 0xFF for index in range(LARGEST_BYTES))


@attrs.frozen(kw_only=True)
class Template:
    """A packet of one size with TTL, id and compensation still open.

    `rest` is the sum over what the transport checksum covers apart from those open fields;
    `ids_at` are the words for the id, of which the checksum covers `covered`.
    """

    packet: bytes
    ttl_at: int
    ids_at: tuple[int, ...]
    covered: int
    compensation_at: int
    rest: int


def smallest_bytes(kind: Kind, version: int, *, tagged: bool = False) -> int:
    """Room for both headers and what must stand in the payload."""
    if kind is Kind.TCP_SYN:
        return IP_HEADER_BYTES[version] + _TCP.size
    payload = INVITATION_AT + INVITATION_BYTES if tagged else len(_payload_head(version, 0))
    return IP_HEADER_BYTES[version] + _UDP.size + payload


def syn_payload_bytes(version: int, size_bytes: int) -> int:
    """How much of a SYN of this size is payload; whoever refuses it acknowledges that, too."""
    options = len(_options(version, size_bytes))
    return size_bytes - IP_HEADER_BYTES[version] - _TCP.size - options


def template(flow: Flow, size_bytes: int, *, asks: bool = True) -> Template:
    """Build one (ValueError for a size that is too small for its headers, or above 1500 bytes).

    `asks`: a destination that cooperates shall answer it.
    """
    version = flow.target.version
    smallest = smallest_bytes(flow.kind, version, tagged=bool(flow.tag))
    if not smallest <= size_bytes <= LARGEST_BYTES:
        raise ValueError(f"a probe of {size_bytes} bytes is outside {smallest}..{LARGEST_BYTES}")
    header = IP_HEADER_BYTES[version]
    make = {Kind.UDP: _udp, Kind.ICMP_ECHO: _echo, Kind.TCP_SYN: _syn}[flow.kind]
    protocol, segment, id_at, compensation_at = make(flow, size_bytes)
    if flow.tag:
        segment = _inviting(segment, flow.tag, asks=asks)
    pseudo = b""
    if protocol != ICMP:
        # The same sum for both families, although the fields stand in another order.
        addresses = flow.source.packed + flow.target.packed
        pseudo = addresses + struct.pack("!HH", protocol, len(segment))
    covered = [header + id_at]
    if version == 6 and flow.kind is not Kind.TCP_SYN:
        covered.append(header + _UDP.size + 2)
    if flow.tag:
        covered.append(header + _UDP.size + PROBE_ID_AT)
    return Template(
        packet=_ip(flow, protocol, size_bytes) + segment,
        ttl_at=_TTL_AT[version],
        ids_at=(*covered, *([_IPV4_ID_AT] if version == 4 else [])),
        covered=len(covered),
        compensation_at=header + compensation_at,
        rest=ones_sum(pseudo + segment),
    )


def build(flow: Flow, probes: Sequence[Probe], ids: IdBlock) -> bytearray:
    """All packets of a train behind one another, in sending order.

    Raises:
        ValueError: for a TTL outside 1..255 or a size that cannot be (see `template`).
    """
    kinds = dict.fromkeys((probe.size_bytes, probe.muted) for probe in probes)
    templates = {(size, muted): template(flow, size, asks=not muted) for size, muted in kinds}
    data = bytearray(sum(probe.size_bytes for probe in probes))
    at = 0
    for index, probe in enumerate(probes):
        if not 1 <= probe.ttl <= 255:
            raise ValueError(f"a TTL of {probe.ttl} is outside 1..255")
        chosen, probe_id = templates[probe.size_bytes, probe.muted], ids.at(index)
        word = compensation(chosen.rest, chosen.covered * probe_id)
        data[at : at + probe.size_bytes] = chosen.packet
        data[at + chosen.ttl_at] = probe.ttl
        for id_at in chosen.ids_at:
            _WORD.pack_into(data, at + id_at, probe_id)
        if probe.muted and not flow.tag:
            word = spoiled(word)
        _WORD.pack_into(data, at + chosen.compensation_at, word)
        at += probe.size_bytes
    return data


def _ip(flow: Flow, protocol: int, size_bytes: int) -> bytes:
    source, target = flow.source.packed, flow.target.packed
    traffic_class = flow.dscp << 2
    if flow.target.version == 6:
        first = 6 << 28 | traffic_class << 20 | flow.label
        return _IPV6.pack(first, size_bytes - 40, protocol, 0, source, target)
    # The kernel fills in the header checksum of a raw packet.
    fragments = _DONT_FRAGMENT if flow.df else 0
    return _IPV4.pack(0x45, traffic_class, size_bytes, 0, fragments, 0, protocol, 0, source, target)


# Each of the three says: protocol, segment, where the id stands, where the compensation.
_Segment = tuple[int, bytes, int, int]


def _udp(flow: Flow, size_bytes: int) -> _Segment:
    length = size_bytes - IP_HEADER_BYTES[flow.target.version]
    return UDP, _UDP.pack(flow.ident, flow.port, length, 0) + _payload(flow, length), 6, 8


def _echo(flow: Flow, size_bytes: int) -> _Segment:
    version = flow.target.version
    payload = _payload(flow, size_bytes - IP_HEADER_BYTES[version])
    # The checksum is the same in every packet, so it can stand in the template.
    header = _ICMP.pack(ECHO_REQUEST[version], 0, flow.check, flow.ident, 0)
    return ICMP if version == 4 else ICMPV6, header + payload, 6, 8


def _syn(flow: Flow, size_bytes: int) -> _Segment:
    version = flow.target.version
    options = _options(version, size_bytes)
    words = (_TCP.size + len(options)) // 4
    header = _TCP.pack(flow.ident, flow.port, flow.secret, 0, words << 4, _SYN, _WINDOW, 0, 0)
    payload = _FILLER[: syn_payload_bytes(version, size_bytes)]
    return TCP, header + options + payload, 4, 16


def _options(version: int, size_bytes: int) -> bytes:
    """As many of the usual options as have room."""
    room = size_bytes - IP_HEADER_BYTES[version] - _TCP.size
    segment = _SEGMENT[version]
    if room >= len(segment + _USUAL):
        return segment + _USUAL
    return segment if room >= len(segment) else b""


def _payload(flow: Flow, length: int) -> bytes:
    """What follows the eight bytes of a UDP or ICMP header, in a segment of this length."""
    head = _payload_head(flow.target.version, flow.secret)
    return head + _FILLER[: length - _UDP.size - len(head)]


def _inviting(segment: bytes, tag: bytes, *, asks: bool) -> bytes:
    """The same UDP segment with an invitation in its payload."""
    at = _UDP.size + INVITATION_AT
    return segment[:at] + invitation(tag, asks=asks) + segment[at + INVITATION_BYTES :]


def _payload_head(version: int, secret: int) -> bytes:
    """Compensation; with IPv6, which has no identification, the id once more and its proof."""
    return b"\0\0" if version == 4 else struct.pack("!HHH", 0, 0, secret)
