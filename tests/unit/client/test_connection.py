from __future__ import annotations

import attrs
import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import ConnectionRefusedError as Refusal
from twisted.internet.interfaces import IProtocol
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure

from emodis.client.calls import AgentsCall, Call, RequestCall
from emodis.client.connection import Conversation, hello
from emodis.client.finish import Finish, Way
from emodis.wire.framing import CAP_BEFORE_WELCOME_BYTES, PREFIX, FrameReader, encode_frame
from emodis.wire.v1.client_pb2 import AgentEntry, AgentList, FromClient, Request, ToClient
from emodis.wire.v1.common_pb2 import END_DONE, KeepaliveReply, Role, Welcome
from tests.unit.client.builders import accepted, call, ended, result

WELCOME = Welcome(protocol=1, interval_s=15, agent_timeout_s=45, master_timeout_s=52)


@attrs.define(eq=False)
class Rig:
    """A conversation over a transport in memory."""

    call: Call = attrs.field(factory=lambda: RequestCall(Request(call=call("ping"))))
    reactor: MemoryReactorClock = attrs.field(factory=MemoryReactorClock)
    told: list[ToClient] = attrs.field(factory=list)
    remarks: list[str] = attrs.field(factory=list)
    finishes: list[Finish] = attrs.field(factory=list)
    conversation: Conversation = attrs.field(init=False)
    protocol: IProtocol | None = None
    transport: StringTransport = attrs.field(factory=StringTransport)
    _reader: FrameReader = attrs.field(factory=FrameReader)

    def __attrs_post_init__(self) -> None:
        self.conversation = Conversation(
            clock=self.reactor,
            endpoint=TCP4ClientEndpoint(self.reactor, "127.0.0.1", 4711),
            hello=hello("me", boot_id=bytes(16)),
            call=self.call,
            on_message=self.told.append,
            remark=self.remarks.append,
        )
        ending: Deferred[Finish] = self.conversation.start()
        _ = ending.addCallback(self.finishes.append)

    def connect(self) -> None:
        factory = self.reactor.tcpClients[0][2]
        self.protocol = factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 4711))
        assert self.protocol is not None
        self.protocol.makeConnection(self.transport)

    def receive(self, *messages: ToClient) -> None:
        assert self.protocol is not None
        for message in messages:
            self.protocol.dataReceived(encode_frame(message.SerializeToString()))

    def raw(self, data: bytes) -> None:
        assert self.protocol is not None
        self.protocol.dataReceived(data)

    def close(self) -> None:
        assert self.protocol is not None
        self.protocol.connectionLost(Failure(Refusal()))

    def sent(self) -> list[str]:
        data = self.transport.value()
        self.transport.clear()
        frames = [FromClient.FromString(frame) for frame in self._reader.feed(data)]
        return [frame.WhichOneof("body") or "" for frame in frames]

    def greeted(self) -> Rig:
        self.connect()
        self.receive(ToClient(welcome=WELCOME))
        return self

    def finish(self) -> Finish:
        assert len(self.finishes) == 1
        assert self.reactor.getDelayedCalls() == []
        return self.finishes[0]


def reply() -> ToClient:
    return ToClient(keepalive_reply=KeepaliveReply(sequence=1))


def test_a_request_from_hello_to_goodbye() -> None:
    rig = Rig()
    rig.connect()
    assert rig.sent() == ["hello"]
    rig.receive(ToClient(welcome=WELCOME))
    assert rig.sent() == ["request"]
    rig.receive(accepted(call("ping")), ToClient(result=result("ams", None)), ended({END_DONE: 1}))
    assert [message.WhichOneof("body") for message in rig.told] == ["accepted", "result", "ended"]
    assert rig.sent() == ["goodbye"]
    assert rig.transport.disconnecting
    rig.close()
    assert rig.finish().way is Way.COMPLETE


def test_hello_asks_to_be_a_manager() -> None:
    introduced = hello("me", "secret", bytes(16))
    assert (introduced.role, introduced.token) == (Role.ROLE_MANAGER, "secret")
    assert introduced.software.startswith("emodis-client ")


def test_only_a_reply_resets_the_count_of_silence() -> None:
    rig = Rig().greeted()
    rig.receive(accepted(call("ping")))
    rig.reactor.advance(30)
    rig.receive(ToClient(result=result("ams", None)))
    rig.reactor.advance(14.9)
    assert not rig.finishes
    rig.receive(reply())
    rig.reactor.advance(44.9)
    assert not rig.finishes
    rig.reactor.advance(0.2)
    rig.close()
    assert rig.finish() == Finish(way=Way.LOST, text="the master has been silent for 45 seconds")


def test_news_are_no_sign_of_life() -> None:
    rig = Rig().greeted()
    rig.receive(accepted(call("ping")))
    rig.reactor.advance(30)
    rig.receive(ToClient(result=result("ams", None)))
    rig.reactor.advance(15.1)
    rig.close()
    assert rig.finish().way is Way.LOST


def test_it_keeps_alive_at_the_masters_interval() -> None:
    rig = Rig().greeted()
    rig.receive(accepted(call("ping")))
    rig.sent()
    rig.reactor.advance(14.9)
    assert rig.sent() == []
    rig.reactor.advance(0.2)
    rig.reactor.advance(15)
    assert rig.sent() == ["keepalive", "keepalive"]


def test_no_connection() -> None:
    rig = Rig()
    factory = rig.reactor.tcpClients[0][2]
    factory.clientConnectionFailed(rig.reactor.connectors[0], Failure(Refusal()))
    finish = rig.finish()
    assert finish.way is Way.UNREACHABLE
    assert "refused" in finish.text


def test_a_dial_that_leads_nowhere_is_given_up() -> None:
    rig = Rig()
    rig.reactor.advance(16)
    assert rig.finish().text == "no connection within 15 seconds"


def test_a_mute_listener_is_given_up() -> None:
    rig = Rig()
    rig.connect()
    rig.reactor.advance(10.1)
    assert rig.transport.disconnecting
    rig.reactor.advance(1.1)
    rig.close()
    finish = rig.finish()
    assert finish.way is Way.UNREACHABLE
    assert "no Welcome within 10 seconds" in finish.text


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x00\x00\x00\x02\xff\xff", "undecodable frame"),
        (PREFIX.pack(CAP_BEFORE_WELCOME_BYTES + 1), "frame too large"),
        (b"HTTP/1.1 400 Bad Request\r\n", "frame too large"),
    ],
)
def test_garbage_instead_of_a_welcome(data: bytes, why: str) -> None:
    rig = Rig()
    rig.connect()
    rig.raw(data)
    rig.close()
    finish = rig.finish()
    assert finish.way is Way.UNREACHABLE
    assert why in finish.text


def test_garbage_in_mid_measurement_keeps_what_has_come() -> None:
    rig = Rig().greeted()
    rig.receive(accepted(call("ping")), ToClient(result=result("ams", None)))
    rig.raw(b"\x00\x00\x00\x02\xff\xff")
    rig.close()
    assert len(rig.told) == 2
    assert rig.finish() == Finish(way=Way.LOST, text="undecodable frame")


def test_messages_newer_than_this_client_are_remarked_once_and_ignored() -> None:
    rig = Rig().greeted()
    rig.raw(b"\x00\x00\x00\x03\xfa\x0a\x00" * 2)
    assert rig.remarks == ["the master sent a message newer than this client; it was ignored"]
    assert not rig.finishes


def test_an_interrupt_while_dialling_ends_it_at_once() -> None:
    rig = Rig()
    rig.conversation.interrupt()
    assert rig.finish().way is Way.INTERRUPTED


def test_an_interrupt_sends_a_cancel_before_it_goes() -> None:
    rig = Rig().greeted()
    rig.receive(accepted(call("ping")))
    rig.sent()
    rig.conversation.interrupt()
    assert rig.sent() == ["cancel"]
    rig.receive(ToClient(result=result("ams", None)))
    rig.reactor.advance(2.1)
    assert rig.sent() == ["goodbye"]
    rig.reactor.advance(1.1)
    rig.close()
    assert rig.finish().way is Way.INTERRUPTED
    assert len(rig.told) == 2


def test_our_own_patience_cancels() -> None:
    rig = Rig(call=RequestCall(Request(call=call("ping"), timeout_s=5)))
    rig.greeted().receive(accepted(call("ping")))
    rig.sent()
    rig.reactor.advance(35.1)
    assert rig.sent() == ["keepalive", "cancel", "goodbye"]
    rig.close()
    assert rig.finish().way is Way.OVERDUE


def test_a_directory_is_read_page_by_page() -> None:
    rig = Rig(call=AgentsCall(""))
    rig.greeted()
    first = AgentList(agents=[AgentEntry(id="a")], next_cursor="a")
    rig.receive(ToClient(agents=first))
    rig.receive(ToClient(agents=AgentList(agents=[AgentEntry(id="b")])))
    assert rig.sent() == ["hello", "list_agents", "list_agents", "goodbye"]
    rig.close()
    assert rig.finish().way is Way.COMPLETE


def test_a_master_that_repeats_a_page_does_not_hold_us_for_ever() -> None:
    rig = Rig(call=AgentsCall(""))
    rig.greeted()
    page = ToClient(agents=AgentList(agents=[AgentEntry(id="a")], next_cursor="a"))
    rig.receive(page, page)
    rig.close()
    assert rig.finish().way is Way.COMPLETE
