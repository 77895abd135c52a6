from __future__ import annotations

from ipaddress import ip_address

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost

from emodis.agent.daemon import DIAL_TIMEOUT_S, DRAIN_S
from emodis.wire.hello import KeepaliveTimes
from emodis.wire.v1.agent_pb2 import Ack, ClientStop, FromAgent, RunCancel, ToAgent
from emodis.wire.v1.common_pb2 import (
    CODE_FENCED,
    CODE_FULL,
    CODE_SHUTDOWN,
    CODE_VERSION,
    END_CANCELLED,
    END_DONE,
    ROLE_AGENT,
    Goodbye,
    Hello,
    KeepaliveReply,
    Refusal,
)
from tests.support.agents import AGENT_ID, NS, AgentRig, assignment, run_key, welcome

SHORT = KeepaliveTimes(
    interval_s=1, agent_timeout_s=3, master_timeout_s=4, reconnect_floor_s=3, rtt_max_s=0.5
)


def fired(deferred: Deferred[None]) -> bool:
    return bool(deferred.called)


def kinds(messages: list[FromAgent]) -> list[str | None]:
    return [message.WhichOneof("body") for message in messages]


def results(messages: list[FromAgent]) -> list[tuple[int, str, bool]]:
    """(destination, reason, respooled) of each result."""
    found = [m.run_result for m in messages if m.WhichOneof("body") == "run_result"]
    return [(r.run.destination, r.outcome.ending.reason, r.respooled) for r in found]


def test_hello_says_who_we_are_and_what_we_can() -> None:
    rig = AgentRig()
    rig.daemon.start()
    hello: Hello = rig.endpoint.accept().heard()[0].hello
    assert (hello.protocol_min, hello.protocol_max, hello.role) == (1, 1, ROLE_AGENT)
    assert (hello.id, hello.boot_id) == (AGENT_ID, bytes(16))
    assert hello.addresses == [ip_address("127.0.0.1").packed]
    assert [(c.technique, c.raw, c.families) for c in hello.capabilities] == [
        ("light", True, 1),
        ("train", True, 1),
    ]
    assert (hello.place, list(hello.tags), hello.spooled_runs) == ("Linz", ["dsl"], 0)


def test_online_is_one_line() -> None:
    rig = AgentRig()
    rig.go_online()
    assert rig.log == [f"online at tcp://localhost:4710 as {AGENT_ID} (session s1)"]


def test_keepalives_count_and_say_what_is_in_work() -> None:
    rig = AgentRig()
    line = rig.go_online()
    line.say(assignment=assignment(run_key(1), stop_by_ns=60 * NS))
    line.say(assignment=assignment(run_key(2), stop_by_ns=60 * NS))
    line.heard()
    rig.pass_s(4)
    assert line.heard() == []
    rig.pass_s(26.1)
    alive = [m.keepalive for m in line.heard() if m.WhichOneof("body") == "keepalive"]
    assert [a.sequence for a in alive] == [1, 2]
    assert alive[0].busy == run_key(1)


def test_only_a_reply_to_what_was_asked_resets_the_timer() -> None:
    rig = AgentRig()
    line = rig.go_online()
    rig.pass_s(44.5)
    # All of these are signs of life, and none of them counts.
    line.say(ack=Ack())
    line.say(keepalive_reply=KeepaliveReply(sequence=99))
    line.wire.dataReceived(b"\x00")
    rig.pass_s(0.6)
    assert line.was_cut()
    assert rig.log[-1] == "lost the master (silent for 45 s); dialling again in 30 s"


def test_a_reply_resets_the_timer() -> None:
    rig = AgentRig()
    line = rig.go_online()
    rig.pass_s(15.1)
    line.say(keepalive_reply=KeepaliveReply(sequence=1, master_clock_ns=15 * NS))
    rig.pass_s(44.5)
    assert not line.was_cut()
    rig.pass_s(1)
    assert line.was_cut()


def test_a_silent_master_ends_the_run_at_once_and_empties_the_queue() -> None:
    rig = AgentRig()
    line = rig.go_online()
    for number in (1, 2):
        line.say(assignment=assignment(run_key(number), start_by_ns=100 * NS, stop_by_ns=110 * NS))
    rig.pass_s(45.1)
    assert rig.light.aborted
    assert not rig.light.in_work
    # And says so when it is back, so that the destination can be given to another.
    rig.pass_s(30)
    again = rig.endpoint.accept()
    assert again.heard()[0].hello.spooled_runs == 2
    again.say(welcome=welcome(rig.host.ns()))
    assert results(again.heard()) == [(2, "master_lost", True), (1, "master_lost", True)]


def test_a_machine_that_slept_gives_up_within_a_second_of_waking() -> None:
    rig = AgentRig()
    line = rig.go_online()
    rig.pass_s(3)
    rig.host.sleep(60)
    rig.pass_s(1)
    assert line.was_cut()


def test_a_master_that_never_answers_hello_is_given_up() -> None:
    rig = AgentRig()
    rig.daemon.start()
    line = rig.endpoint.accept()
    rig.pass_s(9.9)
    assert not line.was_cut()
    rig.pass_s(0.2)
    assert line.was_cut()
    assert rig.log == ["not online (no answer to our Hello for 10 s); dialling again in 30 s"]


def test_an_attempt_that_does_not_end_is_given_up() -> None:
    rig = AgentRig()
    rig.daemon.start()
    rig.pass_s(DIAL_TIMEOUT_S + 0.1)
    assert rig.endpoint.cancelled == 1
    rig.pass_s(1)
    assert rig.endpoint.dialled == 2


def test_an_unreachable_master_is_dialled_again() -> None:
    rig = AgentRig()
    rig.daemon.start()
    rig.endpoint.refuse()
    assert rig.log == [
        "not online (cannot reach tcp://localhost:4710: Connection was refused by other side); "
        "dialling again in 1 s"
    ]
    rig.pass_s(1.1)
    rig.endpoint.accept()


def test_the_masters_floor_from_welcome_holds() -> None:
    rig = AgentRig()
    rig.go_online(SHORT)
    rig.pass_s(3.1)
    assert rig.log[-1] == "lost the master (silent for 3 s); dialling again in 3 s"


@pytest.mark.parametrize(
    ("farewell", "log"),
    [
        (
            {"goodbye": Goodbye(code=CODE_SHUTDOWN, text="restarting", retry_after_s=7.5)},
            "lost the master (it said goodbye: restarting); dialling again in 8 s",
        ),
        (
            {"goodbye": Goodbye(code=CODE_FENCED, text="a newer session took over")},
            "gave way to another session with our identity (it said goodbye: a newer session took "
            "over; if this state directory is a copy, remove its agent-id and restart); "
            "dialling again in 300 s",
        ),
        (
            {"goodbye": Goodbye.FromString(b"\x08\xe7\x07")},
            "lost the master (it said goodbye: code 999); dialling again in 1 s",
        ),
    ],
)
def test_farewells(farewell: dict[str, Goodbye], log: str) -> None:
    rig = AgentRig()
    line = rig.go_online()
    line.say(**farewell)
    line.lose()
    assert rig.log[1:] == [log]


def test_both_versions_are_printed_and_the_slow_schedule_holds() -> None:
    rig = AgentRig()
    rig.daemon.start()
    line = rig.endpoint.accept()
    line.say(refusal=Refusal(code=CODE_VERSION, protocol_min=3, protocol_max=4))
    assert rig.log == [
        "not online (it refused us: no protocol version in common: this agent speaks 1, the "
        "master 3 to 4; update the older one); dialling again in 300 s"
    ]


def test_a_refusals_text_cannot_break_the_log() -> None:
    rig = AgentRig()
    rig.daemon.start()
    rig.endpoint.accept().say(refusal=Refusal(code=CODE_FULL, text="no\nroom\x1b[2J" + "x" * 9999))
    assert len(rig.log) == 1
    assert "\n" not in rig.log[0]
    assert "\x1b" not in rig.log[0]
    assert len(rig.log[0]) < 500


@pytest.mark.parametrize(
    "bad",
    [
        welcome(protocol=9),
        welcome(times=KeepaliveTimes(interval_s=0.01)),
        ToAgent().welcome,
    ],
    ids=["version", "too often", "no times"],
)
def test_a_welcome_that_cannot_be_lived_with(bad: object) -> None:
    rig = AgentRig()
    rig.daemon.start()
    line = rig.endpoint.accept()
    line.say(welcome=bad)  # type: ignore[arg-type]
    assert line.was_cut()
    assert len(rig.log) == 1
    assert "dialling again in 300 s" in rig.log[0]


def test_out_of_order_messages_end_the_session() -> None:
    rig = AgentRig()
    rig.daemon.start()
    line = rig.endpoint.accept()
    line.say(assignment=assignment())
    assert line.was_cut()
    assert rig.light.runs == []
    assert rig.log == [
        "not online (it sent assignment before Welcome out of order); dialling again in 300 s"
    ]


def test_garbage_ends_the_session_in_one_line() -> None:
    rig = AgentRig()
    line = rig.go_online()
    line.wire.dataReceived(b"GET / HTTP/1.1\r\n\r\n")
    line.lose(ConnectionLost)
    assert line.was_cut()
    assert rig.log[1:] == [
        "lost the master (frame too large: 1195725856 bytes, cap 1048576); dialling again in 1 s"
    ]


def test_a_message_newer_than_us_is_ignored_and_logged_once() -> None:
    rig = AgentRig()
    line = rig.go_online()
    for _ in range(3):
        line.say()
    assert not line.was_cut()
    assert rig.log[1:] == ["the master sent a message that this version does not know"]


def test_an_assignment_for_another_agent_is_not_run() -> None:
    rig = AgentRig()
    line = rig.go_online()
    other = assignment()
    other.run.agent_id = "somebody-else"
    line.say(assignment=other)
    assert rig.light.runs == []
    assert line.heard() == []
    assert len(rig.log) == 2


def test_cancel_client_stop_and_ack_reach_their_place() -> None:
    rig = AgentRig()
    line = rig.go_online()
    line.say(assignment=assignment(run_key(1)))
    line.say(run_cancel=RunCancel(run=run_key(1)))
    assert results(line.heard()) == [(1, "cancelled", False)]
    line.say(assignment=assignment(run_key(2, measurement="m2")))
    line.say(client_stop=ClientStop(measurement_ids=["m2"]))
    assert results(line.heard()) == [(2, "client_gone", False)]
    line.say(ack=Ack(runs=[run_key(1)]))
    assert len(rig.spool) == 1


def test_unacknowledged_results_come_again_in_the_next_session() -> None:
    rig = AgentRig()
    line = rig.go_online()
    line.say(assignment=assignment(run_key(1)))
    rig.light.end(END_DONE)
    line.heard()
    line.lose()
    rig.pass_s(1.1)
    again = rig.go_online()
    assert len(rig.spool) == 1
    again.say(ack=Ack(runs=[run_key(1)]))
    assert len(rig.spool) == 0


def test_a_mistake_of_ours_closes_the_session_in_one_line_and_the_daemon_goes_on() -> None:
    rig = AgentRig()
    line = rig.go_online()

    def broken() -> int:
        raise RuntimeError("no clock")

    working = rig.daemon._runner.boottime_ns
    rig.daemon._runner.boottime_ns = broken
    line.say(assignment=assignment())
    rig.daemon._runner.boottime_ns = working
    line.lose(ConnectionLost)
    assert line.was_cut()
    assert [text for text in rig.log if "RuntimeError: no clock" in text] == rig.log[1:2]
    rig.pass_s(1.1)
    rig.endpoint.accept()


@pytest.mark.parametrize(
    ("peer_host", "insecure", "text"),
    [
        ("10.1.0.2", False, "use --insecure"),
        ("8.8.8.8", True, "outside private, loopback and lab ranges"),
    ],
)
def test_nothing_is_said_in_plaintext_to_a_name_that_turns_out_to_be_elsewhere(
    peer_host: str, insecure: bool, text: str
) -> None:
    rig = AgentRig(peer_host=peer_host, insecure=insecure)
    rig.daemon.start()
    line = rig.endpoint.accept()
    assert line.was_cut()
    assert line.heard() == []
    assert text in rig.log[0]
    assert "dialling again in 300 s" in rig.log[0]


def test_a_lab_master_is_greeted_with_insecure() -> None:
    rig = AgentRig(peer_host="10.1.0.2", insecure=True)
    rig.daemon.start()
    assert kinds(rig.endpoint.accept().heard()) == ["hello"]


def test_draining_aborts_reports_waits_for_the_ack_and_says_goodbye() -> None:
    rig = AgentRig()
    line = rig.go_online()
    line.say(assignment=assignment(run_key(1)))
    line.heard()
    gone = rig.daemon.stop()
    assert results(line.heard()) == [(1, "agent_leaving", False)]
    assert not fired(gone)
    line.say(assignment=assignment(run_key(2)))
    line.say(ack=Ack(runs=[run_key(1)]))
    assert not fired(gone)
    line.say(ack=Ack(runs=[run_key(2)]))
    assert kinds(line.heard()) == ["run_result", "goodbye"]
    assert line.transport.disconnecting
    assert fired(gone)
    line.lose()
    assert rig.clock.getDelayedCalls() == []


def test_draining_ends_though_the_prober_and_the_master_are_deaf() -> None:
    rig = AgentRig()
    rig.light.deaf = True
    line = rig.go_online()
    line.say(assignment=assignment(run_key(1)))
    gone = rig.daemon.stop()
    rig.pass_s(DRAIN_S - 0.1)
    assert not fired(gone)
    rig.pass_s(0.2)
    assert fired(gone)
    rig.pass_s(2.1)
    assert line.was_cut()
    rig.light.end(END_CANCELLED)
    assert rig.clock.getDelayedCalls() == []


def test_stopping_while_dialling_leaves_nothing_behind() -> None:
    rig = AgentRig()
    rig.daemon.start()
    gone = rig.daemon.stop()
    assert fired(gone)
    assert rig.endpoint.cancelled == 1
    assert rig.clock.getDelayedCalls() == []


def test_stopping_while_waiting_leaves_nothing_behind() -> None:
    rig = AgentRig()
    rig.daemon.start()
    rig.endpoint.refuse()
    assert rig.daemon.stop().called
    assert rig.clock.getDelayedCalls() == []
