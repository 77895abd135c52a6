"""What routers append to their errors in extensions (RFC 4884): MPLS label stacks (RFC 4950) and
what they say of their interfaces (RFC 5837).

Nothing here raises for any input. Whatever is wrong with an extension, the error that carries it
counts all the same, with the labels that were read before.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from itertools import islice

from emodis.packets.checksum import is_valid
from emodis.packets.model import Address, InterfaceInfo, MplsLabel

Bytes = bytes | memoryview

_VERSION = 2
_HEADER_BYTES = 4
_MPLS = (1, 1)
_INTERFACE_CLASS = 2
# What an interface object has, by the bits of its type, in this order.
_HAS_INDEX, _HAS_ADDRESS, _HAS_NAME, _HAS_MTU = 8, 4, 2, 1
# Of address families, with their lengths; a name is never longer.
_ADDRESSES: dict[int, type[IPv4Address | IPv6Address]] = {1: IPv4Address, 2: IPv6Address}
_LONGEST_NAME_BYTES = 63
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


def interfaces(icmp: Bytes, version: int) -> tuple[InterfaceInfo, ...]:
    """What an ICMP error says of its sender's interfaces; objects that are damaged are left out."""
    structure = _structure(icmp, version)
    if structure is None:
        return ()
    found = (
        _interface(kind, bytes(data))
        for number, kind, data in _objects(structure)
        if number == _INTERFACE_CLASS
    )
    return tuple(one for one in found if one is not None)


def _interface(kind: int, data: bytes) -> InterfaceInfo | None:
    index = mtu = None
    address: Address | None = None
    name = ""
    try:
        if kind & _HAS_INDEX:
            index, data = _number(data)
        if kind & _HAS_ADDRESS:
            address, data = _address(data)
        if kind & _HAS_NAME:
            name, data = _name(data)
        if kind & _HAS_MTU:
            mtu, data = _number(data)
    except ValueError:
        return None
    return InterfaceInfo(role=kind >> 6, index=index, address=address, name=name, mtu_bytes=mtu)


# Each takes its field off the front, and raises ValueError where that is not whole.


def _number(data: bytes) -> tuple[int, bytes]:
    if len(data) < 4:
        raise ValueError("too short")
    return int.from_bytes(data[:4], "big"), data[4:]


def _address(data: bytes) -> tuple[Address, bytes]:
    kind = _ADDRESSES.get(int.from_bytes(data[:2], "big"))
    if kind is None:
        raise ValueError("an unknown address family")
    end = 4 + kind(0).max_prefixlen // 8
    # A ValueError of its own for an address that is cut off.
    return kind(data[4:end]), data[end:]


def _name(data: bytes) -> tuple[str, bytes]:
    length = data[0] if data else 0
    if not 1 <= length <= min(len(data), _LONGEST_NAME_BYTES + 1):
        raise ValueError("a name that is cut off")
    text = data[1:length].rstrip(b"\0").decode("utf-8", "replace")
    return "".join(letter for letter in text if letter.isprintable()), data[length:]


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
    for number, kind, data in _objects(structure):
        if (number, kind) != _MPLS:
            continue
        for at in range(0, len(data) - 3, 4):
            entry = int.from_bytes(data[at : at + 4], "big")
            yield MplsLabel(
                label=entry >> 12,
                traffic_class=entry >> 9 & 7,
                bottom=bool(entry >> 8 & 1),
                ttl=entry & 0xFF,
            )


def _objects(structure: Bytes) -> Iterator[tuple[int, int, Bytes]]:
    """Class, type and payload of each."""
    at = _HEADER_BYTES
    for _ in range(MOST_OBJECTS):
        if at + _HEADER_BYTES > len(structure):
            return
        length = structure[at] << 8 | structure[at + 1]
        if length < _HEADER_BYTES or at + length > len(structure):
            return
        yield structure[at + 2], structure[at + 3], structure[at + _HEADER_BYTES : at + length]
        at += length
