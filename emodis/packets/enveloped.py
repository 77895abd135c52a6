"""A datagram of an ordinary UDP socket as the whole packet that it is on the wire.

The kernel keeps the headers to itself. Addresses, ports, lengths and checksums follow from what is
known; the rest is what a packet most often has, and 0 where nothing is known.
"""

from __future__ import annotations

import struct

from emodis.packets.checksum import checksum
from emodis.packets.model import Address

Endpoint = tuple[Address, int]

_UDP = 17
_DONT_FRAGMENT = 0x4000
_IPV4 = struct.Struct("!BBHHHBBH4s4s")
_IPV6 = struct.Struct("!IHBB16s16s")
_HEADER = struct.Struct("!HHHH")


def enveloped(source: Endpoint, target: Endpoint, payload: bytes, *, ttl: int) -> bytes:
    """With an IPv4 (identification 0) or IPv6 header, and that of UDP, before it."""
    (here, port), (there, to_port) = source, target
    size_bytes = _HEADER.size + len(payload)
    pseudo = here.packed + there.packed + struct.pack("!HH", _UDP, size_bytes)
    bare = _HEADER.pack(port, to_port, size_bytes, 0)
    # Never 0, which would mean that there is none (RFC 768).
    word = checksum(pseudo + bare + payload)
    return _ip(here, there, size_bytes, ttl) + bare[:6] + struct.pack("!H", word) + payload


def _ip(here: Address, there: Address, size_bytes: int, ttl: int) -> bytes:
    if here.version == 6:
        return _IPV6.pack(6 << 28, size_bytes, _UDP, ttl, here.packed, there.packed)
    whole_bytes = _IPV4.size + size_bytes
    ends = here.packed, there.packed
    header = _IPV4.pack(0x45, 0, whole_bytes, 0, _DONT_FRAGMENT, ttl, _UDP, 0, *ends)
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:]
