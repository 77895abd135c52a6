"""Paced UDP from an ordinary socket: absolute deadlines, sleep then spin, stamps of departure.

A train is what its stamps say, never what was planned. The stamp is that of entering the sender's
own queue: behind a shaper on this very host the departure would show the shaper's pace.
"""

from __future__ import annotations

import errno
import gc
import select
import socket
from collections.abc import Sequence
from ipaddress import ip_address

import attrs

from emodis.packets.arrivals import plain_host
from emodis.packets.clocks import monotonic_ns, realtime_ns
from emodis.packets.enveloped import Endpoint
from emodis.packets.families import IPV4, IPV6
from emodis.packets.mmsg import ReceiveBatch
from emodis.packets.model import Address
from emodis.packets.paced import headers_bytes
from emodis.packets.sockets import send_error
from emodis.packets.tape import Tape
from emodis.packets.timestamps import MSG_ERRQUEUE, Moment, enable_transmit, transmit_stamps
from emodis.packets.transport import Gate

# Sleep until this long before a departure, then spin (LAB.md 1).
SPIN_NS = 200_000
# The stamp of entering the queue is made in the send call; it may take this long to be readable.
STAMP_GRACE_NS = 10_000_000
STAMP_BUFFER_BYTES = 4 << 20
SEND_BUFFER_BYTES = 1 << 20
# A full send buffer, or the error of an earlier packet: try again, but not for ever.
MOST_ATTEMPTS = 200
FULL_BUFFER_WAIT_S = 0.005


@attrs.frozen(kw_only=True)
class Sent:
    """When each probe entered this host's queue, Unix ns."""

    times_ns: tuple[int, ...]
    kernel: bool


def udp_socket(version: int) -> socket.socket:
    """An ordinary UDP socket of this IP version."""
    return socket.socket(socket.AF_INET6 if version == 6 else socket.AF_INET, socket.SOCK_DGRAM)


class PacedSocket:
    """A UDP socket towards one partner."""

    def __init__(
        self,
        partner: Address,
        port: int,
        opened: socket.socket | None = None,
        tape: Tape | None = None,
    ) -> None:
        """Open it, or take one over (TransportError where this host has no way there).

        What leaves is kept on the tape.
        """
        self._tape = tape
        self._partner: Endpoint = partner, port
        self._socket = opened or udp_socket(partner.version)
        self._headers_bytes = headers_bytes(partner.version)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, STAMP_BUFFER_BYTES)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        self._socket.setblocking(False)
        self._stamps = ReceiveBatch(128, 1)
        self._queued: dict[int, int] = {}
        self._counting = enable_transmit(self._socket)
        self._next_key = 0
        try:
            self._socket.connect((str(partner), port))
        except OSError as error:
            self.close()
            raise send_error(error) from error

    def close(self) -> None:
        """Give it back."""
        self._socket.close()

    def send(self, payloads: Sequence[bytes], gap_ns: int, gate: Gate) -> Sent | None:
        """Send one train; None if the gate stopped it.

        Raises:
            TransportError: if this host cannot send.
        """
        self._fetch_stamps()
        self._queued.clear()
        first_key = self._next_key
        called_ns: list[int] = []
        sent: Sent | None = None
        try:
            if self._paces(payloads, gap_ns, gate, called_ns):
                sent = self._stamped(first_key, called_ns)
        finally:
            self._record(payloads, called_ns if sent is None else sent.times_ns)
        return sent

    def _stamped(self, first_key: int, called_ns: Sequence[int]) -> Sent:
        # A failed call may have used up a key: then nobody knows whose stamp is whose.
        keys = range(first_key, first_key + len(called_ns))
        if self._counting and self._next_key == keys.stop and self._wait_for_stamps(keys):
            return Sent(times_ns=tuple(self._queued[key] for key in keys), kernel=True)
        self._counting = enable_transmit(self._socket)
        self._next_key = 0
        return Sent(times_ns=tuple(called_ns), kernel=False)

    def _record(self, payloads: Sequence[bytes], times_ns: Sequence[int]) -> None:
        """References only; the packets are made when the train is long over."""
        if self._tape is None or not times_ns:
            return
        host, port, *_ = self._socket.getsockname()
        here = ip_address(plain_host(host)), port
        family = IPV4 if self._partner[0].version == 4 else IPV6
        ttl = self._socket.getsockopt(family.level, family.sent_ttl)
        sent = zip(times_ns, payloads, strict=False)
        self._tape.train_left(here, self._partner, sent, ttl=ttl)

    def _paces(
        self, payloads: Sequence[bytes], gap_ns: int, gate: Gate, called_ns: list[int]
    ) -> bool:
        """Whether all of it was let out; the times of what was are in `called_ns` in any case."""
        collecting = gc.isenabled()
        gc.disable()
        try:
            return self._pace(payloads, gap_ns, gate, called_ns)
        finally:
            if collecting:
                gc.enable()

    def _pace(
        self, payloads: Sequence[bytes], gap_ns: int, gate: Gate, called_ns: list[int]
    ) -> bool:
        start_ns = monotonic_ns() + SPIN_NS
        for number, payload in enumerate(payloads):
            deadline_ns = start_ns + number * gap_ns
            wanted = self._sleep_until(deadline_ns - SPIN_NS, gate)
            while wanted and monotonic_ns() < deadline_ns:
                pass
            size_bytes = len(payload) + self._headers_bytes
            # Last of all: it takes as long each time (some 2 us), so the gaps stay what they are.
            if not gate.lets(size_bytes):
                return False
            call_ns = realtime_ns()
            self._send(payload)
            called_ns.append(call_ns)
            gate.sent(size_bytes)
            gate.traffic.sent_packets += 1
            if gate.traffic.started_unix_ns is None:
                gate.traffic.started_unix_ns = called_ns[0]
        return True

    def _sleep_until(self, wake_ns: int, gate: Gate) -> bool:
        """Whether the train is still wanted by then."""
        while (left_ns := wake_ns - monotonic_ns()) > 0:
            if gate.interrupt.waiting():
                return False
            self._fetch_stamps()
            left_ns = min(left_ns, wake_ns - monotonic_ns())
            if left_ns > 0:
                select.select([gate.interrupt], [], [], left_ns / 1e9)
        return True

    def _send(self, payload: bytes) -> None:
        for _ in range(MOST_ATTEMPTS):
            try:
                self._socket.send(payload)
            except BlockingIOError:
                self._fetch_stamps()
                select.select([], [self._socket], [], FULL_BUFFER_WAIT_S)
            except OSError as error:
                # The answer to an earlier packet (port unreachable) comes up here, once each, and
                # this one was not sent.
                if error.errno not in (errno.ECONNREFUSED, errno.ENOBUFS):
                    raise send_error(error) from error
                self._next_key -= 1 << 20
            else:
                self._next_key += 1
                return

    def _wait_for_stamps(self, keys: range) -> bool:
        end_ns = monotonic_ns() + STAMP_GRACE_NS
        while True:
            self._fetch_stamps()
            if all(key in self._queued for key in keys):
                return True
            left_ns = end_ns - monotonic_ns()
            if left_ns <= 0:
                return False
            # An error queue with something in it is an event that nobody has to ask for.
            select.select([], [], [self._socket], left_ns / 1e9 / 10)

    def _fetch_stamps(self) -> None:
        for stamp in transmit_stamps(self._stamps.receive(self._socket.fileno(), MSG_ERRQUEUE)):
            if stamp.moment is Moment.QUEUED:
                self._queued[stamp.key] = stamp.at_ns
