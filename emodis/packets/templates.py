"""Whole trains as bytes: one template per packet size, copied and patched for each probe.

Built with struct rather than scapy, whose import takes half a second; the tests have scapy dissect
every kind of packet made here. What varies within a train is the TTL and the probe id, which stands
in the IP identification and in the UDP checksum or the ICMP sequence number; the first payload word
makes up for it (TECHNIQUES.md 2).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import attrs

from emodis.packets.checksum import compensation, ones_sum, spoiled
from emodis.packets.flow import UDP_PORT, Flow, IdBlock
from emodis.packets.model import Kind, Probe

IP_HEADER_BYTES = 20
TRANSPORT_HEADER_BYTES = 8
# Room for both headers and the compensating word.
SMALLEST_BYTES = IP_HEADER_BYTES + TRANSPORT_HEADER_BYTES + 2
LARGEST_BYTES = 1500

_IP = struct.Struct("!BBHHHBBH4s4s")
_UDP = struct.Struct("!HHHH")
_ICMP = struct.Struct("!BBHHH")
_WORD = struct.Struct("!H")
_IP_ID_AT = 4
_TTL_AT = 8
# Both the UDP checksum and the ICMP sequence number stand here.
_ID_AT = IP_HEADER_BYTES + 6
_COMPENSATION_AT = IP_HEADER_BYTES + TRANSPORT_HEADER_BYTES
_DONT_FRAGMENT = 0x4000
# Payload that no link can compress; the same for all, so that it gives nothing away.
_FILLER = bytes((index * 167 + (index >> 3) * 59 + 13) & 0xFF for index in range(LARGEST_BYTES))


@attrs.frozen
class Template:
    """A packet of one size with TTL, id and compensation still open.

    `rest` is the sum over what the transport checksum covers, apart from those open fields.
    """

    packet: bytes
    rest: int


def template(flow: Flow, size_bytes: int) -> Template:
    """Build one (ValueError for a size outside 30..1500 bytes)."""
    if not SMALLEST_BYTES <= size_bytes <= LARGEST_BYTES:
        raise ValueError(
            f"a probe of {size_bytes} bytes is outside {SMALLEST_BYTES}..{LARGEST_BYTES}"
        )
    source, target = flow.source.packed, flow.target.packed
    protocol = 17 if flow.kind is Kind.UDP else 1
    # The kernel fills in the header checksum of a raw packet.
    ip = _IP.pack(0x45, 0, size_bytes, 0, _DONT_FRAGMENT, 0, protocol, 0, source, target)
    filler = b"\0\0" + _FILLER[: size_bytes - SMALLEST_BYTES]
    if flow.kind is Kind.UDP:
        length = size_bytes - IP_HEADER_BYTES
        transport = _UDP.pack(flow.ident, UDP_PORT, length, 0) + filler
        rest = ones_sum(source + target + struct.pack("!HH", protocol, length) + transport)
    else:
        # The checksum is the same in every packet, so it can stand in the template.
        transport = _ICMP.pack(8, 0, flow.check, flow.ident, 0) + filler
        rest = ones_sum(transport)
    return Template(ip + transport, rest)


def build(flow: Flow, probes: Sequence[Probe], ids: IdBlock) -> bytearray:
    """All packets of a train behind one another, in sending order.

    Raises:
        ValueError: for a TTL outside 1..255 or a size outside 30..1500 bytes.
    """
    templates = {size: template(flow, size) for size in dict.fromkeys(p.size_bytes for p in probes)}
    data = bytearray(sum(probe.size_bytes for probe in probes))
    at = 0
    for index, probe in enumerate(probes):
        if not 1 <= probe.ttl <= 255:
            raise ValueError(f"a TTL of {probe.ttl} is outside 1..255")
        chosen, probe_id = templates[probe.size_bytes], ids.at(index)
        word = compensation(chosen.rest, probe_id)
        data[at : at + probe.size_bytes] = chosen.packet
        data[at + _TTL_AT] = probe.ttl
        _WORD.pack_into(data, at + _IP_ID_AT, probe_id)
        _WORD.pack_into(data, at + _ID_AT, probe_id)
        _WORD.pack_into(data, at + _COMPENSATION_AT, spoiled(word) if probe.muted else word)
        at += probe.size_bytes
    return data
