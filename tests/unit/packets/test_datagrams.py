"""Payloads whose headers the kernel writes: what it will make of them, computed here."""

from __future__ import annotations

import struct
from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP
from scapy.layers.inet6 import ICMPv6EchoRequest

from emodis.packets.checksum import checksum, ones_sum
from emodis.packets.datagrams import Wording, datagram_id, echo_id, payloads
from emodis.packets.families import IPV4, IPV6, Family
from emodis.packets.flow import IdBlock
from emodis.packets.model import Kind, Probe

HERE, THERE = IPv6Address("2001:db8::1"), IPv6Address("2001:db8::2")
UDP = Wording(kind=Kind.UDP, token=0xBEEF)


def probes(*sizes: int) -> list[Probe]:
    return [Probe(ttl=7, size_bytes=size) for size in sizes]


def split(data: bytearray, sizes: list[int]) -> list[bytes]:
    parts, at = [], 0
    for size in sizes:
        parts.append(bytes(data[at : at + size]))
        at += size
    assert at == len(data)
    return parts


@pytest.mark.parametrize(("family", "headers"), [(IPV4, 28), (IPV6, 48)])
def test_datagrams_have_the_wished_size_with_their_headers_and_tell_their_ids(
    family: Family, headers: int
) -> None:
    data, sizes = payloads(UDP, family, probes(60, 500, 1500), IdBlock(0xFFFE, 3))
    assert [size + headers for size in sizes] == [60, 500, 1500]
    parts = split(data, sizes)
    assert [datagram_id(part, 0xBEEF) for part in parts] == [0xFFFE, 1, 2]
    assert [datagram_id(part, 0xBEEE) for part in parts] == [None] * 3
    assert datagram_id(parts[0][:3], 0xBEEF) is None


@given(
    ident=st.integers(1, 0xFFFF),
    check=st.integers(1, 0xFFFE),
    first=st.integers(1, 0xFFFE),
    size=st.integers(60, 1500),
    six=st.booleans(),
)
def test_the_kernel_will_compute_the_same_checksum_for_every_echo(
    ident: int, check: int, first: int, size: int, six: bool
) -> None:
    family = IPV6 if six else IPV4
    pseudo = HERE.packed + THERE.packed if six else b""
    wording = Wording(kind=Kind.ICMP_ECHO, token=0, check=check, ident=ident, pseudo=pseudo)
    ids = IdBlock(first, 5)
    for index, part in enumerate(split(*payloads(wording, family, probes(*[size] * 5), ids))):
        # What ping sockets fill in: the id, then the checksum.
        filled = bytearray(part)
        struct.pack_into("!H", filled, 4, ident)
        covered = bytes(filled)
        if six:
            covered = pseudo + struct.pack("!II", len(filled), 58) + covered
        assert checksum(covered) == check
        struct.pack_into("!H", filled, 2, check)
        seen = ICMPv6EchoRequest(bytes(filled)) if six else ICMP(bytes(filled))
        assert (seen.type, seen.code) == (128 if six else 8, 0)
        assert (seen.id, seen.seq) == (ident, ids.at(index))
        assert echo_id(bytes(filled), family.echo_request) == ids.at(index)
        assert echo_id(bytes(filled), family.echo_reply) is None
        assert six or ones_sum(bytes(filled)) == 0


def test_too_little_of_an_echo_has_no_id() -> None:
    assert echo_id(b"\x08\0\0\0\0\0\0", 8) is None


@pytest.mark.parametrize("probe", [Probe(ttl=0, size_bytes=60), Probe(ttl=256, size_bytes=60)])
def test_a_ttl_that_does_not_exist_is_refused(probe: Probe) -> None:
    with pytest.raises(ValueError, match=r"outside 1\.\.255"):
        payloads(UDP, IPV4, [probe], IdBlock(1, 1))


@pytest.mark.parametrize("size", [31, 1501])
def test_a_size_without_room_for_the_id_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=rf"of {size} bytes is outside 32\.\.1500"):
        payloads(UDP, IPV4, probes(size), IdBlock(1, 1))
