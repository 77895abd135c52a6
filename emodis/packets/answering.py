"""The destination's end of probes that ask to be answered: stamp, answer, forget.

An ordinary UDP port on every address of this host. The kernel throws away what carries another tag
or asks for nothing, load packets above all: they wake nobody and fill no queue.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator

import attrs

from emodis.packets import bpf
from emodis.packets.clocks import realtime_ns
from emodis.packets.invitation import answer
from emodis.packets.mmsg import Received
from emodis.packets.timestamps import enable_receive, received_ns

LARGEST_BYTES = 2048
_CONTROL_BYTES = 256
# In the order of preference; linux/in.h and in6.h have the numbers.
_IP_PKTINFO, _IPV6_RECVPKTINFO, _IPV6_PKTINFO = 8, 49, 50
_INTERFACE = struct.Struct("@i")
# IPv6 first finds a port that must also be free for IPv4.
_ATTEMPTS = 8


@attrs.frozen
class _Asked:
    """A probe with the address it came from, and by which of ours it came, for the answer."""

    message: Received
    place: tuple[str, int]
    control: list[tuple[int, int, bytes]]


class AnsweringSocket:
    """One port of one IP version."""

    def __init__(self, version: int, port: int, tag: bytes) -> None:
        """Open it (OSError if this host does not let us); port 0: the kernel chooses."""
        self._tag = tag
        six = version == 6
        self._level = socket.IPPROTO_IPV6 if six else socket.IPPROTO_IP
        self._socket = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            if six:
                self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            # With several addresses the answer must come from the one that was asked.
            self._socket.setsockopt(self._level, _IPV6_RECVPKTINFO if six else _IP_PKTINFO, 1)
            self._kernel_rx = enable_receive(self._socket)
            bpf.attach(self._socket, bpf.asking(tag))
            self._socket.bind(("", port))
        except BaseException:
            self._socket.close()
            raise

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._socket.getsockname()[1])

    def fileno(self) -> int:
        """For select."""
        return self._socket.fileno()

    def close(self) -> None:
        """Give it back."""
        self._socket.close()

    def serve(self, most: int) -> int:
        """Answer what is there, `most` of it, without waiting; how many answers were sent."""
        served = 0
        for asked in self._asked(most):
            stamp_ns = received_ns(asked.message) if self._kernel_rx else None
            words = answer(
                asked.message.data,
                self._tag,
                realtime_ns() if stamp_ns is None else stamp_ns,
                by_kernel=stamp_ns is not None,
            )
            if words is not None:
                served += self._send(words, asked)
        return served

    def _asked(self, most: int) -> Iterator[_Asked]:
        for _ in range(most):
            try:
                data, control, _, place = self._socket.recvmsg(LARGEST_BYTES, _CONTROL_BYTES)
            except BlockingIOError:
                return
            except OSError:
                # The error of an answer that found nobody.
                continue
            ours = [_towards(c) for c in control if (c[0], c[1]) in _WAYS]
            yield _Asked(Received(data, tuple(control)), place, ours)

    def _send(self, words: bytes, asked: _Asked) -> bool:
        try:
            self._socket.sendmsg([words], asked.control, 0, asked.place)
        except OSError:
            # Lost like any other packet; whoever asked has a deadline.
            return False
        return True


def open_answering(tag: bytes) -> tuple[AnsweringSocket, ...]:
    """The same port for every IP version of this host.

    Raises:
        OSError: if this host does not let us.
    """
    for _ in range(_ATTEMPTS):
        first = AnsweringSocket(4, 0, tag)
        try:
            return first, AnsweringSocket(6, first.port, tag)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                # No IPv6 here.
                return (first,)
            first.close()
    raise OSError(errno.EADDRINUSE, "no UDP port is free for both IP versions")


_WAYS = {(socket.IPPROTO_IP, _IP_PKTINFO), (socket.IPPROTO_IPV6, _IPV6_PKTINFO)}


def _towards(control: tuple[int, int, bytes]) -> tuple[int, int, bytes]:
    """The control message that makes a packet leave from the address another one came to."""
    level, kind, data = control
    if level == socket.IPPROTO_IP:
        # Whatever interface routing likes: the way back may be another one.
        return level, kind, _INTERFACE.pack(0) + data[_INTERFACE.size :]
    return level, kind, data
