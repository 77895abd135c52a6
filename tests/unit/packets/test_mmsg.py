"""Real system calls on local sockets; what a raw socket sends is tested in tests/lab."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest

from emodis.packets import mmsg
from emodis.packets.mmsg import ReceiveBatch, Received, SendBatch
from emodis.packets.timestamps import (
    MSG_ERRQUEUE,
    Moment,
    TransmitStamp,
    drops,
    enable_receive,
    enable_transmit,
    received_ns,
    transmit_stamps,
)

LOOPBACK = IPv4Address("127.0.0.1")
Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def local() -> Iterator[Pair]:
    sender, receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with sender, receiver:
        yield sender, receiver


@pytest.fixture
def udp() -> Iterator[Pair]:
    """A sender connected to a receiver, both with stamps on."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
    ):
        receiver.bind((str(LOOPBACK), 0))
        sender.connect(receiver.getsockname())
        assert enable_transmit(sender)
        assert enable_receive(receiver)
        yield sender, receiver


def test_all_that_waits_is_read_however_many_calls_it_takes(local: Pair) -> None:
    sender, receiver = local
    sent = [bytes([index]) * (index + 1) for index in range(7)]
    for data in sent:
        sender.send(data)
    batch = ReceiveBatch(3, 64)
    assert [message.data for message in batch.receive(receiver.fileno())] == sent
    assert list(batch.receive(receiver.fileno())) == []


def test_a_truncated_message_is_left_out(local: Pair) -> None:
    sender, receiver = local
    for data in (b"x" * 65, b"fits"):
        sender.send(data)
    assert [message.data for message in ReceiveBatch(4, 64).receive(receiver.fileno())] == [b"fits"]


def test_what_is_discarded_is_gone(local: Pair) -> None:
    sender, receiver = local
    for _ in range(5):
        sender.send(b"x")
    batch = ReceiveBatch(2, 64)
    batch.discard(receiver.fileno())
    assert list(batch.receive(receiver.fileno())) == []


def test_errors_other_than_an_empty_queue_are_raised() -> None:
    with pytest.raises(OSError, match="Bad file descriptor"):
        list(ReceiveBatch(1, 64).receive(-1))
    with pytest.raises(OSError, match="Bad file descriptor"):
        SendBatch(bytearray(b"1234"), [4], LOOPBACK).send(-1, 0, 1)


def test_arrivals_and_departures_are_stamped_in_order(udp: Pair) -> None:
    sender, receiver = udp
    for index in range(5):
        sender.send(bytes([index]) * 10)
    arrivals = list(ReceiveBatch(3, 64).receive(receiver.fileno()))
    stamps = list(transmit_stamps(ReceiveBatch(4, 1).receive(sender.fileno(), MSG_ERRQUEUE)))
    left = [stamp for stamp in stamps if stamp.moment is Moment.LEFT]
    queued = [stamp for stamp in stamps if stamp.moment is Moment.QUEUED]
    assert [stamp.key for stamp in left] == [stamp.key for stamp in queued] == [0, 1, 2, 3, 4]
    for before, after, arrival in zip(queued, left, arrivals, strict=True):
        received = received_ns(arrival)
        assert received is not None
        assert before.at_ns <= after.at_ns <= received


def test_enabling_again_counts_from_zero(udp: Pair) -> None:
    sender, _ = udp
    batch = ReceiveBatch(4, 1)
    sender.send(b"x")
    assert {s.key for s in transmit_stamps(batch.receive(sender.fileno(), MSG_ERRQUEUE))} == {0}
    enable_transmit(sender)
    sender.send(b"x")
    assert {s.key for s in transmit_stamps(batch.receive(sender.fileno(), MSG_ERRQUEUE))} == {0}


def test_drops_are_counted_when_the_queue_is_full(udp: Pair) -> None:
    sender, receiver = udp
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    assert drops(receiver) == 0
    for _ in range(50):
        sender.send(b"x" * 100)
    kept = len(list(ReceiveBatch(64, 256).receive(receiver.fileno())))
    assert drops(receiver) == 50 - kept > 0


@pytest.mark.parametrize(
    "control",
    [
        (),
        ((1, 37, b"short"), (0, 11, b"short")),
        ((1, 37, bytes(48)),),
        ((0, 11, bytes(16)),),
        ((1, 37, bytes(48)), (0, 11, bytes(16))),
    ],
)
def test_control_messages_of_another_kind_are_no_stamps(
    control: tuple[tuple[int, int, bytes], ...],
) -> None:
    message = Received(b"", control)
    assert received_ns(message) is None
    stamps: list[TransmitStamp] = list(transmit_stamps(iter([message])))
    assert stamps == []


def test_a_flood_does_not_keep_a_reader(local: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packets come faster than they are read: the queue is never empty."""
    sender, receiver = local
    there = ReceiveBatch._call

    def refilled(self: ReceiveBatch, fd: int, flags: int) -> int:
        for _ in range(8):
            sender.send(b"again", socket.MSG_DONTWAIT)
        return there(self, fd, flags)

    monkeypatch.setattr(ReceiveBatch, "_call", refilled)
    monkeypatch.setattr(mmsg, "LARGEST_HAUL", 32)
    batch = ReceiveBatch(8, 16)
    assert len(list(batch.receive(receiver.fileno()))) == 32
    batch.discard(receiver.fileno())
    # The next one begins where this one stopped.
    assert len(list(batch.receive(receiver.fileno()))) == 32
