"""A real `emodis-client` process against a master that follows a script, over loopback.

The master is a thread with a blocking socket: it plays one step after the other, so a test reads
as the conversation it is about. Every wait has a deadline.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import attrs

from emodis.wire.framing import FrameReader, encode_frame
from emodis.wire.v1.client_pb2 import FromClient, ToClient
from emodis.wire.v1.common_pb2 import Welcome

DEADLINE_S = 60.0
CLIENT = (sys.executable, "-m", "emodis.client.app")
WELCOME = ToClient(
    welcome=Welcome(
        protocol=1,
        interval_s=15,
        agent_timeout_s=45,
        master_timeout_s=52,
        reconnect_floor_s=30,
        rtt_max_s=5,
    )
)


@attrs.define(eq=False)
class Peer:
    """The master's end of one connection."""

    socket: socket.socket
    heard: list[FromClient] = attrs.field(factory=list)
    _reader: FrameReader = attrs.field(factory=FrameReader)
    _frames: list[bytes] = attrs.field(factory=list)

    def send(self, *messages: ToClient) -> None:
        for message in messages:
            self.raw(encode_frame(message.SerializeToString()))

    def raw(self, data: bytes) -> None:
        self.socket.sendall(data)

    def receive(self, member: str) -> FromClient:
        """The next message that is no keepalive; it must be this one."""
        while True:
            message = FromClient.FromString(self._frame())
            self.heard.append(message)
            found = message.WhichOneof("body")
            if found != "keepalive" or member == "keepalive":
                assert found == member, f"heard {found}, expected {member}"
                return message

    def closed(self) -> None:
        """Wait until the client has closed."""
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionResetError:
            pass

    def _frame(self) -> bytes:
        while not self._frames:
            data = self.socket.recv(65536)
            assert data, "the client closed the connection"
            self._frames.extend(self._reader.feed(data))
        return self._frames.pop(0)


Script = Callable[[Peer], None]


def greeted(peer: Peer) -> None:
    """The handshake, and nothing more."""
    peer.receive("hello")
    peer.send(WELCOME)


@attrs.define(eq=False)
class ScriptedMaster:
    """Listens on a port of its own; plays the script to the first who comes."""

    script: Script
    peer: Peer | None = None
    failure: BaseException | None = None
    _listener: socket.socket = attrs.field(init=False)
    _thread: threading.Thread = attrs.field(init=False)

    def __enter__(self) -> ScriptedMaster:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(DEADLINE_S)
        self._thread = threading.Thread(target=self._play, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def _play(self) -> None:
        try:
            connection, _ = self._listener.accept()
            with connection:
                connection.settimeout(DEADLINE_S)
                self.peer = Peer(connection)
                self.script(self.peer)
        except BaseException as error:
            self.failure = error


@attrs.frozen
class Said:
    """What a finished client left behind."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """Its last line on stderr."""
        return self.err.splitlines()[-1] if self.err else ""


def start(
    arguments: Sequence[str], home: Path, more: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """A client process with a home of its own."""
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("EMODIS_")},
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_STATE_HOME": str(home / "state"),
        "PYTHONWARNINGS": "error",
        **(more or {}),
    }
    return subprocess.Popen(
        [*CLIENT, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environ,
    )


def finish(process: subprocess.Popen[str]) -> Said:
    """Wait for it; one that hangs is killed and fails the test."""
    try:
        out, err = process.communicate(timeout=DEADLINE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"the client hung: {out!r} {err!r}") from None
    assert "Traceback" not in err, err
    assert "Warning" not in err, err
    return Said(process.returncode, out, err)


def talk(script: Script, arguments: Sequence[str], home: Path) -> Said:
    """One client run against one script, both to their ends."""
    with ScriptedMaster(script) as master:
        said = finish(start(["--master", master.address, *arguments], home))
    if master.failure is not None:
        raise master.failure
    return said


def interrupt(process: subprocess.Popen[str], number: signal.Signals = signal.SIGINT) -> None:
    """^C, to this process only."""
    process.send_signal(number)
