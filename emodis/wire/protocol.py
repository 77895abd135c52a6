"""The thin Twisted skin over `framing`: one envelope type in, another out.

It decides nothing and keeps no timer. A peer's mistake is an event with a reason, never an
exception, and so is a mistake of ours in a handler: an escaped one would print a traceback for
each peer that meets it (SCALE.md 8).

`close` waits until the other side has read what is queued, which may be for ever: its caller sets
a deadline and calls `abort` then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import PurePath
from traceback import extract_tb
from typing import Generic, TypeVar

from google.protobuf.message import DecodeError, Message
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from emodis.wire.framing import (
    CAP_BEFORE_WELCOME_BYTES,
    CAP_BYTES,
    FrameReader,
    FrameTooLarge,
    encode_frame,
)

In = TypeVar("In", bound=Message)
Out = TypeVar("Out", bound=Message)

_log = Logger()


class Wire(Protocol, Generic[In, Out]):
    """One end of a connection.

    Whoever owns it assigns `on_message` and `on_closed` before the connection is made (a factory's
    job) and may reassign them later. `on_closed` is called exactly once, with a reason for people.
    """

    transport: ITCPTransport | None

    def __init__(self, incoming: type[In]) -> None:
        self._incoming = incoming
        self._reader = FrameReader(CAP_BEFORE_WELCOME_BYTES)
        self._reason: str | None = None
        self._closed = False
        self.on_opened: Callable[[], None] = lambda: None
        self.on_message: Callable[[In], None] = lambda message: None
        self.on_closed: Callable[[str], None] = lambda reason: None

    @property
    def peer_host(self) -> str:
        """The other end's address, empty when not connected."""
        peer = self.transport.getPeer() if self.transport is not None else None
        return str(getattr(peer, "host", ""))

    def welcomed(self) -> None:
        """The handshake is through: large frames are allowed from now on."""
        self._reader.cap_bytes = CAP_BYTES

    def connectionMade(self) -> None:
        if self.transport is not None and hasattr(self.transport, "setTcpNoDelay"):
            self.transport.setTcpNoDelay(True)
        with self._our_mistakes_end_it():
            self.on_opened()

    def dataReceived(self, data: bytes) -> None:
        try:
            for frame in self._reader.feed(data):
                self._hear(self._incoming.FromString(frame))
        except FrameTooLarge as error:
            self.abort(f"frame too large: {error}")
        except DecodeError:
            self.abort("undecodable frame")

    def _hear(self, message: In) -> None:
        with self._our_mistakes_end_it():
            self.on_message(message)

    @contextmanager
    def _our_mistakes_end_it(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            _log.debug("a handler failed: {trace}", trace=Failure().getTraceback())
            self.abort(f"an error of our own: {describe(error)}")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._closed = True
        self._reader.stop()
        why = self._reason or _why_lost(reason)
        try:
            self.on_closed(why)
        except Exception as error:
            _log.error("{what}", what=f"while closing ({why}): {describe(error)}")
            _log.debug("a handler failed: {trace}", trace=Failure().getTraceback())

    def send(self, message: Out) -> None:
        """Queue one envelope; a no-op once the connection is over or on its way there.

        Raises:
            FrameTooLarge: if the message is above the cap; nothing was sent.
        """
        frame = encode_frame(message.SerializeToString())
        if self.transport is not None and not self._closed and self._reason is None:
            self.transport.write(frame)

    def close(self, reason: str) -> None:
        """Send what is queued, then hang up; what still arrives is not listened to."""
        if self._reason is None and not self._closed:
            self._reason = reason
            self._reader.stop()
            assert self.transport is not None
            self.transport.loseConnection()

    def abort(self, reason: str) -> None:
        """Hang up at once."""
        if not self._closed:
            self._reason = self._reason or reason
            self._reader.stop()
            assert self.transport is not None
            self.transport.abortConnection()


def describe(error: Exception) -> str:
    """An unexpected exception in one line: what, and where it came from."""
    frames = extract_tb(error.__traceback__)
    place = f" ({PurePath(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return " ".join(f"{type(error).__name__}: {error}".split()) + place


def _why_lost(reason: Failure) -> str:
    """The end of a connection that we did not end."""
    if reason.check(ConnectionDone) is not None:
        return "the other side closed the connection"
    return f"the connection broke: {reason.getErrorMessage().rstrip('.')}"
