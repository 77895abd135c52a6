"""What this host's kernel does for sockets without privileges, found out on its own loopback.

Two datagrams to a closed port of 127.0.0.1 tell everything: the error comes back, or not, with a
stamp, or not; and the numbers of their transmit stamps show whether a failed call uses one up.
"""

from __future__ import annotations

import contextlib
import select
import socket
from ipaddress import IPv4Address, IPv6Address

import attrs

from emodis.packets.clocks import monotonic_ns
from emodis.packets.datagrams import DatagramBatch
from emodis.packets.errqueue import queued_error
from emodis.packets.families import IPV4
from emodis.packets.flowsocket import FlowSocket
from emodis.packets.mmsg import ReceiveBatch
from emodis.packets.model import Kind
from emodis.packets.sockets import source_towards
from emodis.packets.timestamps import MSG_ERRQUEUE, Moment, received_ns, transmit_stamps
from emodis.packets.transport import TransportError

_LOOPBACK = IPv4Address("127.0.0.1")
_WAIT_NS = 500_000_000
_ATTEMPTS = 8
_PAUSE_S = 0.01


@attrs.frozen(kw_only=True)
class Trial:
    """`errors`: ICMP errors come back; `arrivals`, `departures`: with kernel stamps.

    `echo`: this user may open ICMP datagram sockets.
    """

    errors: bool
    arrivals: bool
    departures: bool
    # A send call that fails uses up a number of the stamps' count (older kernels).
    keys_leak: bool
    echo: bool


def try_datagrams() -> Trial:
    """Send two datagrams to ourselves. Without a working loopback the best is assumed."""
    echo = _opens_echo()
    try:
        sock = FlowSocket(Kind.UDP, _LOOPBACK, _closed_port())
    except (TransportError, OSError):
        return Trial(errors=True, arrivals=True, departures=True, keys_leak=False, echo=echo)
    with contextlib.closing(sock):
        heard = _exchange(sock.socket)
    if heard.sent < 2:
        return Trial(errors=True, arrivals=True, departures=True, keys_leak=False, echo=echo)
    return Trial(
        errors=bool(heard.errors),
        arrivals=any(stamp is not None for stamp in heard.errors),
        departures=bool(heard.keys),
        keys_leak=len(heard.keys) == 2 and heard.keys[1] - heard.keys[0] > 1,
        echo=echo,
    )


@attrs.define
class _Heard:
    """Datagrams that were sent, stamps of the errors that came, keys of the departures."""

    sent: int = 0
    errors: list[int | None] = attrs.field(factory=list)
    keys: list[int] = attrs.field(factory=list)

    @property
    def all(self) -> bool:
        return len(self.keys) >= 2 and bool(self.errors)


def _exchange(sock: socket.socket) -> _Heard:
    batch = DatagramBatch(bytearray(8), [4, 4], family=IPV4, ttls=[64, 64])
    queue = ReceiveBatch(16, 64)
    heard, attempts = _Heard(), 0
    deadline_ns = monotonic_ns() + _WAIT_NS
    while monotonic_ns() < deadline_ns and not heard.all:
        if heard.sent < 2 and attempts < _ATTEMPTS:
            attempts += 1
            # The second one is expected to fail once, with the error of the first.
            with contextlib.suppress(OSError):
                heard.sent += batch.send(sock.fileno(), heard.sent, heard.sent + 1)
        select.select([sock], [], [], _PAUSE_S)
        for message in queue.receive(sock.fileno(), MSG_ERRQUEUE):
            if queued_error(message, IPV4) is not None:
                heard.errors.append(received_ns(message))
            for stamp in transmit_stamps(iter((message,))):
                if stamp.moment is Moment.LEFT:
                    heard.keys.append(stamp.key)
    return heard


def _opens_echo() -> bool:
    try:
        FlowSocket(Kind.ICMP_ECHO, _LOOPBACK, 0).close()
    except TransportError:
        return False
    return True


def has_ipv6() -> bool:
    """Whether IPv6 is there and switched on; that a destination has a route is another matter."""
    try:
        source_towards(IPv6Address("::1"))
    except (OSError, TransportError):
        return False
    return True


def _closed_port() -> int:
    """A port of this host that nobody listened on a moment ago."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((str(_LOOPBACK), 0))
        return int(probe.getsockname()[1])
