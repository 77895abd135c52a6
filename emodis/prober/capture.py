"""A run's packets into a pcap file, between its trains.

The file is made by whoever started the prober (`prepare`), in its own name and with its own rights;
the prober only appends, up to a limit, and never through a symbolic link.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from emodis.packets.pcap import LinkType, file_header, record
from emodis.packets.tape import Packet, Recordable, Tape

LARGEST_FILE_BYTES = 64 << 20
FULL = "The capture {path} is full at {limit} MB; later packets are not in it."
UNABLE = "There is no capture: only raw sockets show packets as they are on the wire."
BROKEN = "The capture {path} could not be written: {why}."


def prepare(path: Path) -> None:
    """Make an empty capture, readable by this user only; one that is there is overwritten.

    Raises:
        OSError: if that cannot be, also where it is a symbolic link.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        file.write(file_header(LinkType.RAW))


class Capture:
    """The capture of one run; without a path it does nothing. A context manager.

    Whatever goes wrong with it is a `remark` and never the end of a run. The remark is for this
    host's own operator: a result that says anything of a capture would tell whoever asked for it
    that there is one.
    """

    def __init__(self, path: str, max_bytes: int = LARGEST_FILE_BYTES) -> None:
        self.remark = ""
        self._path = path
        self._fd = -1
        self._max_bytes = max_bytes
        self._left_bytes = 0
        self._tape = Tape()
        self._transport: Recordable | None = None
        if path:
            self._open(path)

    @property
    def tape(self) -> Tape | None:
        """For whoever sends and receives by itself; None: nothing is to be kept."""
        return self._tape if self._fd >= 0 else None

    def watch(self, transport: object) -> None:
        """Keep what this transport sends and receives, if it can show that."""
        if not self._path:
            return
        if isinstance(transport, Recordable):
            self._transport = transport
            transport.record(self._tape)
        else:
            self.remark = UNABLE

    def keep(self) -> None:
        """Write what the tape has; to be called while no train flies."""
        packets = self._tape.take()
        if self._fd < 0:
            return
        try:
            self._write(packets)
        except OSError as error:
            self._fail(error)

    def __enter__(self) -> Capture:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.keep()
        self._close()
        if self._transport is not None:
            self._transport.record(None)

    def _open(self, path: str) -> None:
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
            self._left_bytes = self._max_bytes - os.fstat(self._fd).st_size
        except OSError as error:
            self._fail(error)

    def _write(self, packets: Iterable[Packet]) -> None:
        chunk = bytearray()
        for at_ns, packet in packets:
            written = record(at_ns, packet)
            if len(chunk) + len(written) > self._left_bytes:
                self.remark = FULL.format(path=self._path, limit=self._max_bytes // 1_000_000)
                # So that the file is what came first, without holes.
                self._left_bytes = len(chunk)
                break
            chunk += written
        self._left_bytes -= len(chunk)
        view = memoryview(chunk)
        while view:
            view = view[os.write(self._fd, view) :]

    def _fail(self, error: OSError) -> None:
        self.remark = BROKEN.format(path=self._path, why=error.strerror)
        self._close()

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1
