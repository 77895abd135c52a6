"""Many packets in one system call, by ctypes: sendmmsg(2) and recvmmsg(2).

Every buffer the kernel is shown belongs to the batch and lives as long as it; an address of
something Python has let go of would send nothing, or worse, without any error.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence

import attrs

from emodis.packets.model import Address


class _IoVec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Header(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint),
        ("vector", ctypes.c_void_p),
        ("vector_length", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Message(ctypes.Structure):
    _fields_ = (("header", _Header), ("transferred", ctypes.c_uint))


_libc = ctypes.CDLL(None, use_errno=True)
_sendmmsg = _libc.sendmmsg
_sendmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)
_recvmmsg = _libc.recvmmsg
_recvmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)
_NAME_BYTES = 28
_MESSAGE_BYTES = ctypes.sizeof(_Message)
_CMSG = struct.Struct("@Nii")
# More than any of our receive queues holds. Where packets come faster than they are read, reading
# until none is left would never end.
LARGEST_HAUL = 4096
# UIO_MAXIOV: the kernel quietly sends no more than this in one call.
LARGEST_CALL = 1024


def _raise_errno() -> None:
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number))


def _socket_address(address: Address) -> bytes:
    """The kernel's form of it, without a port: a raw socket has none."""
    if address.version == 4:
        return struct.pack("@HH4s8x", socket.AF_INET, 0, address.packed)
    return struct.pack("@HHI16sI", socket.AF_INET6, 0, 0, address.packed, 0)


class SendBatch:
    """Packets behind one another in `data`, ready to leave for one address.

    `sizes` are their lengths in order; `data` must not be resized as long as this lives.
    """

    def __init__(self, data: bytearray, sizes: Sequence[int], target: Address) -> None:
        self.count = len(sizes)
        self._data = (ctypes.c_char * max(1, len(data))).from_buffer(data)
        name = _socket_address(target)
        self._name = ctypes.create_string_buffer(name, len(name))
        self._vectors = (_IoVec * self.count)()
        self._messages = (_Message * self.count)()
        address = ctypes.addressof(self._data)
        vector = ctypes.addressof(self._vectors)
        for index, size in enumerate(sizes):
            self._vectors[index].base = address
            self._vectors[index].length = size
            message = self._messages[index].header
            message.name = ctypes.addressof(self._name)
            message.name_length = len(name)
            message.vector = vector + index * ctypes.sizeof(_IoVec)
            message.vector_length = 1
            address += size
        self._first = ctypes.addressof(self._messages)

    def packet(self, index: int) -> bytes:
        """What the kernel is given for this one."""
        vector = self._vectors[index]
        return ctypes.string_at(vector.base, vector.length)

    def send(self, fd: int, start: int, end: int) -> int:
        """Send packets start..end-1 without blocking; say how many of them went (at least one).

        Raises:
            BlockingIOError: if the socket's send buffer is full.
            OSError: if the first of them cannot be sent.
        """
        at = self._first + start * _MESSAGE_BYTES
        count = min(end - start, LARGEST_CALL)
        sent = int(_sendmmsg(fd, at, count, socket.MSG_DONTWAIT))
        if sent < 0:
            _raise_errno()
        return sent


@attrs.frozen
class Received:
    """One message: the data, and the control messages as (level, type, data).

    `name` is the sender's socket address in the kernel's form, empty where there is none.
    """

    data: bytes
    control: tuple[tuple[int, int, bytes], ...]
    name: bytes = b""


class ReceiveBatch:
    """Room for messages; one call takes what is there and never waits."""

    def __init__(self, count: int, data_bytes: int, control_bytes: int = 256) -> None:
        self._count = count
        self._data_bytes = data_bytes
        self._control_bytes = control_bytes
        self._data = bytearray(count * data_bytes)
        self._names = bytearray(count * _NAME_BYTES)
        self._control = bytearray(count * control_bytes)
        data_at = ctypes.addressof((ctypes.c_char * len(self._data)).from_buffer(self._data))
        name_at = ctypes.addressof((ctypes.c_char * len(self._names)).from_buffer(self._names))
        control_at = ctypes.addressof(
            (ctypes.c_char * len(self._control)).from_buffer(self._control)
        )
        self._vectors = (_IoVec * count)()
        self._messages = (_Message * count)()
        vector_at = ctypes.addressof(self._vectors)
        for index in range(count):
            self._vectors[index].base = data_at + index * data_bytes
            self._vectors[index].length = data_bytes
            message = self._messages[index].header
            message.vector = vector_at + index * ctypes.sizeof(_IoVec)
            message.vector_length = 1
            message.control = control_at + index * control_bytes
            message.control_length = control_bytes
            message.name = name_at + index * _NAME_BYTES
            message.name_length = _NAME_BYTES
        self._used = 0

    def receive(self, fd: int, flags: int = 0) -> Iterator[Received]:
        """Yield all that is queued, one system call per batch; truncated messages are left out.

        In a flood it stops after `LARGEST_HAUL`; the rest is there for the next call.

        Raises:
            OSError: for anything but an empty queue.
        """
        for _ in range(max(1, LARGEST_HAUL // self._count)):
            count = self._call(fd, flags)
            for index in range(count):
                message = self._messages[index]
                if message.header.flags & socket.MSG_TRUNC:
                    continue
                start = index * self._data_bytes
                data = bytes(self._data[start : start + message.transferred])
                yield Received(data, tuple(self._control_messages(index)), self._name(index))
            if count < self._count:
                return

    def discard(self, fd: int, flags: int = 0) -> None:
        """Throw away all that is queued; of a flood, `LARGEST_HAUL`."""
        for _ in range(max(1, LARGEST_HAUL // self._count)):
            if self._call(fd, flags) < self._count:
                return

    def _call(self, fd: int, flags: int) -> int:
        for index in range(self._used):
            # The kernel wrote the used lengths here.
            self._messages[index].header.control_length = self._control_bytes
            self._messages[index].header.name_length = _NAME_BYTES
        self._used = 0
        at = ctypes.addressof(self._messages)
        got = int(_recvmmsg(fd, at, self._count, flags | socket.MSG_DONTWAIT, None))
        if got < 0:
            if ctypes.get_errno() == errno.EAGAIN:
                return 0
            _raise_errno()
        self._used = got
        return got

    def _name(self, index: int) -> bytes:
        start = index * _NAME_BYTES
        length = min(self._messages[index].header.name_length, _NAME_BYTES)
        return bytes(self._names[start : start + length])

    def _control_messages(self, index: int) -> Iterator[tuple[int, int, bytes]]:
        at = index * self._control_bytes
        end = at + self._messages[index].header.control_length
        while at + _CMSG.size <= end:
            length, level, kind = _CMSG.unpack_from(self._control, at)
            if not _CMSG.size <= length <= end - at:
                return
            yield level, kind, bytes(self._control[at + _CMSG.size : at + length])
            at += socket.CMSG_SPACE(length - _CMSG.size)
