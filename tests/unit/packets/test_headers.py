from __future__ import annotations

import socket
import struct

import pytest
from scapy.layers.inet6 import ICMPv6TimeExceeded, IPv6

from emodis.packets.headers import with_header
from emodis.packets.mmsg import Received
from tests.unit.packets.answers import HERE6, ROUTER6, icmp6_error

NAME = struct.pack("@HHI16sI", socket.AF_INET6, 0, 0, socket.inet_pton(10, ROUTER6), 0)
HOPS = (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT, struct.pack("@i", 61))
INFO = (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, HERE6.packed + b"\1\0\0\0")


def test_the_packet_is_whole_again() -> None:
    sent = icmp6_error(b"quoted")
    whole = with_header(Received(sent[40:], (HOPS, INFO), NAME), 58)
    assert whole == sent
    packet = IPv6(whole)
    assert (packet.src, packet.dst, packet.hlim) == (ROUTER6, str(HERE6), 61)
    assert ICMPv6TimeExceeded in packet


@pytest.mark.parametrize(
    ("control", "name"),
    [((HOPS,), NAME), ((INFO,), NAME), ((HOPS, INFO), b""), (((*HOPS[:2], b"\1"), INFO), NAME)],
)
def test_what_the_kernel_does_not_describe_is_nothing(
    control: tuple[tuple[int, int, bytes], ...], name: bytes
) -> None:
    assert with_header(Received(b"12345678", control, name), 58) is None
