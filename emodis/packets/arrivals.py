"""The listening end of paced trains: an ordinary UDP socket whose arrivals the kernel stamps."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress

import attrs

from emodis.packets.clocks import realtime_ns
from emodis.packets.mmsg import Received
from emodis.packets.timestamps import drops, enable_receive, received_ns

# A whole train has to fit while this process is busy with something else.
BUFFER_BYTES = 2 << 20
LARGEST_BYTES = 2048
CONTROL_BYTES = 256
# How a socket of both versions shows an IPv4 address.
_MAPPED = "::ffff:"


@attrs.frozen
class Arrival:
    """One datagram; `at_ns` is Unix time."""

    payload: bytes
    host: str
    port: int
    at_ns: int


class ArrivalSocket:
    """Bound to a port of the kernel's choice, on every address of this host.

    It hears IPv4 and IPv6, where this host has both; IPv4 senders are named in dotted form.
    """

    def __init__(self) -> None:
        self._socket = _both_versions()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        self._socket.setblocking(False)
        self.kernel_rx = enable_receive(self._socket)
        self.port: int = self._socket.getsockname()[1]

    def fileno(self) -> int:
        """For select."""
        return self._socket.fileno()

    def close(self) -> None:
        """Give it back."""
        self._socket.close()

    def send(self, payload: bytes, host: str, port: int) -> None:
        """One datagram from this very port, if this host has a way there."""
        if ":" not in host and self._socket.family == socket.AF_INET6:
            host = _MAPPED + host
        with suppress(OSError):
            self._socket.sendto(payload, (host, port))

    def drops(self) -> int:
        """Lost so far because its queue was full."""
        return drops(self._socket)

    def arrived(self, most: int) -> Iterator[Arrival]:
        """What is there, `most` of it, without waiting."""
        for _ in range(most):
            try:
                data, control, _, sender = self._socket.recvmsg(LARGEST_BYTES, CONTROL_BYTES)
            except OSError:
                # Empty, or the error of an answer that we never sent.
                return
            at_ns = received_ns(Received(data, tuple(control)))
            host = plain_host(sender[0])
            yield Arrival(data, host, sender[1], realtime_ns() if at_ns is None else at_ns)


def plain_host(host: str) -> str:
    """An address as sockets of both versions give it, in its usual form."""
    return host.partition("%")[0].removeprefix(_MAPPED)


def _both_versions() -> socket.socket:
    try:
        sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    except OSError:
        return _bound(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    try:
        return _bound(sock)
    except OSError:
        return _bound(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))


def _bound(sock: socket.socket) -> socket.socket:
    try:
        sock.bind(("", 0))
    except OSError:
        sock.close()
        raise
    return sock
