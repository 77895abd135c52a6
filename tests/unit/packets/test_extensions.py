"""scapy writes label stacks; ten ways to damage them cost the labels and never the hop."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.contrib.mpls import MPLS
from scapy.layers.inet import ICMPExtension_Header
from scapy.packet import Raw

from emodis.packets.checksum import checksum
from emodis.packets.extensions import MOST_LABELS, MOST_OBJECTS, label_stack
from emodis.packets.flow import IdBlock
from emodis.packets.model import InterfaceInfo, Kind, MplsLabel
from emodis.packets.replies import parse
from tests.unit.packets.answers import (
    VERSIONS,
    expectation,
    icmp6_error,
    probe_packet,
    with_extension,
)

IDS = IdBlock(1000, 50)
# The length of a quote of 128 bytes in the units of each version.
LENGTH = {4: 32, 6: 16}
THREE = (
    MplsLabel(label=16_001, traffic_class=5, bottom=False, ttl=1),
    MplsLabel(label=24, traffic_class=0, bottom=False, ttl=1),
    MplsLabel(label=1_048_575, traffic_class=0, bottom=True, ttl=255),
)


def entries(labels: tuple[MplsLabel, ...]) -> bytes:
    return b"".join(
        bytes(MPLS(label=each.label, cos=each.traffic_class, s=each.bottom, ttl=each.ttl))
        for each in labels
    )


def item(data: bytes, *, number: int = 1, kind: int = 1, length: int | None = None) -> bytes:
    """One object of a class and type, MPLS unless said otherwise."""
    return struct.pack("!HBB", 4 + len(data) if length is None else length, number, kind) + data


def structure(*objects: bytes, version: int = 2, checked: bool = True) -> bytes:
    data = struct.pack("!HH", version << 12, 0) + b"".join(objects)
    if not checked:
        return data
    return data[:2] + checksum(data).to_bytes(2, "big") + data[4:]


def read(version: int, extension: bytes, *, length: int | None = None) -> tuple[MplsLabel, ...]:
    """The labels of a hop that is itself always found."""
    length = LENGTH[version] if length is None else length
    quoted = probe_packet(Kind.UDP, 1003, version=version)
    packet = with_extension(version, quoted, extension, length=length)
    answer = parse(packet, expectation(Kind.UDP, version, IDS))
    assert answer is not None
    assert answer.probe_id == 1003
    return answer.mpls


@pytest.mark.parametrize("version", VERSIONS)
def test_a_stack_of_three_is_read_outermost_first(version: int) -> None:
    assert read(version, structure(item(entries(THREE)))) == THREE


def test_scapy_writes_the_same_header() -> None:
    assert structure(checked=False)[:2] == bytes(ICMPExtension_Header(version=2) / Raw(b""))[:2]


@pytest.mark.parametrize("version", VERSIONS)
def test_without_a_length_128_bytes_are_tried(version: int) -> None:
    assert read(version, structure(item(entries(THREE))), length=0) == THREE
    # But then only a checksum tells an extension from a longer quote.
    assert read(version, structure(item(entries(THREE)), checked=False), length=0) == ()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_checksum_may_be_missing_where_the_length_is_said(version: int) -> None:
    assert read(version, structure(item(entries(THREE)), checked=False)) == THREE


def test_a_packet_too_big_has_no_extension() -> None:
    quoted = probe_packet(Kind.UDP, 1003, version=6).ljust(128, b"\0")
    packet = icmp6_error(quoted + structure(item(entries(THREE))), kind=2)
    answer = parse(packet, expectation(Kind.UDP, 6, IDS))
    assert answer is not None
    assert answer.mpls == ()


@pytest.mark.parametrize("version", VERSIONS)
def test_other_objects_are_passed_over(version: int) -> None:
    other = item(b"\0\0\0\2eth0", number=2, kind=0x0A)
    assert read(version, structure(other, item(entries(THREE)))) == THREE


STACK = item(entries(THREE))
MALFORMED: dict[str, bytes] = {
    "version 1": structure(STACK, version=1),
    "version 0": structure(STACK, version=0),
    "wrong checksum": structure(STACK)[:-1] + b"\x01",
    "object of length 0": structure(item(entries(THREE), length=0)),
    "object of length 3": structure(item(entries(THREE), length=3)),
    "object of length 3 with another in its place": structure(b"\0\3\x09" + STACK),
    "object of length 65535": structure(item(entries(THREE), length=65535)),
    "object past the end": structure(item(entries(THREE), length=4 + 13)),
    "object cut in its header": structure(STACK[:3]),
    "nothing but the header": structure(),
    "header cut": structure()[:3],
    "object without a label": structure(item(b"")),
    "label cut": structure(item(b"\0\1\2")),
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_extension_costs_the_labels_and_not_the_hop(name: str, version: int) -> None:
    assert read(version, MALFORMED[name]) == ()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("length", [1, 33, 200, 255])
def test_a_length_that_is_wrong_costs_the_labels_and_not_the_hop(version: int, length: int) -> None:
    assert read(version, structure(STACK), length=length) == ()


def test_labels_before_a_malformed_object_are_kept() -> None:
    assert read(4, structure(STACK, item(b"", length=2))) == THREE


def test_no_more_than_sixteen_objects_and_labels_are_read() -> None:
    many = THREE[:1] * (MOST_LABELS + 4)
    assert len(read(4, structure(item(entries(many))))) == MOST_LABELS
    empty = item(b"", number=9)
    assert read(4, structure(*[empty] * (MOST_OBJECTS - 1), STACK)) == THREE
    assert read(4, structure(*[empty] * MOST_OBJECTS, STACK)) == ()


@given(st.binary(max_size=200), st.sampled_from(VERSIONS))
def test_hostile_bytes_never_raise(data: bytes, version: int) -> None:
    label_stack(data, version)
    label_stack(bytes(136) + structure(data), version)


# RFC 5837: the bits of the type say what follows.
INCOMING, OUTGOING, NEXT_HOP = 0x00, 0x80, 0xC0
INDEX, ADDRESS, NAME, MTU = 8, 4, 2, 1


def name(text: bytes) -> bytes:
    """Padded to words; its first byte counts itself."""
    padded = text.ljust((len(text) + 1 + 3) // 4 * 4 - 1, b"\0")
    return bytes([len(padded) + 1]) + padded


def about(version: int, *objects: bytes) -> tuple[InterfaceInfo, ...]:
    quoted = probe_packet(Kind.UDP, 1003, version=version)
    packet = with_extension(version, quoted, structure(*objects), length=LENGTH[version])
    answer = parse(packet, expectation(Kind.UDP, version, IDS))
    assert answer is not None
    return answer.interfaces


@pytest.mark.parametrize("version", VERSIONS)
def test_what_a_router_says_of_its_interfaces_is_kept_beside_its_labels(version: int) -> None:
    v4 = struct.pack("!HH", 1, 0) + IPv4Address("192.0.2.1").packed
    v6 = struct.pack("!HH", 2, 0) + IPv6Address("2001:db8::1").packed
    whole = struct.pack("!I", 7) + v4 + name(b"ge-0/0/1") + struct.pack("!I", 9000)
    found = about(
        version,
        item(whole, number=2, kind=INCOMING | INDEX | ADDRESS | NAME | MTU),
        item(entries(THREE)),
        item(v6, number=2, kind=NEXT_HOP | ADDRESS),
    )
    assert found == (
        InterfaceInfo(
            role=0, index=7, address=IPv4Address("192.0.2.1"), name="ge-0/0/1", mtu_bytes=9000
        ),
        InterfaceInfo(role=3, address=IPv6Address("2001:db8::1")),
    )


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (INDEX, b"\0\0\0"),
        (ADDRESS, struct.pack("!HH", 3, 0) + bytes(16)),
        (ADDRESS, struct.pack("!HH", 2, 0) + bytes(4)),
        (ADDRESS, b""),
        (NAME, b""),
        (NAME, b"\0abc"),
        (NAME, b"\x10abc"),
        (NAME, bytes([68]) + bytes(67)),
        (INDEX | MTU, bytes(6)),
    ],
)
def test_a_damaged_interface_is_left_out_and_the_next_one_kept(kind: int, data: bytes) -> None:
    good = item(struct.pack("!I", 3), number=2, kind=OUTGOING | INDEX)
    found = about(4, item(data, number=2, kind=kind), good)
    assert found == (InterfaceInfo(role=2, index=3),)


def test_a_name_is_printable() -> None:
    (found,) = about(4, item(name(b"a\x1b[2J\xff\nb"), number=2, kind=NAME))
    assert found.name == "a[2J\ufffdb"


@given(st.binary(max_size=80), st.integers(0, 255))
def test_no_interface_object_raises(data: bytes, kind: int) -> None:
    about(4, item(data, number=2, kind=kind))
