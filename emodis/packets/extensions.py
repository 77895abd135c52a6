"""What routers append to their errors: MPLS label stacks (RFC 4950) in extensions (RFC 4884).

Nothing here raises for any input. Whatever is wrong with an extension, the error that carries it
counts all the same, with the labels that were read before.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from emodis.packets.checksum import is_valid
from emodis.packets.model import MplsLabel

Bytes = bytes | memoryview

_VERSION = 2
_HEADER_BYTES = 4
_MPLS = (1, 1)
_ICMP_HEADER_BYTES = 8
# Where the length of the quote stands, and what it counts.
_LENGTH_AT = {4: 5, 6: 4}
_LENGTH_UNIT_BYTES = {4: 4, 6: 8}
# Routers older than RFC 4884 quote so much and do not say so.
_OLD_QUOTE_BYTES = 128
MOST_OBJECTS = 16
MOST_LABELS = 16


def label_stack(icmp: Bytes, version: int) -> tuple[MplsLabel, ...]:
    """The stack in an ICMP error (from its type on) of this IP version, outermost first."""
    structure = _structure(icmp, version)
    if structure is None:
        return ()
    return tuple(islice(_labels(structure), MOST_LABELS))


def _structure(icmp: Bytes, version: int) -> Bytes | None:
    """The extension structure; None if there is none or it is damaged."""
    if len(icmp) < _ICMP_HEADER_BYTES:
        return None
    quoted_bytes = icmp[_LENGTH_AT[version]] * _LENGTH_UNIT_BYTES[version]
    said = quoted_bytes > 0
    structure = icmp[_ICMP_HEADER_BYTES + (quoted_bytes if said else _OLD_QUOTE_BYTES) :]
    # Shorter than its header and one object's.
    if len(structure) < 2 * _HEADER_BYTES or structure[0] >> 4 != _VERSION:
        return None
    if structure[2] == structure[3] == 0:
        # Allowed to be missing, but then only the length says that this is no quoted payload.
        return structure if said else None
    return structure if is_valid(structure) else None


def _labels(structure: Bytes) -> Iterator[MplsLabel]:
    for data in _mpls_objects(structure):
        for at in range(0, len(data) - 3, 4):
            entry = int.from_bytes(data[at : at + 4], "big")
            yield MplsLabel(
                label=entry >> 12,
                traffic_class=entry >> 9 & 7,
                bottom=bool(entry >> 8 & 1),
                ttl=entry & 0xFF,
            )


def _mpls_objects(structure: Bytes) -> Iterator[Bytes]:
    at = _HEADER_BYTES
    for _ in range(MOST_OBJECTS):
        if at + _HEADER_BYTES > len(structure):
            return
        length = structure[at] << 8 | structure[at + 1]
        if length < _HEADER_BYTES or at + length > len(structure):
            return
        if (structure[at + 2], structure[at + 3]) == _MPLS:
            yield structure[at + _HEADER_BYTES : at + length]
        at += length
