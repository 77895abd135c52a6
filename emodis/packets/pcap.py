"""Captures as tcpdump and Wireshark read them: pcap files with nanosecond stamps.

Nothing but the standard library: the lab's recorder loads this module with nothing else at hand.
Numbers are written little-endian on every machine, so that a file looks the same everywhere.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterator

NS_PER_S = 1_000_000_000
NANOSECOND_MAGIC = 0xA1B23C4D
SNAP_BYTES = 65535

_FILE = struct.Struct("<IHHiIII")
_RECORD = struct.Struct("<IIII")
_VERSION = (2, 4)


class LinkType(enum.IntEnum):
    """What the packets begin with (the LINKTYPE_ registry of tcpdump.org)."""

    ETHERNET = 1
    # An IPv4 or IPv6 header.
    RAW = 101


def file_header(link: LinkType) -> bytes:
    """What a file begins with."""
    return _FILE.pack(NANOSECOND_MAGIC, *_VERSION, 0, 0, SNAP_BYTES, link)


def record(at_ns: int, packet: bytes) -> bytes:
    """One packet, seen at that Unix time; what is longer than `SNAP_BYTES` is cut."""
    seconds, nanoseconds = divmod(at_ns, NS_PER_S)
    kept = packet[:SNAP_BYTES]
    return _RECORD.pack(seconds & 0xFFFFFFFF, nanoseconds, len(kept), len(packet)) + kept


def records(data: bytes, link: LinkType) -> Iterator[tuple[int, bytes]]:
    """Unix time and bytes of every packet; one that is cut off at the end is left out.

    Raises:
        ValueError: for anything but a nanosecond pcap of that link type.
    """
    if len(data) < _FILE.size or struct.unpack_from("<I", data)[0] != NANOSECOND_MAGIC:
        raise ValueError("not a pcap file with nanosecond stamps")
    if struct.unpack_from("<I", data, 20)[0] != link:
        raise ValueError(f"not a capture of {link.name} packets")
    at = _FILE.size
    while at + _RECORD.size <= len(data):
        seconds, nanoseconds, kept, _ = _RECORD.unpack_from(data, at)
        at += _RECORD.size
        if at + kept > len(data):
            return
        yield seconds * NS_PER_S + nanoseconds, data[at : at + kept]
        at += kept
