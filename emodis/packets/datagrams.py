"""Trains for sockets whose headers the kernel writes: payloads, and the TTL beside each.

A UDP probe begins its payload with the run's token and its own id. An ICMP echo has the id as its
sequence number and a payload word that makes up for it, so that the checksum, which load balancers
look at, is the same in the whole train (TECHNIQUES.md 2).
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Sequence
from ipaddress import IPv4Address

import attrs

from emodis.packets.checksum import compensation, ones_sum
from emodis.packets.families import LARGEST_BYTES, TRANSPORT_HEADER_BYTES, Family
from emodis.packets.flow import IdBlock
from emodis.packets.invitation import INVITATION_AT, INVITATION_BYTES, invitation
from emodis.packets.mmsg import SendBatch
from emodis.packets.model import Kind, Probe

_PREFIX = struct.Struct("!HH")
PREFIX_BYTES = _PREFIX.size
_ECHO = struct.Struct("!BBHHHH")
_ECHO_BYTES = 8
_SEQUENCE_AT = 6
# The socket knows where to.
_NOWHERE = IPv4Address(0)
_TTL_MESSAGE = struct.Struct("@Niii4x")
# Payload that no link can compress; the same for all, so that it gives nothing away.
_FILLER = bytes((index * 151 + (index >> 2) * 83 + 29) & 0xFF for index in range(LARGEST_BYTES))


@attrs.frozen(kw_only=True)
class Wording:
    """What the probes of one flow say.

    `token` marks UDP payloads as this run's. `check` is the checksum of ICMP echoes; `ident` and
    `pseudo` are what the kernel will add to their sum: the id it has given the socket, and with
    IPv6 the pseudo header's addresses. `tag`: see `model.Train`.
    """

    kind: Kind
    token: int
    check: int = 0
    ident: int = 0
    pseudo: bytes = b""
    tag: bytes = b""


def payloads(
    wording: Wording, family: Family, probes: Sequence[Probe], ids: IdBlock
) -> tuple[bytearray, list[int]]:
    """What is given to the kernel for each probe, behind one another, and the lengths.

    Raises:
        ValueError: for a TTL outside 1..255, or a size that has no room for the id.
    """
    head_bytes = INVITATION_AT + INVITATION_BYTES if wording.tag else PREFIX_BYTES
    smallest = family.header_bytes + TRANSPORT_HEADER_BYTES + head_bytes
    data, sizes = bytearray(), []
    for index, probe in enumerate(probes):
        if not 1 <= probe.ttl <= 255:
            raise ValueError(f"a TTL of {probe.ttl} is outside 1..255")
        if not smallest <= probe.size_bytes <= LARGEST_BYTES:
            raise ValueError(
                f"a probe of {probe.size_bytes} bytes is outside {smallest}..{LARGEST_BYTES}"
            )
        room = probe.size_bytes - family.header_bytes
        if wording.kind is Kind.UDP:
            room -= TRANSPORT_HEADER_BYTES
            words = _datagram(wording, room, ids.at(index), asks=not probe.muted)
        else:
            words = _echo(wording, family, room, ids.at(index))
        data += words
        sizes.append(len(words))
    return data, sizes


def datagram_id(payload: bytes, token: int) -> int | None:
    """The id in a UDP payload of ours, None if it is another run's or too little is left of it."""
    if len(payload) < PREFIX_BYTES:
        return None
    found, probe_id = _PREFIX.unpack_from(payload)
    return probe_id if found == token else None


def echo_id(icmp: bytes, icmp_type: int) -> int | None:
    """The sequence number of an ICMP echo of this type; None if it is none."""
    if len(icmp) < _ECHO_BYTES or icmp[0] != icmp_type:
        return None
    return icmp[_SEQUENCE_AT] << 8 | icmp[_SEQUENCE_AT + 1]


def _datagram(wording: Wording, size_bytes: int, probe_id: int, *, asks: bool) -> bytes:
    head = _PREFIX.pack(wording.token, probe_id)
    if wording.tag:
        head = head.ljust(INVITATION_AT, b"\0")
        head += invitation(wording.tag, asks=asks, probe_id=probe_id)
    return head + _FILLER[: size_bytes - len(head)]


def _echo(wording: Wording, family: Family, size_bytes: int, probe_id: int) -> bytes:
    filler = _FILLER[: size_bytes - _ECHO.size]
    # With `check` as a summand the sum must be zero: then the kernel computes just that checksum.
    head = _ECHO.pack(family.echo_request, 0, wording.check, wording.ident, 0, 0)
    pseudo = _pseudo_sum(wording, family, size_bytes)
    word = compensation(ones_sum(head + filler) + pseudo, probe_id)
    return _ECHO.pack(family.echo_request, 0, 0, 0, probe_id, word) + filler


def _pseudo_sum(wording: Wording, family: Family, size_bytes: int) -> int:
    if not wording.pseudo:
        return 0
    return ones_sum(wording.pseudo + struct.pack("!II", size_bytes, family.icmp_protocol))


class DatagramBatch(SendBatch):
    """Datagrams to where their socket is connected, each with a TTL of its own."""

    def __init__(
        self,
        data: bytearray,
        sizes: Sequence[int],
        *,
        family: Family,
        ttls: Sequence[int],
    ) -> None:
        super().__init__(data, sizes, _NOWHERE)
        length = _TTL_MESSAGE.size - 4
        words = b"".join(_TTL_MESSAGE.pack(length, family.level, family.ttl, ttl) for ttl in ttls)
        self._control = ctypes.create_string_buffer(words, max(1, len(words)))
        at = ctypes.addressof(self._control)
        for index in range(self.count):
            header = self._messages[index].header
            header.name, header.name_length = None, 0
            header.control = at + index * _TTL_MESSAGE.size
            header.control_length = _TTL_MESSAGE.size
