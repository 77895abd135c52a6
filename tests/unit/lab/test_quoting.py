from __future__ import annotations

import struct

import pytest

from emodis.lab.quoting import checksum, time_exceeded

OWN = frozenset({bytes([10, 1, 0, 2])})


def packet(
    *,
    to: bytes = bytes([10, 2, 0, 1]),
    protocol: int = 17,
    payload: bytes = bytes(range(40)),
    offset: int = 0,
) -> bytes:
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 7, offset, 1, protocol, 0)
    return head + bytes([10, 1, 0, 1]) + to + payload


def test_a_quote_is_the_header_and_eight_bytes() -> None:
    expired = packet()
    message = time_exceeded(expired, OWN, 8)
    assert message[:2] == b"\x0b\0"
    assert message[8:] == expired[:28]
    assert checksum(message) == 0


def test_a_quote_is_no_longer_than_the_packet_and_without_its_padding() -> None:
    expired = packet(payload=b"abc")
    assert time_exceeded(expired + bytes(23), OWN, 8)[8:] == expired


@pytest.mark.parametrize(
    "unanswered",
    [
        packet(to=bytes([10, 1, 0, 2])),
        packet(protocol=1, payload=b"\x0b" + bytes(30)),
        packet(offset=100),
    ],
)
def test_no_error_about_errors_later_fragments_and_what_has_arrived(unanswered: bytes) -> None:
    assert time_exceeded(unanswered, OWN, 8) == b""


def test_echo_requests_are_answered() -> None:
    assert time_exceeded(packet(protocol=1, payload=b"\x08" + bytes(30)), OWN, 8)
