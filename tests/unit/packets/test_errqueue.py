"""Messages of an error queue, as the kernel lays them out."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emodis.packets.errqueue import QueuedError, queued_error, received_ttl
from emodis.packets.families import IPV4, IPV6, Family
from emodis.packets.mmsg import Received
from emodis.packets.model import ReplyKind

ROUTER = IPv4Address("192.0.2.7")
ROUTER_6 = IPv6Address("2001:db8::7")
STAMP = (1, 35, struct.pack("@ll", 12, 34))


def error(origin: int, icmp_type: int, code: int) -> bytes:
    return struct.pack("@IBBBBII", 113, origin, icmp_type, code, 0, 0, 0)


def offender(router: IPv4Address = ROUTER) -> bytes:
    return struct.pack("@HH4s8x", 2, 0, router.packed)


def message(*control: tuple[int, int, bytes], data: bytes = b"quoted") -> Received:
    return Received(data, control)


def ttl(value: int) -> tuple[int, int, bytes]:
    return (0, 2, struct.pack("@i", value))


def test_an_error_says_who_sent_it_and_what_it_quotes() -> None:
    queued = message(STAMP, ttl(61), (0, 11, error(2, 11, 0) + offender()))
    assert queued_error(queued, IPV4) == QueuedError(
        ROUTER, ReplyKind.TIME_EXCEEDED, 11, 0, 61, b"quoted", 12_000_000_034
    )


def test_an_error_of_ipv6_does_too() -> None:
    place = struct.pack("@HHI16sI", 10, 0, 0, ROUTER_6.packed, 0)
    hop_limit = (41, 52, struct.pack("@i", 60))
    queued = message(hop_limit, (41, 25, error(3, 1, 4) + place))
    assert queued_error(queued, IPV6) == QueuedError(
        ROUTER_6, ReplyKind.UNREACHABLE, 1, 4, 60, b"quoted", None
    )


def test_that_a_packet_is_too_big_is_a_type_of_its_own_in_ipv6() -> None:
    place = struct.pack("@HHI16sI", 10, 0, 0, ROUTER_6.packed, 0)
    found = queued_error(message((41, 25, error(3, 2, 0) + place)), IPV6)
    assert found is not None
    assert (found.kind, found.icmp_type) == (ReplyKind.UNREACHABLE, 2)


@pytest.mark.parametrize(
    "control",
    [
        pytest.param((0, 11, error(4, 0, 0) + offender()), id="a stamp"),
        pytest.param((0, 11, error(1, 0, 0) + offender()), id="an error of this host"),
        pytest.param((0, 11, error(2, 12, 0) + offender()), id="a parameter problem"),
        pytest.param((0, 11, error(3, 3, 0) + offender()), id="of the other family"),
        pytest.param((0, 11, error(2, 11, 0)), id="without its sender"),
        pytest.param((0, 11, error(2, 11, 0) + offender()[:7]), id="cut off"),
        pytest.param((0, 11, b""), id="empty"),
        pytest.param((1, 11, error(2, 11, 0) + offender()), id="at another level"),
    ],
)
def test_whatever_else_is_there_is_no_error(control: tuple[int, int, bytes]) -> None:
    assert queued_error(message(ttl(64), control), IPV4) is None


def test_without_a_ttl_it_is_unknown() -> None:
    assert received_ttl(message((0, 2, b"\1")), IPV4) == 0
    assert received_ttl(message(), IPV6) == 0


@given(
    family=st.sampled_from([IPV4, IPV6]),
    control=st.lists(
        st.tuples(st.sampled_from([0, 1, 41]), st.integers(0, 60), st.binary(max_size=64))
    ),
    data=st.binary(max_size=64),
)
def test_no_bytes_can_harm(
    family: Family, control: list[tuple[int, int, bytes]], data: bytes
) -> None:
    queued_error(Received(data, tuple(control)), family)
