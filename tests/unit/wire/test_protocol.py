from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.testing import StringTransport
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.python.failure import Failure

from emodis.wire.framing import CAP_BEFORE_WELCOME_BYTES, FrameTooLarge, encode_frame
from emodis.wire.protocol import Wire
from emodis.wire.v1.agent_pb2 import FromAgent, RunResult, ToAgent
from emodis.wire.v1.common_pb2 import Hello, Keepalive, Outcome, Welcome


def frame(sequence: int) -> bytes:
    return encode_frame(FromAgent(keepalive=Keepalive(sequence=sequence)).SerializeToString())


@attrs.define
class Rig:
    """The master's end of a connection, on a transport made of memory."""

    transport: StringTransport = attrs.field(
        factory=lambda: StringTransport(peerAddress=IPv4Address("TCP", "10.0.0.9", 5))
    )
    heard: list[int] = attrs.field(factory=list)
    closed: list[str] = attrs.field(factory=list)
    wire: Wire[FromAgent, ToAgent] = attrs.field(factory=lambda: Wire(FromAgent))

    def __attrs_post_init__(self) -> None:
        self.wire.on_message = lambda message: self.heard.append(message.keepalive.sequence)
        self.wire.on_closed = self.closed.append
        self.wire.makeConnection(self.transport)

    def lose(self, reason: type[Exception] = ConnectionDone) -> None:
        self.wire.connectionLost(Failure(reason()))


def test_a_message_is_heard_once_its_last_byte_is_there() -> None:
    rig = Rig()
    rig.wire.dataReceived(frame(1)[:-1])
    before = list(rig.heard)
    rig.wire.dataReceived(frame(1)[-1:])
    assert (before, rig.heard) == ([], [1])


@given(data=st.lists(st.binary(max_size=200), max_size=10))
def test_no_garbage_raises_and_the_end_is_told_once(data: list[bytes]) -> None:
    rig = Rig()
    for piece in data:
        rig.wire.dataReceived(piece)
    rig.lose()
    assert len(rig.closed) == 1


def test_undecodable_frames_end_it() -> None:
    rig = Rig()
    rig.wire.dataReceived(encode_frame(b"\xff\xff") + frame(1))
    rig.wire.dataReceived(frame(2))
    rig.lose(ConnectionLost)
    assert rig.transport.disconnected
    assert (rig.heard, rig.closed) == ([], ["undecodable frame"])


def test_large_frames_only_after_welcome() -> None:
    large = FromAgent(run_result=RunResult(outcome=Outcome(observations=bytes(70_000))))
    data = encode_frame(large.SerializeToString())
    early = Rig()
    early.wire.dataReceived(data)
    early.lose(ConnectionLost)
    assert early.closed == [f"frame too large: 70012 bytes, cap {CAP_BEFORE_WELCOME_BYTES}"]
    welcomed = Rig()
    welcomed.wire.welcomed()
    welcomed.wire.dataReceived(data)
    assert welcomed.heard == [0]


def test_after_closing_what_still_arrives_is_not_listened_to() -> None:
    rig = Rig()
    rig.wire.on_message = lambda message: rig.wire.close("enough")
    rig.wire.dataReceived(frame(1) + frame(2))
    rig.wire.on_message = lambda message: rig.heard.append(message.keepalive.sequence)
    rig.wire.dataReceived(frame(3))
    rig.lose()
    assert (rig.heard, rig.closed) == ([], ["enough"])


def test_what_was_said_before_closing_is_still_sent_and_nothing_after() -> None:
    rig = Rig()
    rig.wire.send(ToAgent(welcome=Welcome(session_id="s")))
    rig.wire.close("enough")
    sent = rig.transport.value()
    rig.wire.send(ToAgent(welcome=Welcome(session_id="t")))
    assert (rig.transport.value(), rig.transport.disconnecting) == (sent, True)


def test_closing_that_takes_too_long_can_be_cut_and_keeps_its_reason() -> None:
    rig = Rig()
    rig.wire.close("enough")
    rig.wire.abort("too slow")
    rig.lose(ConnectionLost)
    assert rig.transport.disconnected
    assert rig.closed == ["enough"]


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (ConnectionDone, "the other side closed the connection"),
        (ConnectionLost, "the connection broke: Connection to the other side was lost"),
    ],
)
def test_an_end_by_the_other_side_has_a_reason(reason: type[Exception], text: str) -> None:
    rig = Rig()
    rig.lose(reason)
    assert rig.closed[0].startswith(text)
    rig.wire.abort("late")
    rig.wire.close("later")
    rig.wire.send(ToAgent())


def _broken(message: FromAgent) -> None:
    raise KeyError("no such\nagent")


@pytest.mark.parametrize("opened", [True, False])
def test_a_mistake_of_ours_ends_one_connection_in_one_line(opened: bool) -> None:
    wire: Wire[FromAgent, ToAgent] = Wire(FromAgent)
    rig = Rig(wire=wire)
    if opened:
        wire.on_opened = lambda: _broken(FromAgent())
        wire.makeConnection(rig.transport)
    else:
        wire.on_message = _broken
        wire.dataReceived(frame(1))
    rig.lose(ConnectionLost)
    assert rig.transport.disconnected
    (line,) = rig.closed
    assert line.startswith("an error of our own: KeyError: 'no such\\nagent' (test_protocol.py:")


def test_a_mistake_while_closing_is_one_line_too() -> None:
    rig = Rig()
    rig.wire.on_closed = _raise
    with capturedLogs() as events:
        rig.lose()
    lines = [formatEvent(event) for event in events if event["log_level"] is LogLevel.error]
    assert len(lines) == 1
    assert lines[0].startswith("while closing (the other side closed the connection): RuntimeError")


def _raise(reason: str) -> None:
    raise RuntimeError(reason)


def test_a_message_above_the_cap_is_the_senders_mistake() -> None:
    rig = Rig()
    with pytest.raises(FrameTooLarge):
        rig.wire.send(ToAgent(welcome=Welcome(software="x" * (1 << 21))))
    assert rig.transport.value() == b""


def test_unknown_members_are_decoded_as_nothing() -> None:
    kinds: list[str | None] = []
    rig = Rig()
    handler: Callable[[FromAgent], None] = lambda m: kinds.append(m.WhichOneof("body"))  # noqa: E731
    rig.wire.on_message = handler
    # Field 500, a string: nobody has it yet.
    rig.wire.dataReceived(encode_frame(b"\xa2\x1f\x01x"))
    rig.wire.dataReceived(encode_frame(FromAgent(hello=Hello()).SerializeToString()))
    assert kinds == [None, "hello"]


def test_the_peer_has_an_address_while_there_is_one() -> None:
    unconnected: Wire[FromAgent, ToAgent] = Wire(FromAgent)
    assert (unconnected.peer_host, Rig().wire.peer_host) == ("", "10.0.0.9")
