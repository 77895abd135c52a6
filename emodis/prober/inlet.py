"""Where the trains of a partner arrive that sends them: one open port, for one run."""

from __future__ import annotations

import select
from contextlib import suppress
from ipaddress import ip_address

import attrs

from emodis.packets.arrivals import Arrival, ArrivalSocket
from emodis.packets.clocks import monotonic_ns
from emodis.packets.model import Address
from emodis.packets.paced import PacedOutcome, PacedTrain
from emodis.packets.sockets import source_towards
from emodis.packets.tape import Tape
from emodis.packets.transport import Gate, Traffic, TransportError
from emodis.prober.links import NS, Link, PeerStopped, gone
from emodis.techniques.igi_collection import Collection
from emodis.techniques.igi_sender import Sender
from emodis.wire.v1.igi_pb2 import IgiMessage

# The partner may have to start its prober, and to wait for the processor.
SENT_WITHIN_NS = 5 * NS
# What has not arrived so long after its word (beside two round trips) will not.
SETTLE_NS = NS // 10
# The socket is emptied so often, else a train would not fit in.
FETCH_NS = NS // 50
MOST_AT_ONCE = 4096


@attrs.define
class Inlet:
    """Probes count from the partner's address only. Whatever arrives is kept on the tape."""

    partner: Address
    tape: Tape | None = None
    socket: ArrivalSocket = attrs.field(factory=ArrivalSocket)
    _here: Address | None = attrs.field(default=None, init=False)
    _drops: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        if self.tape is not None:
            # No way to the partner ends the run elsewhere, and not for the sake of a capture.
            with suppress(TransportError):
                self._here = source_towards(self.partner)

    @property
    def port(self) -> int:
        """Where it is open."""
        return self.socket.port

    def close(self) -> None:
        """Let nothing in any more."""
        self.socket.close()

    def exchange(
        self, train: PacedTrain, sender: Sender, link: Link, gate: Gate, rtt_ns: int
    ) -> PacedOutcome:
        """Have the partner send a train (PeerFailed, PeerStopped, PeerProtocol, PeerAborted)."""
        size_bytes = train.packets * train.size_bytes
        if not gate.lets(size_bytes):
            raise PeerStopped
        order = sender.start(train)
        collection = Collection(tag=sender.tag, train=sender.number, packets=train.packets)
        self._take(None)
        link.say(order)
        said = self._hear(collection, link, monotonic_ns() + train.duration_ns + SENT_WITHIN_NS)
        sent_ns, kernel_tx = sender.sent_by_partner(said)
        self._settle(collection, gate, monotonic_ns() + 2 * rtt_ns + SETTLE_NS)
        _count(gate.traffic, train, collection)
        before, self._drops = self._drops, self.socket.drops()
        return PacedOutcome(
            sent_ns=sent_ns,
            arrivals=collection.arrivals,
            kernel_tx=kernel_tx,
            kernel_rx=self.socket.kernel_rx,
            duplicates=collection.duplicates,
            foreign=collection.foreign,
            socket_drops=max(0, self._drops - before),
        )

    def _hear(self, collection: Collection, link: Link, end_ns: int) -> IgiMessage:
        """Its word that all of it has left; what arrives meanwhile is taken."""
        while monotonic_ns() < end_ns:
            message = link.poll(FETCH_NS)
            self._take(collection)
            if message is not None:
                return message
        raise gone("it did not send what it was asked for")

    def _settle(self, collection: Collection, gate: Gate, end_ns: int) -> None:
        watched = [self.socket.fileno(), gate.interrupt.fileno()]
        while not collection.complete and (left_ns := end_ns - monotonic_ns()) > 0:
            select.select(watched, [], [], left_ns / NS)
            if gate.interrupt.waiting():
                raise PeerStopped
            self._take(collection)

    def _take(self, collection: Collection | None) -> None:
        """Everything that is there; None: it is of no train."""
        for arrival in self.socket.arrived(MOST_AT_ONCE):
            sender = ip_address(arrival.host)
            self._record(arrival, sender)
            if collection is not None:
                from_partner = sender == self.partner
                collection.add(arrival.payload, arrival.at_ns, from_partner=from_partner)

    def _record(self, arrival: Arrival, sender: Address) -> None:
        # The socket hears on every address; most likely it was the one on the way to the partner.
        here = self._here
        if self.tape is None or here is None or here.version != sender.version:
            return
        ends = (sender, arrival.port), (here, self.port)
        self.tape.datagram_came(arrival.at_ns, *ends, arrival.payload)


def _count(traffic: Traffic, train: PacedTrain, collection: Collection) -> None:
    """A run costs what either of its ends has sent."""
    traffic.sent_packets += train.packets
    traffic.sent_bytes += train.packets * train.size_bytes
    arrived = len(collection.arrivals)
    traffic.recv_packets += arrived
    traffic.recv_bytes += arrived * train.size_bytes
