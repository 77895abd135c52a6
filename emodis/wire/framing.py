"""Length-prefixed frames without I/O: bytes in, whole frames out.

The cap is a property of the moment, not of the connection: it starts small and is raised by
whoever has seen a valid handshake.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import attrs

PREFIX = struct.Struct("!I")
CAP_BEFORE_WELCOME_BYTES = 1 << 16
CAP_BYTES = 1 << 20


class FrameTooLarge(ValueError):
    """A frame is above the cap; on the receiving side the stream cannot be trusted any further."""

    def __init__(self, length_bytes: int, cap_bytes: int) -> None:
        super().__init__(f"{length_bytes} bytes, cap {cap_bytes}")
        self.length_bytes = length_bytes
        self.cap_bytes = cap_bytes


def encode_frame(payload: bytes) -> bytes:
    """Put the length in front of the payload (FrameTooLarge above `CAP_BYTES`)."""
    if len(payload) > CAP_BYTES:
        raise FrameTooLarge(len(payload), CAP_BYTES)
    return PREFIX.pack(len(payload)) + payload


@attrs.define
class FrameReader:
    """Collects bytes and cuts frames off the front.

    After FrameTooLarge, or after `stop`, it swallows whatever is fed to it: behind a broken prefix
    there is no telling where a frame begins.
    """

    cap_bytes: int = CAP_BYTES
    _buffer: bytearray = attrs.field(factory=bytearray, init=False)
    _stopped: bool = attrs.field(default=False, init=False)

    def stop(self) -> None:
        """Yield nothing more, not even what is complete, and keep nothing."""
        self._stopped = True
        self._buffer.clear()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield every frame that is now complete.

        Raises:
            FrameTooLarge: from the prefix alone, before the payload is kept.
        """
        if self._stopped:
            return
        self._buffer += data
        while len(self._buffer) >= PREFIX.size:
            (length,) = PREFIX.unpack_from(self._buffer)
            if length > self.cap_bytes:
                self.stop()
                raise FrameTooLarge(length, self.cap_bytes)
            end = PREFIX.size + length
            if len(self._buffer) < end:
                return
            frame = bytes(self._buffer[PREFIX.size : end])
            del self._buffer[:end]
            yield frame
