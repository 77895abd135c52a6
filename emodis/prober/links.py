"""The ways in which a prober speaks with the partner of a run: its own connection, or a relay.

Both carry whole messages. Every wait has an end, and ends early when nobody wants the run any more.
"""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Callable, Sequence
from typing import Protocol

import attrs
from google.protobuf.message import DecodeError

from emodis.packets.clocks import monotonic_ns
from emodis.packets.model import Address
from emodis.packets.transport import Interrupt
from emodis.techniques.igi_sender import PeerProtocol
from emodis.wire.framing import CAP_BEFORE_WELCOME_BYTES, FrameReader, FrameTooLarge, encode_frame
from emodis.wire.v1.common_pb2 import BLAME_TARGET, Blame
from emodis.wire.v1.igi_pb2 import IgiMessage

NS = 1_000_000_000
_CHUNK_BYTES = 1 << 16


class PeerFailed(Exception):
    """The run ends here; the text is for people."""

    def __init__(self, reason: str, hint: str, blame: Blame.ValueType = BLAME_TARGET) -> None:
        super().__init__(hint)
        self.reason = reason
        self.blame = blame


class PeerStopped(Exception):
    """Interrupted, out of time or out of bytes: `traffic` and the interrupt know which."""


class PeerUnreachable(Exception):
    """The connection did not arrive; the text says why."""


class Link(Protocol):
    """Messages to and from the partner."""

    def say(self, message: IgiMessage) -> None:
        """Queue one (PeerFailed where the partner is gone)."""
        ...

    def hear(self, within_ns: int) -> IgiMessage:
        """The next one (PeerFailed, PeerStopped, PeerProtocol)."""
        ...

    def poll(self, within_ns: int) -> IgiMessage | None:
        """The same, None if there is none by then."""
        ...

    def close(self) -> None:
        """Hang up."""
        ...


@attrs.define
class TcpLink:
    """Frames over a connection that this host has opened, without Twisted."""

    _socket: socket.socket
    _interrupt: Interrupt
    _reader: FrameReader = attrs.field(
        factory=lambda: FrameReader(cap_bytes=CAP_BEFORE_WELCOME_BYTES), init=False
    )
    _frames: list[bytes] = attrs.field(factory=list, init=False)

    @classmethod
    def dial(cls, partner: Address, port: int, interrupt: Interrupt, within_ns: int) -> TcpLink:
        """Connect (PeerUnreachable, PeerStopped)."""
        family = socket.AF_INET6 if partner.version == 6 else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setblocking(False)
        link = cls(sock, interrupt)
        try:
            link._connect(str(partner), port, within_ns)
        except (PeerUnreachable, PeerStopped):
            link.close()
            raise
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return link

    def say(self, message: IgiMessage) -> None:
        """Messages are small: a partner that reads none of them is gone."""
        try:
            self._socket.sendall(encode_frame(message.SerializeToString()))
        except OSError as error:
            raise gone(error.strerror or str(error)) from error

    def hear(self, within_ns: int) -> IgiMessage:
        return _expected(self.poll(within_ns), within_ns)

    def poll(self, within_ns: int) -> IgiMessage | None:
        end_ns = monotonic_ns() + within_ns
        try:
            while not self._frames:
                self._wait(end_ns, writing=False)
                self._frames.extend(self._reader.feed(self._read()))
        except TimeoutError:
            return None
        except FrameTooLarge as error:
            raise PeerProtocol("it sent what is no message") from error
        return _decoded(self._frames.pop(0))

    def close(self) -> None:
        self._socket.close()

    def _connect(self, host: str, port: int, within_ns: int) -> None:
        number = self._socket.connect_ex((host, port))
        if number == errno.EINPROGRESS:
            try:
                self._wait(monotonic_ns() + within_ns, writing=True)
            except TimeoutError:
                raise PeerUnreachable("no answer") from None
            number = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            raise PeerUnreachable(os.strerror(number))

    def _wait(self, end_ns: int, *, writing: bool) -> None:
        interrupt, own = self._interrupt.fileno(), self._socket.fileno()
        reading, watched = ([interrupt], [own]) if writing else ([interrupt, own], [])
        while True:
            left_ns = end_ns - monotonic_ns()
            if left_ns <= 0:
                raise TimeoutError
            readable, writable, _ = select.select(reading, watched, [], left_ns / NS)
            if self._interrupt.waiting():
                raise PeerStopped
            if writable or own in readable:
                return

    def _read(self) -> bytes:
        try:
            data = self._socket.recv(_CHUNK_BYTES)
        except OSError as error:
            raise gone(error.strerror or str(error)) from error
        if not data:
            raise gone("it closed the connection")
        return data


class RelayInterrupt(Interrupt, Protocol):
    """An interrupt that also knows what the partner has said through the daemon."""

    def relayed(self) -> Sequence[bytes]:
        """New words, each a whole message."""
        ...


@attrs.define
class RelayLink:
    """Messages through daemon and master, who do not say whether the partner is still there."""

    _interrupt: RelayInterrupt
    _send: Callable[[bytes], None]
    _waiting: list[bytes] = attrs.field(factory=list, init=False)

    def say(self, message: IgiMessage) -> None:
        self._send(message.SerializeToString())

    def hear(self, within_ns: int) -> IgiMessage:
        return _expected(self.poll(within_ns), within_ns)

    def poll(self, within_ns: int) -> IgiMessage | None:
        end_ns = monotonic_ns() + within_ns
        while not self._waiting:
            if self._interrupt.waiting():
                raise PeerStopped
            self._waiting.extend(self._interrupt.relayed())
            left_ns = end_ns - monotonic_ns()
            if not self._waiting and left_ns <= 0:
                return None
            if not self._waiting:
                select.select([self._interrupt], [], [], left_ns / NS)
        return _decoded(self._waiting.pop(0))

    def close(self) -> None:
        """There is nothing to hang up."""


def _decoded(words: bytes) -> IgiMessage:
    try:
        return IgiMessage.FromString(words)
    except DecodeError as error:
        raise PeerProtocol("it sent what is no message") from error


def _expected(message: IgiMessage | None, within_ns: int) -> IgiMessage:
    if message is None:
        raise gone(f"it said nothing for {within_ns / NS:g} s")
    return message


def gone(why: str) -> PeerFailed:
    """The partner is not there any more, or says nothing: nobody can tell which."""
    return PeerFailed("peer_gone", f"The other end went away during the run ({why}); try again.")
