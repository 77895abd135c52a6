"""A real daemon with its probers against a scripted master on loopback TCP; packets stay on lo."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from emodis.agent.identity import StateDir
from emodis.prober.privileges import net_raw
from emodis.wire.hello import KeepaliveTimes
from emodis.wire.v1.agent_pb2 import RunCancel
from emodis.wire.v1.common_pb2 import (
    CODE_FENCED,
    CODE_SHUTDOWN,
    CODE_VERSION,
    END_CANCELLED,
    END_DONE,
    END_FAILED,
    END_REFUSED,
    ROLE_AGENT,
    TRANSPORT_UNPRIVILEGED,
    Code,
    Goodbye,
    Refusal,
)
from emodis.wire.v1.techniques_pb2 import PingResult
from tests.support.processes import alive, descendants, eventually
from tests.support.scripted_master import (
    NO_RAW,
    AgentProcess,
    ScriptedMaster,
    Starter,
    arguments,
    assign,
    clock_ns,
)

needs_raw = pytest.mark.skipif(
    not net_raw().effective, reason="needs root or CAP_NET_RAW for the agent's probers"
)
# As short as a busy machine allows.
SHORT = KeepaliveTimes(
    interval_s=0.5, agent_timeout_s=3.0, master_timeout_s=4.5, reconnect_floor_s=3.5, rtt_max_s=1.0
)


@pytest.fixture
def master() -> Iterator[ScriptedMaster]:
    with ScriptedMaster() as listening:
        yield listening


@pytest.fixture
def start(master: ScriptedMaster, tmp_path: Path) -> Iterator[Starter]:
    """Start a daemon that dials the master; it is gone after the test."""
    started: list[AgentProcess] = []

    def starter(*more: str) -> AgentProcess:
        agent = AgentProcess.start(*arguments(master, tmp_path / "state"), *more)
        started.append(agent)
        return agent

    yield starter
    for agent in started:
        agent.end()
        assert not agent.has_said("Traceback")
        assert not agent.has_said("Unhandled")


@needs_raw
def test_it_says_hello_measures_and_drains(master: ScriptedMaster, start: Starter) -> None:
    agent = start("--place", "here", "--tag", "t1", "--allow", "ping")
    line = master.welcome()
    hello = line.hello
    assert (hello.role, hello.place, list(hello.tags)) == (ROLE_AGENT, "here", ["t1"])
    assert [(c.technique, c.raw) for c in hello.capabilities] == [("ping", True)]
    assert hello.addresses == [b"\x7f\x00\x00\x01"]

    run = assign(line, count=3, interval_s=0.05)
    assert line.hear("run_started").run_started.run == run
    outcome = line.result(run).outcome
    assert outcome.ending.end == END_DONE
    found = PingResult.FromString(outcome.result.body)
    assert (found.sent, found.answered, outcome.cost.sent_packets) == (3, 3, 3)
    line.ack(run)

    probers = descendants(agent.process.pid)
    assert len(probers) == 2
    agent.signal(signal.SIGTERM)
    assert line.hear("goodbye").goodbye.code == CODE_SHUTDOWN
    assert agent.exit_code() == 0
    assert not any(alive(pid) for pid in probers)
    assert agent.has_said(f"online at {master.uri} as {hello.id} (session scripted)")


@needs_raw
def test_its_identity_outlives_it_and_its_boot_id_does_not(
    master: ScriptedMaster, start: Starter
) -> None:
    first = start()
    before = master.welcome().hello
    first.signal(signal.SIGTERM)
    first.exit_code()
    start()
    after = master.welcome().hello
    assert before.id == after.id
    assert before.boot_id != after.boot_id
    assert len(after.boot_id) == 16


@needs_raw
def test_it_refuses_what_its_volunteer_did_not_allow(
    master: ScriptedMaster, start: Starter
) -> None:
    start("--allow", "ping", "--bytes-per-run", "5000")
    line = master.welcome()
    reasons = {
        assign(line, 1, address=b"\x08\x08\x08\x08").destination: "policy_refused",
        assign(line, 2, technique="traceroute").destination: "technique_not_enabled",
        assign(line, 3, count=1000, interval_s=0.02).destination: "budget_exceeded",
        assign(line, 4, count=1, start_in_s=-1.0).destination: "too_late",
    }
    for _ in reasons:
        result = line.hear("run_result").run_result
        assert result.outcome.ending.end == END_REFUSED
        assert result.outcome.ending.reason == reasons[result.run.destination]
        assert result.outcome.ending.hint


@needs_raw
def test_a_cancelled_run_stops_sending(master: ScriptedMaster, start: Starter) -> None:
    start()
    line = master.welcome()
    run = assign(line, count=200, interval_s=0.1)
    line.hear("run_started")
    line.say(run_cancel=RunCancel(run=run))
    outcome = line.result(run).outcome
    assert (outcome.ending.end, outcome.ending.reason) == (END_CANCELLED, "cancelled")
    assert outcome.cost.sent_packets < 200


@needs_raw
def test_a_lost_master_ends_the_run_and_hears_of_it_later(
    master: ScriptedMaster, start: Starter
) -> None:
    agent = start()
    line = master.welcome()
    finished = assign(line, 1, count=1)
    assert line.result(finished).outcome.ending.end == END_DONE
    running = assign(line, 2, count=200, interval_s=0.1)
    line.hear("run_started")
    waiting = assign(line, 3, count=1)
    line.close()

    again = master.welcome()
    assert again.hello.spooled_runs == 3
    results = {
        r.run.destination: r for r in [again.hear("run_result").run_result for _ in range(3)]
    }
    assert all(result.respooled for result in results.values())
    assert results[finished.destination].outcome.ending.end == END_DONE
    for run in (running, waiting):
        ending = results[run.destination].outcome.ending
        assert (ending.end, ending.reason) == (END_CANCELLED, "master_lost")
    assert agent.has_said("lost the master")
    again.ack(finished, running, waiting)
    # Acknowledged: a third session hears nothing of them.
    again.close()
    assert master.welcome().hello.spooled_runs == 0


@needs_raw
def test_a_silent_master_is_given_up_and_dialled_after_its_floor(
    master: ScriptedMaster, start: Starter
) -> None:
    master.times = SHORT
    agent = start()
    line = master.welcome()
    line.mute = True
    assert line.is_closed()
    gave_up_ns = clock_ns()
    master.welcome()
    assert clock_ns() - gave_up_ns > 3_000_000_000
    eventually(lambda: agent.has_said("lost the master (silent for 3 s); dialling again in"), "log")


@needs_raw
def test_a_stopped_agent_does_not_go_on_with_what_was_given_away(
    master: ScriptedMaster, start: Starter
) -> None:
    agent = start()
    line = master.welcome()
    run = assign(line, count=100, interval_s=0.1, timeout_s=0.1, stop_in_s=3.0)
    line.hear("run_started")
    stopped = [agent.process.pid, *descendants(agent.process.pid)]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    stop_by_ns = clock_ns() + 3_000_000_000
    eventually(lambda: clock_ns() > stop_by_ns, "stop_by has passed")
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
    outcome = line.result(run).outcome
    assert outcome.ending.end != END_DONE
    # About one packet had left; the pace would have allowed 30 until stop_by, and 100 in all.
    assert outcome.cost.sent_packets < 30


@needs_raw
def test_a_killed_prober_loses_its_run_and_no_more(master: ScriptedMaster, start: Starter) -> None:
    agent = start()
    line = master.welcome()
    run = assign(line, 1, count=200, interval_s=0.1)
    line.hear("run_started")
    for pid in descendants(agent.process.pid):
        os.kill(pid, signal.SIGKILL)
    assert line.result(run).outcome.ending.end == END_FAILED
    after = assign(line, 2, count=1, start_in_s=30.0)
    assert line.result(after).outcome.ending.end == END_DONE


@needs_raw
def test_killed_it_takes_its_probers_along(master: ScriptedMaster, start: Starter) -> None:
    agent = start()
    line = master.welcome()
    assign(line, count=200, interval_s=0.1)
    line.hear("run_started")
    probers = descendants(agent.process.pid)
    agent.signal(signal.SIGKILL)
    eventually(lambda: not any(alive(pid) for pid in probers), "the probers are gone")


@needs_raw
def test_the_daemon_itself_can_open_no_raw_socket_any_more(
    master: ScriptedMaster, start: Starter
) -> None:
    agent = start()
    master.welcome()
    status = Path(f"/proc/{agent.process.pid}/status").read_text()
    effective = int(next(x for x in status.splitlines() if x.startswith("CapEff")).split()[1], 16)
    assert not effective & (1 << 13)


@needs_raw
@pytest.mark.parametrize(
    ("code", "line_said"),
    [
        (CODE_FENCED, "gave way to another session with our identity"),
        (CODE_SHUTDOWN, "lost the master (it said goodbye: bye); dialling again in"),
    ],
)
def test_a_farewell_is_one_line(
    master: ScriptedMaster, start: Starter, code: Code.ValueType, line_said: str
) -> None:
    agent = start()
    line = master.welcome()
    line.say(goodbye=Goodbye(code=code, text="bye"))
    assert line.is_closed()
    eventually(lambda: agent.has_said(line_said), line_said)
    assert len(agent.lines) == 2


@needs_raw
def test_another_protocol_version_names_both(master: ScriptedMaster, start: Starter) -> None:
    agent = start()
    line = master.accept()
    line.say(refusal=Refusal(code=CODE_VERSION, protocol_min=7, protocol_max=9))
    assert line.is_closed()
    eventually(lambda: agent.has_said("this agent speaks 1, the master 7 to 9"), "both versions")
    assert len(agent.lines) == 1


@needs_raw
@pytest.mark.parametrize("garbage", [b"HTTP/1.1 400 Bad Request\r\n", b"\x00\x00\x00\x02\xff\xff"])
def test_garbage_is_one_line_and_another_attempt(
    master: ScriptedMaster, start: Starter, garbage: bytes
) -> None:
    agent = start()
    line = master.accept()
    line.sock.sendall(garbage)
    assert line.is_closed()
    master.welcome()
    assert len([text for text in agent.lines if "not online (" in text]) == 1


@needs_raw
def test_the_second_sigterm_ends_it_at_once(master: ScriptedMaster, start: Starter) -> None:
    agent = start()
    line = master.welcome()
    run = assign(line, count=1)
    line.result(run)
    # Not acknowledged, so that draining waits.
    agent.signal(signal.SIGTERM)
    eventually(lambda: agent.has_said("leaving"), "draining")
    agent.signal(signal.SIGTERM)
    assert agent.exit_code() == 1


@needs_raw
def test_it_can_be_stopped_while_it_starts(start: Starter) -> None:
    agent = start()
    eventually(lambda: bool(descendants(agent.process.pid)), "a prober is being started")
    agent.signal(signal.SIGTERM)
    assert agent.exit_code() == 0
    assert not any("error" in line or "critical" in line for line in agent.lines)


@needs_raw
def test_it_leaves_within_its_deadline_though_nobody_acknowledges(
    master: ScriptedMaster, start: Starter
) -> None:
    agent = start()
    line = master.welcome()
    line.result(assign(line, count=1))
    agent.signal(signal.SIGTERM)
    assert line.hear("goodbye").goodbye.code == CODE_SHUTDOWN
    assert agent.exit_code() == 0


def test_a_state_directory_in_use_is_one_line_and_exit_code_1(
    start: Starter, tmp_path: Path
) -> None:
    holder = StateDir.open(tmp_path / "state")
    agent = start()
    assert agent.exit_code() == 1
    assert len(agent.lines) == 1
    assert f"another emodis-agent (pid {os.getpid()}) uses" in agent.lines[0]
    holder.close()


def test_without_raw_sockets_it_says_so_and_measures_all_the_same(
    master: ScriptedMaster, tmp_path: Path
) -> None:
    agent = AgentProcess.start(*arguments(master, tmp_path / "state"), prelude=NO_RAW)
    line = master.welcome()
    assert agent.has_said("no raw sockets: measuring without them")
    assert {capability.raw for capability in line.hello.capabilities} == {False}
    assign(line, 1, technique="traceroute", rounds=1)
    outcome = line.hear("run_result").run_result.outcome
    assert outcome.ending.end == END_DONE, outcome.ending
    assert outcome.transport == TRANSPORT_UNPRIVILEGED
    agent.end()


@needs_raw
def test_an_unreachable_master_is_dialled_until_it_is_there(start: Starter, tmp_path: Path) -> None:
    with ScriptedMaster() as absent:
        uri = absent.uri
    agent = AgentProcess.start("--master", uri, "--state-dir", str(tmp_path / "other"))
    eventually(lambda: agent.has_said("Connection refused); dialling again in", 2), "two attempts")
    started = time.monotonic()
    agent.signal(signal.SIGTERM)
    assert agent.exit_code() == 0
    assert time.monotonic() - started < 15
    agent.end()
