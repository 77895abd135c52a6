"""One flow of a run without privileges: a connected datagram socket and its error queue.

Errors and transmit stamps come on the same queue. Each ICMP error also makes one later call on the
socket fail, whatever that call was for, and the call has then done nothing: it is made again.
"""

from __future__ import annotations

import errno
import socket
from collections import deque
from collections.abc import Iterator

import attrs

from emodis.packets.errqueue import QueuedError, queued_error, received_ttl
from emodis.packets.families import PMTUDISC_PROBE, Family, family_of, set_fragmenting
from emodis.packets.mmsg import LARGEST_CALL, LARGEST_HAUL, ReceiveBatch, Received, SendBatch
from emodis.packets.model import Address, Kind
from emodis.packets.sockets import send_error
from emodis.packets.timestamps import (
    MSG_ERRQUEUE,
    Moment,
    TransmitStamp,
    drops,
    enable_receive,
    enable_transmit,
    received_ns,
    transmit_stamps,
)
from emodis.packets.transport import NoRoute, NotPermitted

BUFFER_BYTES = 4 << 20
LARGEST_ANSWER_BYTES = 2048
# Two transmit stamps and an error for each packet of a call, in the queue's accounting.
_QUEUED_BYTES = 8192
_LEAST_CALL = 16
_CONTROL_BYTES = 256
# What earlier probes met, as a send call reports it.
_ECHOES_OF_ERRORS = frozenset(
    {
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
        errno.ECONNREFUSED,
        errno.EHOSTDOWN,
        errno.ENONET,
        errno.ENOPROTOOPT,
        errno.EOPNOTSUPP,
        errno.EPROTO,
        errno.EACCES,
        errno.EMSGSIZE,
    }
)
# So many of them in a row without a packet sent in between are this host's own refusal.
_MOST_ECHOES = 64
NO_ECHO = (
    "this host does not let users send ICMP echo (sysctl net.ipv4.ping_group_range); "
    "open the range for this user's group, use UDP, or run with CAP_NET_RAW"
)


@attrs.frozen
class EchoReply:
    """What a ping socket received: ICMP header and payload."""

    data: bytes
    ttl: int
    received_ns: int | None


@attrs.frozen
class Datagram:
    """What came back from the probed UDP port."""

    data: bytes
    ttl: int
    received_ns: int | None


Arrival = QueuedError | EchoReply | Datagram


class FlowSocket:
    """Satisfies `flight.Sockets`; sender and receiver are one socket.

    `keys_leak` says that this kernel numbers transmit stamps on when a send call fails.
    """

    # Stamps are numbered within the train.
    next_key = 0

    def __init__(self, kind: Kind, target: Address, port: int, *, keys_leak: bool = False) -> None:
        """Open and connect it; nothing is sent (NoRoute, NotPermitted, SendFailed)."""
        self.family = family_of(target)
        self._kind = kind
        self._keys_leak = keys_leak
        self.socket = _open(kind, self.family)
        try:
            _connect(self.socket, target, port)
            self.stamps_arrivals, self.stamps_departures = _prepare(self.socket, self.family)
        except BaseException:
            self.socket.close()
            raise
        room = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        self._call_packets = min(LARGEST_CALL, max(_LEAST_CALL, room // _QUEUED_BYTES))
        self._errors = ReceiveBatch(64, LARGEST_ANSWER_BYTES)
        self._target = str(target)
        self._arrived: deque[Arrival] = deque()
        self._stamped: deque[TransmitStamp] = deque()
        self._used_keys = 0
        # Which keys the packets of this train got: (first key, first packet, packets).
        self._spans: list[tuple[int, int, int]] = []

    @property
    def sender(self) -> socket.socket:
        """The socket."""
        return self.socket

    @property
    def receiver(self) -> socket.socket:
        """The same one: errors make it readable."""
        return self.socket

    @property
    def holds_answers(self) -> bool:
        """Whether a look for stamps has found answers, too."""
        return bool(self._arrived)

    @property
    def source(self) -> tuple[bytes, int]:
        """Own address, packed, and own port or ICMP id."""
        host, port = self.socket.getsockname()[:2]
        return socket.inet_pton(self.family.number, host), int(port)

    def begin_train(self, dscp: int, *, df: bool = True) -> None:
        """Forget what is left of the train before."""
        self.socket.setsockopt(self.family.level, self.family.traffic_class, dscp << 2)
        set_fragmenting(self.socket, self.family, df=df)
        self._drain()
        self._arrived.clear()
        self._stamped.clear()
        self._spans.clear()

    def send(self, batch: SendBatch, start: int, end: int) -> int:
        """Send packets start..end-1, or as many as fit; 0 if the send buffer is full.

        Raises:
            TransportError: if this host does not let them out.
        """
        end = min(end, start + self._call_packets)
        at, failures = start, 0
        while at < end:
            try:
                sent = batch.send(self.socket.fileno(), at, end)
            except BlockingIOError:
                self._used_keys += self._keys_leak
                break
            except OSError as error:
                self._used_keys += self._keys_leak
                failures += 1
                if error.errno not in _ECHOES_OF_ERRORS or failures > _MOST_ECHOES:
                    raise send_error(error) from error
                continue
            failures = 0
            self._spans.append((self._used_keys, at, sent))
            # A call that stops early has tried one packet more.
            self._used_keys += sent + (self._keys_leak and at + sent < end)
            at += sent
        return at - start

    def answers(self) -> Iterator[tuple[Arrival, int | None]]:
        """What has come, with its arrival in Unix ns (None: not stamped)."""
        self._drain()
        while self._arrived:
            arrival = self._arrived.popleft()
            yield arrival, arrival.received_ns

    def stamps(self) -> Iterator[TransmitStamp]:
        """Transmit stamps of this train that have come since the last call."""
        self._drain()
        while self._stamped:
            yield self._stamped.popleft()

    def drops(self) -> int:
        """What was lost since the socket was opened because its queue was full."""
        return drops(self.socket)

    def close(self) -> None:
        """Give it back."""
        self.socket.close()

    def _drain(self) -> None:
        for message in self._errors.receive(self.socket.fileno(), MSG_ERRQUEUE):
            error = queued_error(message, self.family)
            if error is not None:
                self._arrived.append(error)
                continue
            for stamp in transmit_stamps(iter((message,))):
                self._place(stamp.key, stamp.moment, stamp.at_ns)
        for message in self._received():
            ttl = received_ttl(message, self.family)
            kind = EchoReply if self._kind is Kind.ICMP_ECHO else Datagram
            self._arrived.append(kind(message.data, ttl, received_ns(message)))

    def _received(self) -> Iterator[Received]:
        """Plain packets; an error that an earlier probe met is read off and forgotten."""
        failures = 0
        # A flood must not keep us here.
        for _ in range(LARGEST_HAUL):
            if failures >= _MOST_ECHOES:
                return
            try:
                data, control, _, place = self.socket.recvmsg(LARGEST_ANSWER_BYTES, _CONTROL_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno not in _ECHOES_OF_ERRORS:
                    raise send_error(error) from error
                failures += 1
                continue
            # A ping socket takes echo replies from anybody.
            if place[0] == self._target:
                yield Received(data, tuple(control))

    def _place(self, key: int, moment: Moment, at_ns: int) -> None:
        for first_key, first, count in reversed(self._spans):
            offset = (key - first_key) % (1 << 32)
            if offset < count:
                self._stamped.append(TransmitStamp(first + offset, moment, at_ns))
                return


def _open(kind: Kind, family: Family) -> socket.socket:
    protocol = family.icmp_protocol if kind is Kind.ICMP_ECHO else 0
    try:
        return socket.socket(family.number, socket.SOCK_DGRAM, protocol)
    except PermissionError as error:
        raise NotPermitted(NO_ECHO) from error
    except OSError as error:
        raise send_error(error) from error


def _connect(sock: socket.socket, target: Address, port: int) -> None:
    try:
        sock.connect((str(target), port))
    except OSError as error:
        if error.errno == errno.EINVAL:
            # What a blackhole route answers.
            raise NoRoute("this host throws away what goes to the destination") from error
        raise send_error(error) from error


def _prepare(sock: socket.socket, family: Family) -> tuple[bool, bool]:
    """Switch errors, TTLs and stamps on; whether arrivals and departures are stamped."""
    sock.setblocking(False)
    sock.setsockopt(family.level, family.receive_errors, 1)
    sock.setsockopt(family.level, family.receive_ttl, 1)
    sock.setsockopt(family.level, family.mtu_discovery, PMTUDISC_PROBE)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
    return enable_receive(sock), enable_transmit(sock)
