"""What a transport sends and receives, kept while a train flies and taken off between trains.

While it flies, references are kept and nothing is copied, computed or written; whole packets are
made of them in `take`. Ordinary sockets show no headers: theirs are made up as far as this host
knows them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, runtime_checkable

import attrs

from emodis.packets.checksum import checksum
from emodis.packets.clocks import realtime_ns
from emodis.packets.enveloped import Endpoint, enveloped
from emodis.packets.flight import Described, Sockets
from emodis.packets.mmsg import SendBatch
from emodis.packets.timestamps import Moment, TransmitStamp

Packet = tuple[int, bytes]
_CHECKSUM_AT = 10
# Of ordinary sockets, between two `take`s: no train is near that, and a flood must not fill the
# memory of whoever measures.
MOST_DATAGRAMS = 16_384


@attrs.define
class _Call:
    """One send call: so many packets of a batch, the first with this key of its stamps."""

    at_ns: int
    batch: SendBatch
    first: int
    count: int
    key: int


@attrs.define
class _Datagram:
    """Of an ordinary socket; None for a TTL that nobody told us."""

    at_ns: int
    source: Endpoint
    target: Endpoint
    payload: bytes
    ttl: int | None


@attrs.define
class Tape:
    """Packets with their Unix times: departure and arrival by kernel stamps where there are any."""

    _calls: list[_Call] = attrs.field(factory=list, init=False)
    _left_ns: dict[int, int] = attrs.field(factory=dict, init=False)
    _arrived: list[Packet] = attrs.field(factory=list, init=False)
    _datagrams: list[_Datagram] = attrs.field(factory=list, init=False)

    def sent(self, call: _Call) -> None:
        """These have left or are about to."""
        self._calls.append(call)

    def stamped(self, stamp: TransmitStamp) -> None:
        """The kernel says when one was on its way."""
        if stamp.moment is Moment.LEFT:
            self._left_ns[stamp.key] = stamp.at_ns

    def arrived(self, at_ns: int, packet: bytes) -> None:
        """This has come."""
        self._arrived.append((at_ns, packet))

    def train_left(
        self,
        source: Endpoint,
        target: Endpoint,
        sent: Iterable[tuple[int, bytes]],
        *,
        ttl: int,
    ) -> None:
        """These payloads have left an ordinary UDP socket at these Unix times."""
        self._datagrams += [_Datagram(at_ns, source, target, data, ttl) for at_ns, data in sent]

    def datagram_came(self, at_ns: int, source: Endpoint, target: Endpoint, payload: bytes) -> None:
        """This payload has come to one; above `MOST_DATAGRAMS` it is left out."""
        if len(self._datagrams) < MOST_DATAGRAMS:
            self._datagrams.append(_Datagram(at_ns, source, target, payload, None))

    def take(self) -> list[Packet]:
        """All of it in order of time; afterwards the tape is empty."""
        packets = [packet for call in self._calls for packet in self._departures(call)]
        packets += self._arrived
        packets += [
            (one.at_ns, enveloped(one.source, one.target, one.payload, ttl=one.ttl or 0))
            for one in self._datagrams
        ]
        self._calls, self._left_ns, self._arrived, self._datagrams = [], {}, [], []
        return sorted(packets, key=lambda packet: packet[0])

    def _departures(self, call: _Call) -> Iterator[Packet]:
        at_ns = call.at_ns
        for step in range(call.count):
            # One without a stamp left no sooner than the one before it.
            at_ns = self._left_ns.get((call.key + step) % (1 << 32), at_ns)
            yield at_ns, as_sent(call.batch.packet(call.first + step))


@runtime_checkable
class Recordable(Protocol):
    """A transport that knows its packets as they are on the wire."""

    def record(self, tape: Tape | None) -> None:
        """Keep them on this tape from now on; None: no longer."""
        ...


class Taped:
    """Sockets for one flight, with a tape running along."""

    holds_answers = False

    def __init__(self, sockets: Sockets[SendBatch, bytes], tape: Tape) -> None:
        self._sockets = sockets
        self._tape = tape
        self.stamps_departures = sockets.stamps_departures
        self.next_key = sockets.next_key

    @property
    def sender(self) -> Described:
        """See `RawSockets.sender`."""
        return self._sockets.sender

    @property
    def receiver(self) -> Described:
        """See `RawSockets.receiver`."""
        return self._sockets.receiver

    def send(self, batch: SendBatch, start: int, end: int) -> int:
        """See `RawSockets.send`."""
        key, at_ns = self._sockets.next_key, realtime_ns()
        count = self._sockets.send(batch, start, end)
        self._tape.sent(_Call(at_ns, batch, start, count, key))
        return count

    def answers(self) -> Iterator[tuple[bytes, int | None]]:
        """See `RawSockets.answers`."""
        for packet, stamp_ns in self._sockets.answers():
            self._tape.arrived(realtime_ns() if stamp_ns is None else stamp_ns, packet)
            yield packet, stamp_ns

    def stamps(self) -> Iterator[TransmitStamp]:
        """See `RawSockets.stamps`."""
        for stamp in self._sockets.stamps():
            self._tape.stamped(stamp)
            yield stamp


def as_sent(packet: bytes) -> bytes:
    """With the IPv4 header checksum, which the kernel fills in on the way out."""
    if len(packet) < 20 or packet[0] >> 4 != 4:
        return packet
    header = bytearray(packet[: (packet[0] & 15) * 4])
    header[_CHECKSUM_AT : _CHECKSUM_AT + 2] = b"\0\0"
    header[_CHECKSUM_AT : _CHECKSUM_AT + 2] = checksum(header).to_bytes(2, "big")
    return bytes(header) + packet[len(header) :]
