"""One prober process as the reactor sees it: spawned, spoken to, gone. Decides nothing."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence

from google.protobuf.message import DecodeError
from twisted.internet import tcp
from twisted.internet.interfaces import (
    IProcessTransport,
    IReactorFDSet,
    IReactorProcess,
)
from twisted.internet.protocol import ProcessProtocol, Protocol, connectionDone
from twisted.python.failure import Failure

from emodis.wire.framing import FrameReader, FrameTooLarge, encode_frame
from emodis.wire.v1.prober_pb2 import FromProber, ToProber

# The worker's end of the socket pair, in the worker.
CHILD_FD = 3
_KEPT_STDERR_BYTES = 4096


class _Link(Protocol):
    """Frames over the socket pair."""

    def __init__(
        self, on_message: Callable[[FromProber], None], on_lost: Callable[[str], None]
    ) -> None:
        self._reader = FrameReader()
        self._on_message = on_message
        self._on_lost = on_lost
        self._garbage = ""

    def dataReceived(self, data: bytes) -> None:
        if self._garbage:
            return
        try:
            for frame in self._reader.feed(data):
                self._on_message(FromProber.FromString(frame))
        except (FrameTooLarge, DecodeError):
            self._garbage = "it sent garbage"
            self._hang_up()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._on_lost(self._garbage)

    def _hang_up(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()


class _Watcher(ProcessProtocol):
    """Collects what it says on stderr, and its end."""

    def __init__(self, on_ended: Callable[[], None]) -> None:
        self._on_ended = on_ended
        self.stderr = b""

    def errReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        self.stderr = (self.stderr + data)[-_KEPT_STDERR_BYTES:]

    def processEnded(self, reason: Failure) -> None:  # noqa: N802 - Twisted's name
        self._on_ended()


class WorkerProcess:
    """A worker from spawn to burial.

    `on_gone` is called once, with one line on why, when the process is reaped *and* everything it
    had written is read: nothing is being sent any more.
    """

    def __init__(
        self,
        reactor: object,
        command: Sequence[str],
        *,
        on_message: Callable[[FromProber], None],
        on_gone: Callable[[str], None],
    ) -> None:
        """Start it (OSError if this host will not)."""
        self._on_gone = on_gone
        self._why = ""
        self._open_ends = 2
        self._hung_up = False
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._link = _Link(on_message, self._link_lost)
        self._watcher = _Watcher(self._end_closed)
        with theirs, open(os.devnull, "r+b", buffering=0) as null:
            arguments = [*command, "--fd", str(CHILD_FD), "--parent", str(os.getpid())]
            try:
                self._process: IProcessTransport = IReactorProcess(reactor).spawnProcess(
                    self._watcher,
                    arguments[0],
                    arguments,
                    env=None,
                    childFDs={
                        0: null.fileno(),
                        1: null.fileno(),
                        2: "r",
                        CHILD_FD: theirs.fileno(),
                    },
                )
            except OSError:
                ours.close()
                raise
        self.pid: int | None = self._process.pid
        connection = tcp.Connection(ours, self._link, IReactorFDSet(reactor))
        connection.connected = True
        connection.startReading()
        connection.protocol.makeConnection(connection)

    def send(self, message: ToProber) -> None:
        """Queue one message (FrameTooLarge above the cap)."""
        frame = encode_frame(message.SerializeToString())
        if self._link.transport is not None and self._link.connected:
            self._link.transport.write(frame)

    def hang_up(self) -> None:
        """Close our end; the worker stops sending and exits."""
        self._hung_up = True
        if self._link.transport is not None and self._link.connected:
            self._link.transport.loseConnection()

    def kill(self, why: str) -> None:
        """SIGKILL; `on_gone` follows when the process is dead."""
        self._why = self._why or why
        if self.pid is not None and self._process.pid is not None:
            self._process.signalProcess("KILL")

    def _link_lost(self, why: str) -> None:
        # A worker that cannot be spoken to must not go on; most likely it is dead already.
        if not self._hung_up:
            self.kill(why)
        self._end_closed()

    def _end_closed(self) -> None:
        self._open_ends -= 1
        if self._open_ends:
            return
        self.pid = None
        said = self._watcher.stderr.decode("utf-8", "replace").strip().splitlines()
        self._on_gone(self._why or (said[-1][:300] if said else "it died"))
