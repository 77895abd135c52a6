from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.address import IPv4Address as Peer
from twisted.internet.interfaces import IPushProducer

from emodis.master.agent_session import AgentFactory
from emodis.master.config import Limits
from emodis.master.connection import OUTBOX_BYTES
from emodis.wire.framing import encode_frame
from emodis.wire.v1.agent_pb2 import FromAgent, RunResult
from emodis.wire.v1.client_pb2 import FromClient, ListAgents, ToClient
from emodis.wire.v1.common_pb2 import (
    CODE_BAD_REQUEST,
    CODE_FENCED,
    CODE_FULL,
    CODE_OUT_OF_ORDER,
    CODE_SILENT,
    CODE_VERSION,
    ROLE_MANAGER,
    Goodbye,
    RunKey,
)
from tests.unit.master.house import (
    UNIX_NS,
    House,
    agent_hello,
    client_hello,
    keepalive_agent,
    keepalive_client,
)


def test_welcome_names_all_five_times_and_both_clocks() -> None:
    house = House()
    agent = house.stranger_agent()
    agent.say(FromAgent(hello=agent_hello()))
    (message,) = agent.heard()
    welcome = message.welcome
    assert welcome.protocol == 1
    assert (welcome.interval_s, welcome.agent_timeout_s, welcome.master_timeout_s) == (15, 45, 52)
    assert (welcome.reconnect_floor_s, welcome.rtt_max_s) == (30, 5)
    assert welcome.master_clock_ns == house.now_ns()
    assert welcome.master_unix_ns == UNIX_NS + house.now_ns()


def test_both_version_ranges_are_named_when_there_is_none_in_common() -> None:
    house = House()
    agent, client = house.stranger_agent(), house.stranger_client()
    agent.say(FromAgent(hello=agent_hello(protocol_min=7, protocol_max=9)))
    client.say(FromClient(hello=client_hello(protocol_min=7, protocol_max=9)))
    for refusal in (agent.heard()[0].refusal, client.heard()[0].refusal):
        assert refusal.code == CODE_VERSION
        assert "we speak 1" in refusal.text
        assert "7 to 9" in refusal.text
        assert (refusal.protocol_min, refusal.protocol_max) == (1, 1)
    assert agent.gone
    assert client.gone


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"role": ROLE_MANAGER}, "for agents"),
        ({"boot_id": b"short"}, "16 bytes"),
    ],
)
def test_a_wrong_hello_is_refused(changes: dict[str, Any], words: str) -> None:
    house = House()
    agent = house.stranger_agent()
    agent.say(FromAgent(hello=agent_hello(**changes)))
    (message,) = agent.heard()
    assert message.refusal.code == CODE_BAD_REQUEST
    assert words in message.refusal.text


@pytest.mark.parametrize("agent_id", ["", "with space", "x" * 65, "new\nline"])
def test_an_id_that_could_spoil_a_log_is_refused(agent_id: str) -> None:
    house = House()
    agent = house.stranger_agent()
    agent.say(FromAgent(hello=agent_hello(agent_id, boot_id=b"b" * 16)))
    assert agent.heard()[0].refusal.code == CODE_BAD_REQUEST
    assert len(house.service.members) == 0


def test_one_connection_too_many_is_told_to_come_back() -> None:
    house = House(limits=Limits(connections=1))
    house.agent("a1")
    late = house.stranger_agent()
    late.say(FromAgent(hello=agent_hello("a2")))
    (message,) = late.heard()
    assert message.refusal.code == CODE_FULL
    assert message.refusal.retry_after_s > 0


def test_a_message_before_hello_closes() -> None:
    house = House()
    agent = house.stranger_agent()
    agent.say(keepalive_agent())
    assert agent.heard()[0].refusal.code == CODE_OUT_OF_ORDER
    assert agent.gone


def test_a_half_open_connection_ends_after_the_handshake_timeout_without_a_timer_of_its_own() -> (
    None
):
    house = House()
    strangers = [house.stranger_agent() for _ in range(1000)]
    assert house.clock.getDelayedCalls() == []
    good = house.agent("good")
    house.advance(9)
    assert not any(stranger.gone for stranger in strangers)
    house.advance(2)
    assert all(stranger.gone for stranger in strangers)
    assert not good.gone
    assert len(house.hall.present) == 1


def test_only_the_keepalive_resets_the_timer() -> None:
    house = House()
    agent, client = house.agent(), house.client()
    house.advance(50)
    client.say(FromClient(list_agents=ListAgents(call_id=1)))
    agent.say(FromAgent(run_result=RunResult(run=RunKey(measurement_id="x", agent_id="a1"))))
    house.advance(3)
    assert agent.heard()[-1].goodbye.code == CODE_SILENT
    assert client.heard()[-1].goodbye.code == CODE_SILENT
    assert agent.gone
    assert client.gone
    assert len(house.service.members) == 0


def test_a_keepalive_is_answered_with_the_masters_clock_and_keeps_the_session() -> None:
    house = House()
    agent, client = house.agent(), house.client()
    for sequence in range(5):
        house.advance(15)
        agent.say(keepalive_agent(sequence))
        client.say(keepalive_client(sequence))
        (reply,) = agent.heard()
        assert reply.keepalive_reply.sequence == sequence
        assert reply.keepalive_reply.master_clock_ns == house.now_ns()
    assert not agent.gone
    assert not client.gone


def test_a_master_that_stood_still_blames_nobody() -> None:
    house = House()
    agent = house.agent()
    house.advance(10)
    house.clock.advance(60)
    house.sweep.tick(house.clock.seconds(), pressed=False)
    assert house.sweep.lag_s == pytest.approx(59)
    assert not agent.gone
    house.advance(43)
    assert agent.gone


def test_two_daemons_of_one_identity_the_newer_one_stays() -> None:
    house = House()
    old = house.agent("a1")
    new = house.agent("a1", boot_id=b"n" * 16)
    (goodbye,) = old.heard()
    assert goodbye.goodbye.code == CODE_FENCED
    assert goodbye.goodbye.retry_after_s == 300
    assert "two run" in goodbye.goodbye.text
    assert old.gone
    assert not new.gone
    assert len(house.service.members) == 1
    # What the old one says late does not disturb the new one.
    old.cut()
    new.say(keepalive_agent())
    assert new.names() == ["keepalive_reply"]


def test_garbage_and_oversized_frames_close_the_connection_and_no_other() -> None:
    house = House()
    good = house.agent("good")
    garbage, huge = house.stranger_agent(), house.stranger_client()
    garbage.protocol.dataReceived(encode_frame(b"\xff\xff\xff"))
    huge.protocol.dataReceived(b"\x00\x02\x00\x00")
    assert garbage.gone
    assert huge.gone
    good.say(keepalive_agent())
    assert good.names() == ["keepalive_reply"]


def test_the_log_says_what_was_wrong_and_then_holds_its_tongue() -> None:
    house = House()
    lines: list[str] = []
    house.log.hear = lambda event: lines.append(str(event["line"]))
    for _ in range(100):
        house.stranger_agent().protocol.dataReceived(encode_frame(b"\xff\xff\xff"))
    assert lines == ["agent at 10.1.0.1: closed before Hello: undecodable frame"] * 10


def test_peers_from_elsewhere_are_not_let_in() -> None:
    house = House()
    factory = AgentFactory(house.hall, house.service)
    assert factory.buildProtocol(Peer("TCP", "8.8.8.8", 1)) is None
    assert factory.buildProtocol(Peer("TCP", "10.0.0.1", 1)) is not None


def test_an_agent_may_not_speak_for_another() -> None:
    house = House()
    agent = house.agent("a1")
    agent.say(FromAgent(run_result=RunResult(run=RunKey(measurement_id="m", agent_id="a2"))))
    assert agent.heard()[-1].goodbye.code == CODE_BAD_REQUEST
    assert agent.gone


def test_a_newer_kind_of_message_is_ignored() -> None:
    house = House()
    agent = house.agent()
    agent.protocol.dataReceived(encode_frame(b"\xd2\x02\x00"))  # field 42, empty
    agent.say(keepalive_agent())
    assert agent.names() == ["keepalive_reply"]


def test_an_internal_error_costs_one_session() -> None:
    house = House()
    client, other = house.client("c1"), house.client("c2")
    house.service.list_agents = lambda port, wanted: 1 / 0  # type: ignore[assignment,method-assign]
    client.say(FromClient(list_agents=ListAgents(call_id=1)))
    assert client.gone
    assert not other.gone


def test_goodbye_ends_a_session() -> None:
    house = House()
    agent = house.agent()
    agent.say(FromAgent(goodbye=Goodbye(text="stopping")))
    assert agent.gone
    assert len(house.service.members) == 0


def test_a_client_that_does_not_read_is_cut_off() -> None:
    house = House()
    client = house.client()
    (connection,) = house.hall.present
    message = ToClient(goodbye=Goodbye(text="x" * 100_000))
    IPushProducer(client.line.producer).pauseProducing()
    for _ in range(OUTBOX_BYTES // 100_000):
        connection.send(message)
    assert not client.gone
    connection.send(message)
    assert client.gone
