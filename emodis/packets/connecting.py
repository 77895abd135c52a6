"""SYNs without privileges: the kernel opens connections for us, and says what became of each.

Every connection has a socket and so a source port of its own: every SYN is a flow of its own. The
kernel writes all of it but the TTL and the service class, and repeats it after a second. An ICMP
error comes to the socket's error queue with its kernel stamp (Linux 5.8 or newer; before, the hop
stays silent and the error counts as unmatched). How long a SYN/ACK took the kernel has measured.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
from collections.abc import Iterator, Sequence

import attrs

from emodis.packets.clocks import realtime_ns
from emodis.packets.errqueue import queued_error
from emodis.packets.families import Family, family_of, set_fragmenting
from emodis.packets.flow import IdBlock
from emodis.packets.mmsg import Received
from emodis.packets.model import Address, ReplyKind
from emodis.packets.replies import Answer
from emodis.packets.sockets import send_error
from emodis.packets.timestamps import MSG_ERRQUEUE, TransmitStamp, enable_receive

# A TCP header with the options that Linux gives to a SYN, and to whatever follows it.
SYN_BYTES = 40
SEGMENT_BYTES = 32
# The oldest are given up for new ones: the file descriptors of a process are few.
MOST_OPEN = 512
_RESET_BYTES = 20
_LINGER = struct.pack("@ii", 1, 0)
_CONTROL_BYTES = 256
_QUOTE_BYTES = 2048
# struct tcp_info (linux/tcp.h): tcpi_state, tcpi_rtt (us), tcpi_total_retrans.
_INFO = struct.Struct("@B67xI28xI")
_WAITING, _CLOSED = 2, 7
# How a connection stands that was opened, be it that the other side has dropped it at once.
_OPENED = frozenset({0, errno.ECONNRESET, errno.EPIPE})


@attrs.define
class _Attempt:
    """One connection. `called_ns`: Unix time just before the kernel was asked for it."""

    probe_id: int
    socket: socket.socket
    called_ns: int
    # What the call said, if it was more than "in progress".
    error: int = 0


@attrs.frozen
class _Progress:
    """What the kernel tells of a connection; `rtt_ns` is 0 as long as nothing was acknowledged."""

    waiting: bool = False
    established: bool = False
    rtt_ns: int = 0
    repeated: int = 0


class Connections:
    """Satisfies `flight.Sockets` for one train; its batch are the probes' TTLs."""

    # The kernel does not stamp SYNs.
    stamps_departures = False
    next_key = 0

    def __init__(self, target: Address, port: int, *, dscp: int, df: bool, ids: IdBlock) -> None:
        self._target, self._port, self._ids = target, port, ids
        self._dscp, self._df = dscp, df
        self._family = family_of(target)
        self._events = select.epoll()
        # By descriptor, the oldest first.
        self._open: dict[int, _Attempt] = {}
        # Whether the kernel has timed every answer so far.
        self.stamps_arrivals = True
        # What it has sent beside the SYNs that it was asked for.
        self.extra_packets = 0
        self.extra_bytes = 0

    @property
    def sender(self) -> select.epoll:
        """Ready when the fate of a connection is known."""
        return self._events

    @property
    def receiver(self) -> select.epoll:
        """The same."""
        return self._events

    @property
    def holds_answers(self) -> bool:
        """Whether some fate is known: read at once, also between two SYNs, it gets its own time."""
        return bool(self._events.poll(0))

    def send(self, batch: Sequence[int], start: int, end: int) -> int:
        """Open the connection of probe `start`; one at a time, so that each has its own moment.

        Raises:
            TransportError: if this host does not let it out.
        """
        if len(self._open) >= MOST_OPEN:
            self._close(next(iter(self._open.values())))
        try:
            sock = _socket(self._family, batch[start], self._dscp, df=self._df)
        except OSError as error:
            raise send_error(error) from error
        attempt = _Attempt(self._ids.at(start), sock, realtime_ns())
        number = sock.connect_ex((str(self._target), self._port))
        if number not in (0, errno.EINPROGRESS, errno.ECONNREFUSED):
            sock.close()
            raise send_error(OSError(number, os.strerror(number)))
        attempt.error = 0 if number == errno.EINPROGRESS else number
        self._open[sock.fileno()] = attempt
        self._events.register(sock, select.EPOLLOUT)
        return 1

    def answers(self) -> Iterator[tuple[Answer | None, int | None]]:
        """What became of connections since the last call, with the time in Unix ns."""
        ready = self._events.poll(0)
        now_ns = realtime_ns()
        for descriptor, _ in ready:
            attempt = self._open.get(descriptor)
            if attempt is not None:
                yield from self._fate(attempt, now_ns)

    def stamps(self) -> Iterator[TransmitStamp]:
        """None."""
        return iter(())

    def close(self) -> None:
        """Give everything back; nothing is sent any more but resets of what was established."""
        for attempt in list(self._open.values()):
            self._close(attempt)
        self._events.close()

    def _fate(self, attempt: _Attempt, now_ns: int) -> Iterator[tuple[Answer | None, int | None]]:
        """None stands for an answer that nobody can make sense of."""
        errors = list(self._errors(attempt))
        number = attempt.error or attempt.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        progress = _progress(attempt.socket)
        if errors:
            yield errors[0]
        elif number == errno.ECONNREFUSED:
            self.stamps_arrivals = False
            yield self._own_words(attempt, ReplyKind.RESET, _RESET_BYTES), now_ns
        elif number in _OPENED and not progress.waiting:
            timed = progress.rtt_ns and not progress.repeated
            self.stamps_arrivals &= bool(timed)
            at_ns = attempt.called_ns + progress.rtt_ns if timed else now_ns
            yield self._own_words(attempt, ReplyKind.SYN_ACK, SYN_BYTES), at_ns
        elif not number:
            return
        elif number != errno.ETIMEDOUT:
            yield None, None
        self._close(attempt)

    def _errors(self, attempt: _Attempt) -> Iterator[tuple[Answer, int | None]]:
        while True:
            try:
                data, control, _, _ = attempt.socket.recvmsg(
                    _QUOTE_BYTES, _CONTROL_BYTES, MSG_ERRQUEUE
                )
            except OSError:
                # Empty, or the error itself, which is asked for by its own name.
                return
            error = queued_error(Received(data, tuple(control)), self._family)
            if error is None:
                continue
            self.stamps_arrivals &= error.received_ns is not None
            yield (
                Answer(
                    probe_id=attempt.probe_id,
                    kind=error.kind,
                    address=error.address,
                    icmp_type=error.icmp_type,
                    icmp_code=error.icmp_code,
                    ttl=error.ttl,
                    # Both headers, and what is left of the quote.
                    size_bytes=2 * self._family.header_bytes + 8 + len(error.quoted),
                ),
                error.received_ns,
            )

    def _own_words(self, attempt: _Attempt, kind: ReplyKind, header_bytes: int) -> Answer:
        return Answer(
            probe_id=attempt.probe_id,
            kind=kind,
            address=self._target,
            # Nobody tells us.
            ttl=0,
            size_bytes=self._family.header_bytes + header_bytes,
        )

    def _close(self, attempt: _Attempt) -> None:
        """Reset it, and count what the kernel has sent for it."""
        progress = _progress(attempt.socket)
        header = self._family.header_bytes
        # The last word of the handshake and the reset.
        words = 2 * progress.established
        self.extra_packets += progress.repeated + words
        self.extra_bytes += progress.repeated * (header + SYN_BYTES)
        self.extra_bytes += words * (header + SEGMENT_BYTES)
        del self._open[attempt.socket.fileno()]
        attempt.socket.close()


def _socket(family: Family, ttl: int, dscp: int, *, df: bool) -> socket.socket:
    sock = socket.socket(family.number, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
        sock.setsockopt(family.level, family.sent_ttl, ttl)
        sock.setsockopt(family.level, family.traffic_class, dscp << 2)
        set_fragmenting(sock, family, df=df)
        sock.setsockopt(family.level, family.receive_errors, 1)
        sock.setsockopt(family.level, family.receive_ttl, 1)
        enable_receive(sock)
    except BaseException:
        sock.close()
        raise
    return sock


def _progress(sock: socket.socket) -> _Progress:
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size)
    if len(info) < _INFO.size:
        return _Progress()
    state, rtt_us, repeated = _INFO.unpack(info)
    return _Progress(
        waiting=state == _WAITING,
        established=state not in (_WAITING, _CLOSED),
        rtt_ns=rtt_us * 1000,
        repeated=repeated,
    )
