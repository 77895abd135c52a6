"""A master that a test plays by hand over real TCP, and a real agent daemon beside it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import attrs
from google.protobuf.message import Message

from emodis.techniques.registry import TECHNIQUES
from emodis.wire.framing import FrameReader, encode_frame
from emodis.wire.hello import KeepaliveTimes
from emodis.wire.v1.agent_pb2 import Ack, Assignment, FromAgent, RunResult, ToAgent
from emodis.wire.v1.common_pb2 import Hello, KeepaliveReply, RunKey, Target, Welcome

# A guard against hanging, far above what anything here takes.
DEADLINE_S = 30.0
NS = 1_000_000_000
ENTRY = "from emodis.agent.cli import main; main()"
# Programs that this one executes cannot have CAP_NET_RAW, though it is root (PR_CAPBSET_DROP);
# an ordinary user has none to drop.
NO_RAW = "import ctypes; ctypes.CDLL(None).prctl(24, 13, 0, 0, 0); "


def clock_ns() -> int:
    """The scripted master's clock."""
    return time.monotonic_ns()


@attrs.define(eq=False)
class AgentProcess:
    """A daemon; its stderr is collected line by line."""

    process: subprocess.Popen[str]
    lines: list[str] = attrs.field(factory=list)
    _reader: threading.Thread = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @classmethod
    def start(cls, *arguments: str, prelude: str = "") -> AgentProcess:
        """`prelude` is Python that runs in the new process first."""
        process = subprocess.Popen(
            [sys.executable, "-c", prelude + ENTRY, "run", *arguments],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        return cls(process)

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))

    def exit_code(self) -> int:
        """Wait for its end; afterwards `lines` is complete."""
        code = self.process.wait(DEADLINE_S)
        self._reader.join(DEADLINE_S)
        return code

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def has_said(self, text: str, times: int = 1) -> bool:
        return sum(text in line for line in self.lines) >= times

    def end(self) -> None:
        """Whatever state it is in."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.exit_code()
        assert self.process.stderr is not None
        self.process.stderr.close()


@attrs.define(eq=False)
class AgentLine:
    """The master's end of one session; reading answers keepalives unless `mute`."""

    sock: socket.socket
    mute: bool = False
    hello: Hello = attrs.field(factory=Hello)
    _reader: FrameReader = attrs.field(factory=FrameReader)
    _waiting: list[FromAgent] = attrs.field(factory=list)

    def say(self, **member: Message) -> None:
        message = ToAgent(**member)  # type: ignore[arg-type]
        self.sock.sendall(encode_frame(message.SerializeToString()))

    def hear(self, wanted: str) -> FromAgent:
        """The next message of that kind; others are left where they are, keepalives answered."""
        end_ns = clock_ns() + round(DEADLINE_S * NS)
        while True:
            for index, message in enumerate(self._waiting):
                if message.WhichOneof("body") == wanted:
                    return self._waiting.pop(index)
            if clock_ns() > end_ns:
                raise AssertionError(f"no {wanted} came; there is {self._waiting}")
            self._read()

    def result(self, run: RunKey) -> RunResult:
        """The result of that run, not acknowledged."""
        while True:
            found = self.hear("run_result").run_result
            if found.run == run:
                return found

    def ack(self, *runs: RunKey) -> None:
        self.say(ack=Ack(runs=runs))

    def is_closed(self) -> bool:
        """Read until the agent has hung up."""
        try:
            while True:
                self._read()
        except ConnectionError:
            return True

    def close(self) -> None:
        self.sock.close()

    def _read(self) -> None:
        data = self.sock.recv(1 << 16)
        if not data:
            raise ConnectionResetError("the agent hung up")
        for frame in self._reader.feed(data):
            message = FromAgent.FromString(frame)
            if message.WhichOneof("body") != "keepalive":
                self._waiting.append(message)
            elif not self.mute:
                sequence = message.keepalive.sequence
                self.say(
                    keepalive_reply=KeepaliveReply(sequence=sequence, master_clock_ns=clock_ns())
                )


@attrs.define(eq=False)
class ScriptedMaster:
    """Listens on a free port of loopback."""

    times: KeepaliveTimes = attrs.field(factory=KeepaliveTimes)
    _lines: list[AgentLine] = attrs.field(factory=list)
    _socket: socket.socket = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.settimeout(DEADLINE_S)

    @property
    def uri(self) -> str:
        return f"tcp://127.0.0.1:{self._socket.getsockname()[1]}"

    def accept(self) -> AgentLine:
        """Wait for an agent and its Hello."""
        sock, _ = self._socket.accept()
        sock.settimeout(DEADLINE_S)
        line = AgentLine(sock)
        self._lines.append(line)
        line.hello = line.hear("hello").hello
        return line

    def welcome(self) -> AgentLine:
        """Wait for an agent and let it in."""
        line = self.accept()
        line.say(
            welcome=Welcome(
                protocol=1,
                session_id="scripted",
                master_clock_ns=clock_ns(),
                **attrs.asdict(self.times),
            )
        )
        return line

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()
        for line in self._lines:
            line.close()


def assign(
    line: AgentLine,
    number: int = 0,
    *,
    technique: str = "ping",
    address: bytes = b"\x7f\x00\x00\x01",
    start_in_s: float = 5.0,
    stop_in_s: float = 60.0,
    **options: object,
) -> RunKey:
    """Have the agent measure; deadlines from now."""
    run = RunKey(measurement_id="m", agent_id=line.hello.id, destination=number)
    call = TECHNIQUES[technique].call({name: str(value) for name, value in options.items()})
    now_ns = clock_ns()
    line.say(
        assignment=Assignment(
            run=run,
            call=call,
            target=Target(address=address),
            start_by_clock_ns=now_ns + round(start_in_s * NS),
            stop_by_clock_ns=now_ns + round(stop_in_s * NS),
            budget_s=TECHNIQUES[technique].worst_case(call).duration_s,
            nonce=bytes(16),
        )
    )
    return run


def arguments(master: ScriptedMaster, state_dir: Path) -> list[str]:
    """What every daemon here is started with."""
    return ["--master", master.uri, "--state-dir", str(state_dir)]


Starter = Callable[..., AgentProcess]
