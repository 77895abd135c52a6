"""The destination's socket over loopback: who is answered, from which address, when."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from emodis.packets.answering import AnsweringSocket, open_answering
from emodis.packets.invitation import INVITATION_AT, invitation, read_answer

TAG = b"sesame42"
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


@pytest.fixture
def listening() -> Iterator[tuple[AnsweringSocket, ...]]:
    sockets = open_answering(TAG)
    yield sockets
    for each in sockets:
        each.close()


def probe(tag: bytes, *, asks: bool = True, probe_id: int = 7) -> bytes:
    head = bytes(INVITATION_AT) + invitation(tag, asks=asks, probe_id=probe_id)
    return head + bytes(12)


@pytest.mark.parametrize(("version", "place"), [(4, "127.0.0.9"), (6, "::1")])
def test_only_who_knows_the_tag_and_asks_is_answered(
    listening: tuple[AnsweringSocket, ...], version: int, place: str
) -> None:
    ours = dict(zip((4, 6), listening, strict=False)).get(version)
    if ours is None:
        pytest.skip("no IPv6 here")
    with socket.socket(FAMILIES[version], socket.SOCK_DGRAM) as asking:
        # Connected: an answer from another address than the one asked would not be seen.
        asking.connect((place, ours.port))
        asking.settimeout(5)
        for words in (b"", b"x" * 400, probe(b"somebody"), probe(TAG, asks=False), probe(TAG)):
            asking.send(words)
        before_ns = time.time_ns()
        assert ours.serve(64) == 1
        arrived = read_answer(asking.recv(100), TAG)
    assert arrived is not None
    assert arrived.probe_id == 7
    assert arrived.by_kernel
    assert abs(before_ns - arrived.at_ns) < 5_000_000_000


def test_one_port_for_every_version(listening: tuple[AnsweringSocket, ...]) -> None:
    assert len({each.port for each in listening}) == 1


def test_it_does_not_answer_more_than_it_may(listening: tuple[AnsweringSocket, ...]) -> None:
    first = listening[0]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for _ in range(5):
            asking.sendto(probe(TAG), ("127.0.0.1", first.port))
    assert first.serve(2) == 2
    assert first.serve(64) == 3
