from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from emodis.prober.protocol import Channel, RunInterrupt
from emodis.wire.framing import CAP_BYTES, PREFIX, FrameReader, encode_frame
from emodis.wire.v1.common_pb2 import Relay, RunKey
from emodis.wire.v1.prober_pb2 import (
    FromProber,
    ProberAbort,
    ProberProgress,
    ProberRun,
    ToProber,
)

KEY, OTHER = RunKey(measurement_id="m", destination=1), RunKey(measurement_id="m", destination=2)
Ends = tuple[socket.socket, Channel]


@pytest.fixture
def ends() -> Iterator[Ends]:
    daemon, worker = socket.socketpair()
    with daemon, worker:
        yield daemon, Channel(worker)


def framed(message: ToProber) -> bytes:
    return encode_frame(message.SerializeToString())


RUN = ToProber(run=ProberRun(run=KEY))


def abort(key: RunKey) -> bytes:
    return framed(ToProber(abort=ProberAbort(run=key)))


def test_messages_come_in_order_however_they_are_cut(ends: Ends) -> None:
    daemon, channel = ends
    data = framed(RUN) + abort(KEY)
    daemon.sendall(data[:7])
    channel.poll()
    daemon.sendall(data[7:])
    assert channel.next() == RUN
    second = channel.next()
    assert second is not None
    assert second.abort.run == KEY


def test_a_daemon_that_hangs_up_is_seen(ends: Ends) -> None:
    daemon, channel = ends
    daemon.close()
    assert channel.next() is None
    assert channel.closed


def test_work_from_a_daemon_that_is_gone_is_not_begun(ends: Ends) -> None:
    daemon, channel = ends
    daemon.sendall(framed(RUN))
    daemon.close()
    channel.poll()
    assert channel.next() is None


@pytest.mark.parametrize("data", [b"\0\0\0\x02\xff\xff", PREFIX.pack(CAP_BYTES + 1)])
def test_garbage_is_the_end_of_it(ends: Ends, data: bytes) -> None:
    daemon, channel = ends
    daemon.sendall(data)
    assert channel.next() is None
    assert channel.closed


def test_what_is_sent_is_framed(ends: Ends) -> None:
    daemon, channel = ends
    message = FromProber(progress=ProberProgress(run=KEY, done=1, total=2))
    channel.send(message)
    assert [FromProber.FromString(frame) for frame in FrameReader().feed(daemon.recv(4096))] == [
        message
    ]


def test_sending_to_a_daemon_that_is_gone_is_no_error(ends: Ends) -> None:
    daemon, channel = ends
    daemon.close()
    channel.send(FromProber(progress=ProberProgress(run=KEY)))
    assert channel.closed


class TestInterrupt:
    def test_nobody_asks_to_stop(self, ends: Ends) -> None:
        assert not RunInterrupt(ends[1], KEY).waiting()

    def test_an_abort_of_this_run_does(self, ends: Ends) -> None:
        daemon, channel = ends
        interrupt = RunInterrupt(channel, KEY)
        daemon.sendall(abort(KEY))
        assert interrupt.waiting()
        assert interrupt.waiting()

    def test_an_abort_of_another_run_does_not(self, ends: Ends) -> None:
        daemon, channel = ends
        daemon.sendall(abort(OTHER))
        assert not RunInterrupt(channel, KEY).waiting()

    def test_the_end_of_the_daemon_does(self, ends: Ends) -> None:
        daemon, channel = ends
        daemon.close()
        assert RunInterrupt(channel, KEY).waiting()


def test_the_words_of_its_own_partner_are_heard_and_no_others(ends: Ends) -> None:
    daemon, channel = ends
    interrupt = RunInterrupt(channel, KEY)
    for key, words in ((KEY, b"one"), (OTHER, b"two"), (KEY, b"three")):
        daemon.sendall(framed(ToProber(relay=Relay(run=key, words=words))))
    daemon.sendall(framed(RUN))
    assert interrupt.relayed() == [b"one", b"three"]
    assert interrupt.relayed() == []
    assert not interrupt.waiting()
    assert channel.next() == RUN
