"""Packets that arrive at a host, in a pcap file with nanosecond stamps of the kernel.

The recorder is a process in the lab: this very file, run as a script that loads nothing beside the
standard library and the file format. What
the host sends is left out (PACKET_IGNORE_OUTGOING), so sources can be told apart by looking at
arrivals alone; the kernel's own count of drops says whether anything is missing.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import subprocess

READY = b"recording\n"
BUFFER_BYTES = 4 << 20
LARGEST_FRAME_BYTES = 65535
NS_PER_S = 1_000_000_000
ETH_P_ALL = 3
SOL_PACKET, PACKET_STATISTICS, PACKET_IGNORE_OUTGOING = 263, 6, 23
SO_TIMESTAMPNS, SO_RCVBUFFORCE = 35, 33
STOP_TIMEOUT_S = 10.0


class Capture:
    """A recorder at work."""

    def __init__(self, process: subprocess.Popen[Any]) -> None:
        self._process = process
        self._counts: tuple[int, int] | None = None

    def stop(self) -> tuple[int, int]:
        """Close the file; returns how many packets are in it and how many the kernel dropped."""
        if self._counts is None:
            self._process.send_signal(signal.SIGTERM)
            output, _ = self._process.communicate(timeout=STOP_TIMEOUT_S)
            packets, drops = json.loads(output)
            self._counts = packets, drops
        return self._counts

    def __enter__(self) -> Capture:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.stop()


def start_capture(
    popen: Callable[..., subprocess.Popen[Any]], host: str, interface: str, path: Path
) -> Capture:
    """Start a recorder at a host; returns once it records."""
    import subprocess

    from emodis.lab.errors import LabError

    command = [sys.executable, "-IS", __file__, interface, os.fspath(path.absolute())]
    process = popen(host, command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if process.stdout is None or process.stdout.readline() != READY:
        _, fault = process.communicate(timeout=STOP_TIMEOUT_S)
        last = (fault.decode().splitlines() or ["no word"])[-1]
        raise LabError(f"capture at {host} failed: {last}")
    return Capture(process)


def record(interface: str, path: str) -> None:
    """Write packets until SIGTERM, then what is still queued, then the two counts to stdout."""
    from emodis.packets import pcap

    stop_fd, wake_fd = os.pipe2(os.O_NONBLOCK)
    signal.set_wakeup_fd(wake_fd)
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with _listen(interface) as source, open(path, "wb", 1 << 16) as file:
        file.write(pcap.file_header(pcap.LinkType.ETHERNET))

        def keep(at_ns: int, frame: bytes) -> None:
            file.write(pcap.record(at_ns, frame))

        os.write(1, READY)
        packets = 0
        while stop_fd not in select.select([source.fileno(), stop_fd], [], [])[0]:
            packets += _drain(source, keep)
            file.flush()  # so that the file can be read while the capture goes on
        packets += _drain(source, keep)
        statistics = source.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)
        drops = struct.unpack("II", statistics)[1]
    os.write(1, json.dumps([packets, drops]).encode())


def _listen(interface: str) -> socket.socket:
    source = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    source.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    source.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    try:
        source.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
    except PermissionError:
        source.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
    source.setblocking(False)
    source.bind((interface, ETH_P_ALL))
    return source


def _drain(source: socket.socket, keep: Callable[[int, bytes], None]) -> int:
    """Move everything that is queued into the file."""
    packets = 0
    while True:
        try:
            data, control, _, _ = source.recvmsg(LARGEST_FRAME_BYTES, 64)
        except BlockingIOError:
            return packets
        seconds, nanoseconds = struct.unpack("qq", control[0][2])
        keep(seconds * NS_PER_S + nanoseconds, data)
        packets += 1


if __name__ == "__main__":
    # Started without any search path of its own.
    sys.path.insert(0, os.fspath(Path(__file__).parents[2]))
    record(sys.argv[1], sys.argv[2])
