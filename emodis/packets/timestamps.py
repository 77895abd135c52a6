"""When the kernel saw a packet arrive, be queued and leave. All in Unix ns (CLOCK_REALTIME).

Transmit stamps come back on the sending socket's error queue, each with the running number of its
packet (OPT_ID) and without the packet itself (OPT_TSONLY).
"""

from __future__ import annotations

import enum
import errno
import socket
import struct
from collections.abc import Iterator

import attrs

from emodis.packets.mmsg import Received

# asm-generic/socket.h and linux/net_tstamp.h; the socket module does not have them.
_SO_TIMESTAMPNS = 35
_SO_TIMESTAMPING = 37
_SO_MEMINFO = 55
_MEMINFO_DROPS = 8
_TX_SOFTWARE = 1 << 1
_SOFTWARE = 1 << 4
_OPT_ID = 1 << 7
_TX_SCHED = 1 << 8
_OPT_TSONLY = 1 << 11
# Where each family says which packet a stamp is for (IP_RECVERR, IPV6_RECVERR).
_WHICH = {(socket.IPPROTO_IP, 11), (socket.IPPROTO_IPV6, 25)}
_ORIGIN_TIMESTAMPING = 4
MSG_ERRQUEUE = 0x2000

_TIMESPEC = struct.Struct("@ll")
_EXTENDED_ERROR = struct.Struct("@IBBBBII")


class Moment(enum.Enum):
    """Which moment a transmit stamp tells; the values are the kernel's SCM_TSTAMP_*."""

    LEFT = 0
    QUEUED = 1


@attrs.frozen
class TransmitStamp:
    """`key` counts the packets of the socket from 0, modulo 2**32."""

    key: int
    moment: Moment
    at_ns: int


def enable_receive(sock: socket.socket) -> bool:
    """Have the kernel stamp arrivals; False if it will not."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    except OSError as error:
        if error.errno != errno.ENOPROTOOPT:
            raise
        return False
    return True


def enable_transmit(sock: socket.socket) -> bool:
    """Have the kernel stamp departures, counting from 0 again; False if it will not."""
    flags = _TX_SOFTWARE | _TX_SCHED | _SOFTWARE | _OPT_ID | _OPT_TSONLY
    try:
        # Only switching it off and on again resets the counter.
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPING, 0)
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPING, flags)
    except OSError as error:
        if error.errno not in (errno.ENOPROTOOPT, errno.EINVAL):
            raise
        return False
    return True


def received_ns(message: Received) -> int | None:
    """The arrival stamp of a message, None without one."""
    for level, kind, data in message.control:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS and len(data) >= _TIMESPEC.size:
            return _nanoseconds(data)
    return None


def transmit_stamps(messages: Iterator[Received]) -> Iterator[TransmitStamp]:
    """Pick the transmit stamps out of what an error queue holds."""
    for message in messages:
        stamp = key = moment = None
        for level, kind, data in message.control:
            if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPING:
                stamp = _nanoseconds(data) if len(data) >= _TIMESPEC.size else None
            elif (level, kind) in _WHICH:
                key, moment = _which(data)
        if stamp is not None and key is not None and moment is not None:
            yield TransmitStamp(key, moment, stamp)


def drops(sock: socket.socket) -> int:
    """Packets lost so far because the receive queue was full (what SO_RXQ_OVFL would count)."""
    info = sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 64)
    values = struct.unpack(f"@{len(info) // 4}I", info)
    return values[_MEMINFO_DROPS] if len(values) > _MEMINFO_DROPS else 0


def _nanoseconds(data: bytes) -> int:
    seconds, nanoseconds = _TIMESPEC.unpack_from(data)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


def _which(data: bytes) -> tuple[int | None, Moment | None]:
    if len(data) < _EXTENDED_ERROR.size:
        return None, None
    number, origin, _, _, _, info, key = _EXTENDED_ERROR.unpack_from(data)
    if number != errno.ENOMSG or origin != _ORIGIN_TIMESTAMPING:
        return None, None
    return key, {moment.value: moment for moment in Moment}.get(info)
