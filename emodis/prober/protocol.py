"""The worker's end of the socket pair: blocking when idle, a quick look in while a train flies."""

from __future__ import annotations

import select
import socket
from collections import deque

import attrs
from google.protobuf.message import DecodeError

from emodis.wire.framing import FrameReader, FrameTooLarge, encode_frame
from emodis.wire.v1.common_pb2 import RunKey
from emodis.wire.v1.prober_pb2 import FromProber, ToProber

_CHUNK_BYTES = 1 << 16


class Channel:
    """Frames in and out. Once `closed`, the daemon is gone and nothing more will come.

    A daemon that sends what cannot be read is treated as one that is gone.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(True)
        self._socket = sock
        self._reader = FrameReader()
        self._inbox: deque[ToProber] = deque()
        self._asking = select.poll()
        self._asking.register(sock, select.POLLIN)
        self.closed = False

    def fileno(self) -> int:
        """Readable when `poll` will find something."""
        return self._socket.fileno()

    def poll(self) -> None:
        """Read what is there, without waiting."""
        # Asked before every send call: a question costs a quarter of a refused reading.
        while not self.closed and self._asking.poll(0):
            try:
                data = self._socket.recv(_CHUNK_BYTES, socket.MSG_DONTWAIT)
                for frame in self._reader.feed(data):
                    self._inbox.append(ToProber.FromString(frame))
            except BlockingIOError:
                return
            except (OSError, FrameTooLarge, DecodeError):
                self.closed = True
            else:
                self.closed = not data

    def next(self) -> ToProber | None:
        """Wait for a message, for as long as it takes; None when the daemon is gone."""
        while not self._inbox and not self.closed:
            select.select([self._socket], [], [])
            self.poll()
        return self._inbox.popleft() if self._inbox and not self.closed else None

    def aborts(self, run: RunKey) -> bool:
        """Whether an abort of this run waits."""
        return any(
            message.HasField("abort") and message.abort.run == run for message in self._inbox
        )

    def relayed(self, run: RunKey) -> list[bytes]:
        """What the partner of this run has said since it was asked last."""
        found = [message.relay for message in self._inbox if message.HasField("relay")]
        if found:
            kept = (message for message in self._inbox if not message.HasField("relay"))
            self._inbox = deque(kept)
        return [relay.words for relay in found if relay.run == run]

    def send(self, message: FromProber) -> None:
        """Write one message (FrameTooLarge above the cap); to a daemon that is gone, nothing."""
        frame = encode_frame(message.SerializeToString())
        try:
            self._socket.sendall(frame)
        except OSError:
            self.closed = True


@attrs.define
class RunInterrupt:
    """The `Interrupt` of one run: an abort of it, or the end of the daemon."""

    _channel: Channel
    _run: RunKey
    _waiting: bool = attrs.field(default=False, init=False)

    def fileno(self) -> int:
        """See `Interrupt.fileno`."""
        return self._channel.fileno()

    def waiting(self) -> bool:
        """See `Interrupt.waiting`; a system call of half a microsecond when nothing is there."""
        if not self._waiting:
            self._channel.poll()
            self._waiting = self._channel.closed or self._channel.aborts(self._run)
        return self._waiting

    def relayed(self) -> list[bytes]:
        """What the partner of this run has said through the daemon since the last time."""
        self.waiting()
        return self._channel.relayed(self._run)
