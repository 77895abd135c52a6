"""The real master on loopback TCP, with scripted agents and clients: no packets are sent."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import attrs
import pytest
from google.protobuf.message import Message

from emodis.techniques.registry import TECHNIQUES
from emodis.wire.framing import FrameReader, encode_frame
from emodis.wire.v1.agent_pb2 import FromAgent, RunResult, ToAgent
from emodis.wire.v1.client_pb2 import (
    Agents,
    All,
    Auto,
    Cancel,
    FromClient,
    GetResults,
    Ids,
    Request,
    ToClient,
)
from emodis.wire.v1.client_pb2 import Any as AnyAgent
from emodis.wire.v1.common_pb2 import (
    CODE_FENCED,
    CODE_SHUTDOWN,
    CODE_VERSION,
    END_CANCELLED,
    END_DONE,
    ROLE_AGENT,
    ROLE_MANAGER,
    Body,
    Capability,
    Ending,
    Hello,
    Keepalive,
    Outcome,
    RunKey,
)
from emodis.wire.v1.techniques_pb2 import (
    HopAnswer,
    PingResult,
    TracerouteHop,
    TracerouteResult,
)

# A guard against hanging, far above what anything here takes.
PATIENCE_S = 60.0
COMMAND = [sys.executable, "-c", "from emodis.master.cli import main; main()", "run"]

# Every peer's end, closed after each test whatever became of it.
OPENED: list[socket.socket] = []

In = TypeVar("In", bound=Message)
Out = TypeVar("Out", bound=Message)


class Hangs(AssertionError):
    """What was waited for did not happen."""


def wait_for(what: str, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise Hangs(what)
        time.sleep(0.02)


@attrs.define(eq=False)
class MasterProcess:
    """A running master; its stderr, line by line."""

    state_dir: Path
    extra: Sequence[str] = ()
    lines: list[str] = attrs.field(factory=list)
    process: subprocess.Popen[str] = attrs.field(init=False)
    _reader: threading.Thread = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.process = subprocess.Popen(
            [
                *COMMAND,
                "--state-dir",
                str(self.state_dir),
                "--listen-agents=tcp:0",
                "--listen-clients=tcp:0",
                *self.extra,
            ],
            stderr=subprocess.PIPE,
            text=True,
            env={k: v for k, v in os.environ.items() if not k.startswith("EMODIS_")}
            | {"XDG_CONFIG_HOME": str(self.state_dir)},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.lines.extend(iter_lines(self.process.stderr, self.lines))

    def line(self, pattern: str) -> re.Match[str]:
        """Wait for a line of the log."""
        found: list[re.Match[str]] = []

        def look() -> bool:
            found.extend(m for line in tuple(self.lines) if (m := re.search(pattern, line)))
            if not found and self.process.poll() is not None and not self._reader.is_alive():
                raise AssertionError(f"the master ended: {self.lines}")
            return bool(found)

        wait_for(f"log line {pattern}; there are {self.lines}", look)
        return found[0]

    def port(self, whom: str) -> int:
        return int(self.line(rf"^listening for {whom} on tcp:127\.0\.0\.1:(\d+)$")[1])

    def agent(self, agent_id: str, boot: bytes = b"b" * 16) -> Agent:
        agent = Agent(self.port("agents"), ToAgent)
        agent.id = agent_id
        capabilities = [
            Capability(technique=name, schema=technique.SCHEMA, raw=True, families=1)
            for name, technique in TECHNIQUES.items()
        ]
        agent.say(
            FromAgent(
                hello=Hello(
                    protocol_min=1,
                    protocol_max=1,
                    role=ROLE_AGENT,
                    id=agent_id,
                    boot_id=boot,
                    capabilities=capabilities,
                )
            )
        )
        agent.until("welcome")
        return agent

    def client(self, client_id: str = "c1") -> Client:
        client = Client(self.port("clients"), ToClient)
        client.say(
            FromClient(
                hello=Hello(
                    protocol_min=1,
                    protocol_max=1,
                    role=ROLE_MANAGER,
                    id=client_id,
                    boot_id=b"c" * 16,
                )
            )
        )
        client.until("welcome")
        return client

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End it and wait for that; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        code = self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code


def iter_lines(stream: Any, lines: list[str]) -> Iterator[str]:
    for line in stream:
        lines.append(line.rstrip("\n"))
    yield from ()


class Peer(Generic[In, Out]):
    """One end of a connection, blocking, with a deadline on every wait."""

    def __init__(self, port: int, incoming: type[In]) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        OPENED.append(self.socket)
        self._incoming = incoming
        self._reader = FrameReader()
        self.waiting: list[In] = []
        self.closed = False

    def say(self, message: Out) -> None:
        self.socket.sendall(encode_frame(message.SerializeToString()))

    def raw(self, data: bytes) -> None:
        self.socket.sendall(data)

    def pump(self, timeout_s: float) -> None:
        """Read what is there."""
        ready, _, _ = select.select([self.socket], [], [], timeout_s)
        if not ready:
            return
        try:
            data = self.socket.recv(1 << 16)
        except ConnectionError:
            data = b""
        if not data:
            self.closed = True
        for frame in self._reader.feed(data):
            message = self._incoming()
            message.ParseFromString(frame)
            self.waiting.append(message)

    def until(self, *names: str) -> list[In]:
        """All messages up to and with one of that name."""
        deadline = time.monotonic() + PATIENCE_S
        got: list[In] = []
        while True:
            while self.waiting:
                got.append(self.waiting.pop(0))
                if kind(got[-1]) in names:
                    return got
            if self.closed or time.monotonic() > deadline:
                raise Hangs(f"no {names}; there came {[kind(m) for m in got]}")
            self.pump(0.5)

    def until_closed(self) -> list[In]:
        deadline = time.monotonic() + PATIENCE_S
        while not self.closed:
            if time.monotonic() > deadline:
                raise Hangs("the master does not close")
            self.pump(0.5)
        return self.waiting

    def close(self) -> None:
        self.socket.close()


def kind(message: Any) -> str:
    return str(message.WhichOneof("body"))


class Agent(Peer[ToAgent, FromAgent]):
    """A scripted agent."""

    id: str

    def answer(self, run: RunKey, technique: str) -> None:
        self.say(
            FromAgent(
                run_result=RunResult(
                    run=run, outcome=Outcome(ending=Ending(end=END_DONE), result=PAYLOAD[technique])
                )
            )
        )


class Client(Peer[ToClient, FromClient]):
    """A scripted client."""

    def ask(self, **fields: Any) -> None:
        fields.setdefault("call_id", 1)
        fields.setdefault("call", TECHNIQUES["ping"].call({}))
        fields.setdefault("destinations", ["127.0.0.1", "127.0.0.2"])
        fields.setdefault("agents", Agents(all=All()))
        self.say(FromClient(request=Request(**fields)))


def _route() -> Body:
    hops = [
        TracerouteHop(ttl=ttl, answers=[HopAnswer(address=bytes((10, 0, 0, ttl)))])
        for ttl in range(1, 5)
    ]
    result = TracerouteResult(hops=hops, hop_count=4, reached=True, end_reason="reached")
    return Body(
        technique="traceroute",
        schema=TECHNIQUES["traceroute"].SCHEMA,
        body=result.SerializeToString(),
    )


PAYLOAD = {
    "ping": Body(
        technique="ping",
        schema=TECHNIQUES["ping"].SCHEMA,
        body=PingResult(sent=10, answered=10).SerializeToString(),
    ),
    "traceroute": _route(),
}


def play(client: Client, *agents: Agent) -> list[ToClient]:
    """Let the agents do all they are told until the client's request has ended."""
    deadline = time.monotonic() + PATIENCE_S
    got: list[ToClient] = []
    while time.monotonic() < deadline:
        select.select([client.socket, *(a.socket for a in agents)], [], [], 0.5)
        for agent in agents:
            agent.pump(0)
            while agent.waiting:
                message = agent.waiting.pop(0)
                if kind(message) == "assignment":
                    agent.answer(message.assignment.run, message.assignment.call.technique)
        client.pump(0)
        while client.waiting:
            got.append(client.waiting.pop(0))
            if kind(got[-1]) in {"ended", "refused"}:
                return got
    raise Hangs(f"no end; there came {[kind(m) for m in got]}")


def results(messages: list[ToClient]) -> set[tuple[str, int]]:
    return {
        (m.result.run.agent_id, m.result.run.destination) for m in messages if kind(m) == "result"
    }


@pytest.fixture(autouse=True)
def _no_peer_stays() -> Iterator[None]:
    yield
    while OPENED:
        OPENED.pop().close()


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MasterProcess]:
    running = MasterProcess(tmp_path_factory.mktemp("master"))
    running.port("clients")
    yield running
    assert running.stop() == 0
    assert "Traceback" not in "\n".join(running.lines)


@pytest.mark.parametrize("whom", ["agents", "clients"])
@pytest.mark.parametrize(
    "data",
    [b"\x00\x00\x00\x04\xff\xff\xff\xff", b"\xff\xff\xff\xff", b"\x00\x01\x00\x01", b"GET / HTTP"],
    ids=["garbage", "huge", "over the first cap", "another protocol"],
)
def test_bad_frames_close_the_connection_and_hurt_nobody(
    master: MasterProcess, whom: str, data: bytes
) -> None:
    good = master.agent("good")
    bad: Peer[ToAgent, FromAgent] = Peer(master.port(whom), ToAgent)
    bad.raw(data)
    bad.until_closed()
    good.say(FromAgent(keepalive=Keepalive(sequence=9)))
    assert good.until("keepalive_reply")[-1].keepalive_reply.sequence == 9
    master.line("frame")
    bad.close()
    good.close()
    master.line("agent good lost")


def test_both_versions_are_named(master: MasterProcess) -> None:
    for whom, incoming, outgoing, role in (
        ("agents", ToAgent, FromAgent, ROLE_AGENT),
        ("clients", ToClient, FromClient, ROLE_MANAGER),
    ):
        peer: Peer[Any, Any] = Peer(master.port(whom), incoming)
        peer.say(outgoing(hello=Hello(protocol_min=8, protocol_max=9, role=role, id="x")))
        refusal = peer.until("refusal")[-1].refusal
        assert refusal.code == CODE_VERSION
        assert "we speak 1, the other side speaks 8 to 9" in refusal.text
        peer.until_closed()


def test_half_open_connections_end_and_do_not_hurt(master: MasterProcess) -> None:
    strangers: list[Peer[ToAgent, FromAgent]] = [
        Peer(master.port("agents"), ToAgent) for _ in range(200)
    ]
    strangers[0].raw(b"\x00\x00")
    good = master.agent("good-2")
    good.say(FromAgent(keepalive=Keepalive(sequence=1)))
    good.until("keepalive_reply")
    for stranger in strangers:
        stranger.until_closed()
        stranger.close()
    good.say(FromAgent(keepalive=Keepalive(sequence=2)))
    good.until("keepalive_reply")


def test_of_two_sessions_with_one_identity_the_newer_one_stays(master: MasterProcess) -> None:
    old = master.agent("twin")
    new = master.agent("twin", boot=b"n" * 16)
    goodbye = old.until("goodbye")[-1].goodbye
    assert goodbye.code == CODE_FENCED
    assert goodbye.retry_after_s == 300
    old.until_closed()
    new.say(FromAgent(keepalive=Keepalive(sequence=1)))
    new.until("keepalive_reply")
    master.line("agent twin is fenced")


def test_all_any_ids_and_auto(master: MasterProcess) -> None:
    agents = [master.agent(f"w-{i}") for i in range(3)]
    client = master.client()
    client.ask(agents=Agents(ids=Ids(ids=["w-0", "w-2"])))
    assert results(play(client, *agents)) == {(a, d) for a in ("w-0", "w-2") for d in (0, 1)}
    client.ask(agents=Agents(any=AnyAgent()))
    assert {d for _, d in results(play(client, *agents))} == {0, 1}
    client.ask(agents=Agents(all=All()), call=TECHNIQUES["traceroute"].call({}))
    assert results(play(client, *agents)) >= {(f"w-{i}", d) for i in range(3) for d in (0, 1)}
    client.ask(agents=Agents(auto=Auto()), destinations=["127.7.7.9"])
    messages = play(client, *agents)
    (selected,) = [m.selected for m in messages if kind(m) == "selected"]
    assert len(selected.agents) == 2
    assert selected.branches_known == selected.branches_covered == 1
    assert any(m.progress.discovery for m in messages if kind(m) == "progress")
    assert results(messages) == {(choice.agent_id, 0) for choice in selected.agents}


def test_a_cancelled_request_ends_and_its_agents_stop(master: MasterProcess) -> None:
    agent, client = master.agent("k-1"), master.client()
    # What one test leaves locked must not hold up another: each has its own destinations.
    client.ask(agents=Agents(ids=Ids(ids=["k-1"])), destinations=["127.0.1.1", "127.0.1.2"])
    assignment = agent.until("assignment")[-1].assignment
    client.say(FromClient(cancel=Cancel(call_id=2, measurement_id=assignment.run.measurement_id)))
    client.until("cancelled")
    ended = client.until("ended")[-1].ended
    assert {c.end: c.runs for c in ended.counts} == {END_CANCELLED: 2}
    stop = agent.until("client_stop")[-1].client_stop
    assert list(stop.measurement_ids) == [assignment.run.measurement_id]


def test_a_client_killed_mid_request_is_cleaned_up_after(master: MasterProcess) -> None:
    agent, client = master.agent("k-2"), master.client()
    client.ask(agents=Agents(ids=Ids(ids=["k-2"])), destinations=["127.0.2.1", "127.0.2.2"])
    first = agent.until("assignment")[-1].assignment
    agent.answer(first.run, "ping")
    agent.until("ack")
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    client.close()
    agent.until("client_stop")
    master.line(f"measurement {first.run.measurement_id}: ended")
    other = master.client("c2")
    other.say(
        FromClient(
            get_results=GetResults(call_id=1, measurement_id=first.run.measurement_id, follow=True)
        )
    )
    messages = other.until("ended")
    assert messages[-1].ended.text == "its client left before it ended"
    kept = [m.result for m in messages if kind(m) == "result"]
    assert {r.outcome.ending.end for r in kept} == {END_DONE, END_CANCELLED}
    assert not any(r.outcome.HasField("result") for r in kept)


def test_an_agent_lost_mid_run_comes_back_and_goes_on(master: MasterProcess) -> None:
    agent, client = master.agent("k-3"), master.client()
    client.ask(agents=Agents(ids=Ids(ids=["k-3"])), destinations=["127.0.3.1"])
    first = agent.until("assignment")[-1].assignment.run
    agent.close()
    master.line("agent k-3 lost")
    back = master.agent("k-3")
    # It says that it has stopped: the destination is free for the second attempt.
    back.say(
        FromAgent(
            run_result=RunResult(run=first, outcome=Outcome(ending=Ending(end=END_CANCELLED)))
        )
    )
    messages = play(client, back)
    assert results(messages) == {("k-3", 0)}
    assert {c.end: c.runs for c in messages[-1].ended.counts} == {END_DONE: 1}


def test_sigterm_says_goodbye_and_the_results_survive(tmp_path: Path) -> None:
    running = MasterProcess(tmp_path)
    agent, client = running.agent("a"), running.client()
    client.ask()
    play(client, agent)
    client.ask(detach=True, call_id=2)
    run = agent.until("assignment")[-1].assignment.run
    assert running.stop() == 0
    assert agent.until("goodbye")[-1].goodbye.code == CODE_SHUTDOWN
    assert agent.waiting == []
    assert client.until("ended")[-1].ended.code == CODE_SHUTDOWN
    assert client.until("goodbye")[-1].goodbye.retry_after_s > 0
    assert "Traceback" not in "\n".join(running.lines)
    agent.close()
    client.close()
    running = MasterProcess(tmp_path)
    client = running.client()
    client.say(FromClient(get_results=GetResults(call_id=1, measurement_id=run.measurement_id)))
    assert client.until("ended")[-1].ended.code == CODE_SHUTDOWN
    client.close()
    assert running.stop() == 0


@pytest.mark.faults
def test_what_was_acknowledged_survives_a_kill_and_the_rest_is_closed(tmp_path: Path) -> None:
    running = MasterProcess(tmp_path)
    agent, client = running.agent("a"), running.client()
    client.ask()
    run = agent.until("assignment")[-1].assignment.run
    agent.answer(run, "ping")
    agent.until("ack")
    running.stop(signal.SIGKILL)
    agent.close()
    client.close()
    running = MasterProcess(tmp_path)
    running.line("measurements of the last run were closed")
    agent, client = running.agent("a"), running.client()
    # Not every Ack arrives: the agent sends again, and is acknowledged again.
    agent.answer(run, "ping")
    assert agent.until("ack")[-1].ack.runs[0] == run
    client.say(FromClient(get_results=GetResults(call_id=1, measurement_id=run.measurement_id)))
    messages = client.until("ended")
    assert results(messages) == {("a", 0)}
    assert len([m for m in messages if kind(m) == "result"]) == 1
    assert messages[-1].ended.code == CODE_SHUTDOWN
    agent.close()
    client.close()
    assert running.stop() == 0


@pytest.mark.faults
def test_a_master_that_was_stopped_for_long_blames_nobody(tmp_path: Path) -> None:
    config = tmp_path / "master.toml"
    config.write_text(
        "[keepalive]\ninterval_s = 1\nagent_timeout_s = 3\nmaster_timeout_s = 4\n"
        "rtt_max_s = 0.5\nreconnect_floor_s = 5\n"
    )
    running = MasterProcess(tmp_path, ["--config", str(config)])
    agent, client = running.agent("a"), running.client()
    client.ask()
    run = agent.until("assignment")[-1].assignment.run
    running.process.send_signal(signal.SIGSTOP)
    agent.answer(run, "ping")
    time.sleep(6)
    running.process.send_signal(signal.SIGCONT)
    agent.say(FromAgent(keepalive=Keepalive(sequence=1)))
    client.say(FromClient(keepalive=Keepalive(sequence=1)))
    messages = play(client, agent)
    assert len(results(messages)) == 2
    assert not any(m.result.late for m in messages if kind(m) == "result")
    assert not any("lost" in line or "no keepalive" in line for line in running.lines)
    agent.close()
    client.close()
    assert running.stop() == 0


def test_what_prevents_a_start_is_said_in_one_line(tmp_path: Path) -> None:
    running = MasterProcess(tmp_path / "one")
    taken = running.port("agents")

    def attempt(*arguments: str) -> tuple[int, str]:
        ended = subprocess.run(
            [*COMMAND, *arguments], capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
        assert ended.stdout == ""
        return ended.returncode, ended.stderr

    code, text = attempt("--state-dir", str(tmp_path / "one"))
    assert (code, text.count("\n")) == (1, 1)
    assert "another master uses" in text
    code, text = attempt(
        "--state-dir", str(tmp_path / "two"), f"--listen-agents=tcp:{taken}:interface=127.0.0.1"
    )
    assert code == 1
    assert "cannot listen for agents" in text
    assert "Traceback" not in text
    blocked = tmp_path / "file"
    blocked.write_text("")
    code, text = attempt("--state-dir", str(blocked))
    assert (code, text.count("\n")) == (1, 1)
    assert str(blocked) in text
    code, text = attempt("--state-dir", str(tmp_path / "three"), "--as-map", str(blocked))
    assert code == 1
    assert str(blocked) in text
    blocked.write_text("no prefix")
    code, text = attempt("--state-dir", str(tmp_path / "four"), "--exchanges", str(blocked))
    assert (code, text.count("\n")) == (1, 1)
    assert "line 1" in text
    assert running.stop() == 0
