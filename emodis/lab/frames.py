"""Ethernet frames that arrive at an interface, read with the kernel's stamps."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import socket
import struct
from collections.abc import Iterator, Sequence

SNAP_BYTES, CONTROL_BYTES = 2048, 64
BUFFER_BYTES = 8 << 20
ETH_P_ALL, SOL_PACKET, PACKET_IGNORE_OUTGOING = 3, 263, 23
SO_TIMESTAMPNS, SO_RCVBUFFORCE, SO_ATTACH_FILTER = 35, 33, 26
NS_PER_S = 1_000_000_000
# What a link that is down, or a full queue, says: the frame is lost, as on a real wire.
LOST = {errno.ENETDOWN, errno.ENOBUFS, errno.EAGAIN, errno.ENXIO}

# Classic BPF: (code, jump if true, jump if false, constant).
Instruction = tuple[int, int, int, int]
LOAD_HALF, LOAD_WORD, LOAD_BYTE, AND, JUMP_EQUAL, RETURN = 0x28, 0x20, 0x30, 0x54, 0x15, 0x06
WHOLE_FRAME = 0xFFFFFFFF


def open_frames(interface: str, program: Sequence[Instruction] = ()) -> socket.socket:
    """A packet socket for what arrives at an interface of the present namespace.

    Args:
        interface: its name.
        program: a classic BPF program over the Ethernet frame; it returns 0 for what is not wanted.
    """
    frames = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    frames.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    frames.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    try:
        frames.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
    except PermissionError:
        frames.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
    if program:
        _attach(frames, program)
    frames.setblocking(False)
    frames.bind((interface, ETH_P_ALL))
    return frames


def arrivals(frames: socket.socket, most: int) -> Iterator[tuple[int, bytes]]:
    """At most so many of the frames that wait: (kernel stamp, frame), in ns of the wall clock."""
    for _ in range(most):
        try:
            data, control, _, _ = frames.recvmsg(SNAP_BYTES, CONTROL_BYTES)
        except OSError as error:
            if error.errno in LOST:
                return
            raise
        seconds, nanoseconds = struct.unpack("qq", control[0][2])
        yield seconds * NS_PER_S + nanoseconds, data


def put(frames: socket.socket, frame: bytes) -> None:
    """Send a frame, or lose it where the link is down."""
    with contextlib.suppress(BlockingIOError):
        try:
            frames.send(frame)
        except OSError as error:
            if error.errno not in LOST:
                raise


def _attach(frames: socket.socket, program: Sequence[Instruction]) -> None:
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    argument = struct.pack("HxxxxxxP", len(program), ctypes.addressof(buffer))
    frames.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, argument)
