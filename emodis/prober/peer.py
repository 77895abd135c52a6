"""The prober's end of a two-ended technique: meet the partner, pace trains, hear its reports.

The probes are ordinary UDP; `meeting` says how the words travel. No root is needed. Every wait has
an end, and ends early when nobody wants the run any more.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager

import attrs

from emodis.packets.clocks import boottime_ns, monotonic_ns, realtime_offset_ns, was_set
from emodis.packets.model import Address
from emodis.packets.paced import PacedOutcome, PacedTrain, headers_bytes
from emodis.packets.pacing import PacedSocket, Sent
from emodis.packets.tape import Tape
from emodis.packets.transport import Gate, Traffic
from emodis.prober.inlet import Inlet
from emodis.prober.links import NS, Link, PeerFailed, PeerStopped, RelayInterrupt
from emodis.prober.meeting import Meeting, Way, checked
from emodis.prober.payloads import payloads
from emodis.techniques import igi_keys
from emodis.techniques.base import Measured
from emodis.techniques.igi_sender import PeerAborted, PeerProtocol, Sender
from emodis.wire.v1.common_pb2 import BLAME_AGENT, PeerOffer
from emodis.wire.v1.igi_pb2 import IgiDone, IgiMessage
from emodis.wire.v1.prober_pb2 import ProberRun

# The partner itself ends a train 2 s after it should have, if it has to.
REPORT_WITHIN_NS = 10 * NS

# "This host" is the partner's: that is where it is read.
_CLOCK_SET = "{}'s clock was set during the run; measure again."

PeerConversation = Generator[PacedTrain, PacedOutcome, Measured]


@attrs.define
class Partnership:
    """One run with a partner. `report` is told of every train that is over."""

    run: ProberRun
    partner: Address
    traffic: Traffic
    interrupt: RelayInterrupt
    chance: random.Random
    report: Callable[[PacedTrain], None]
    # Held while a train leaves.
    steady: Callable[[], AbstractContextManager[None]]
    # Sends words to the partner through the daemon.
    relay: Callable[[bytes], None] = lambda words: None
    # Some trains go the other way.
    receives: bool = False
    # For the probes that leave and come.
    tape: Tape | None = None
    _started_ns: int = attrs.field(default=0, init=False)

    def measure(self, begin: Callable[[bool], PeerConversation]) -> Measured:
        """Meet the partner, begin a conversation (true: through the master), drive it to its end.

        Raises:
            PeerFailed, PeerStopped: where it has to end before.
            TransportError: where this host cannot send.
        """
        try:
            return self._measure(begin)
        except PeerProtocol as error:
            hint = (
                f"What listens at the other end does not keep to the protocol: {error}; update the "
                "older side, agent or client."
            )
            raise PeerFailed("peer_protocol", hint) from error
        except PeerAborted as error:
            raise _broken_off(error.reason) from error

    def _measure(self, begin: Callable[[bool], PeerConversation]) -> Measured:
        offer = checked(self.run.peer)
        inlet = Inlet(self.partner, self.tape) if self.receives else None
        try:
            return self._meet(begin, offer, inlet)
        finally:
            if inlet is not None:
                inlet.close()

    def _meet(
        self, begin: Callable[[bool], PeerConversation], offer: PeerOffer, inlet: Inlet | None
    ) -> Measured:
        nonce = self.chance.randbytes(igi_keys.NONCE_BYTES)
        sender = Sender(run=self.run.run, token=offer.token, nonce=nonce)
        meeting = Meeting(
            sender=sender,
            offer=offer,
            partner=self.partner,
            interrupt=self.interrupt,
            relay=self.relay,
            arrival_port=inlet.port if inlet is not None else 0,
        )
        way = meeting.meet()
        conversation = begin(way.relayed)
        try:
            self._started_ns = monotonic_ns()
            return self._converse(conversation, sender, way, inlet)
        finally:
            conversation.close()
            way.close()

    def _converse(
        self, conversation: PeerConversation, sender: Sender, way: Way, inlet: Inlet | None
    ) -> Measured:
        probes = PacedSocket(self.partner, way.port, way.outlet.socket, self.tape)
        gate = Gate(
            stop_by_boottime_ns=self.run.stop_by_boottime_ns,
            max_bytes=self.run.max_bytes,
            traffic=self.traffic,
            interrupt=self.interrupt,
            boottime_ns=boottime_ns,
        )
        clock_offset_ns = realtime_offset_ns()
        try:
            train = next(conversation)
            while True:
                if train.upstream:
                    assert inlet is not None
                    outcome = inlet.exchange(train, sender, way.link, gate, way.rtt_ns)
                else:
                    outcome = self._exchange(train, sender, way.link, probes, gate)
                elapsed_ns = monotonic_ns() - self._started_ns
                # Whatever of it is still on its way has left this host's queue.
                gate.all_left()
                self.report(train)
                # Departures and arrivals have stamps of a clock that somebody may set.
                if was_set(clock_offset_ns):
                    raise PeerFailed("clock_step", _CLOCK_SET.format("The agent"), BLAME_AGENT)
                train = conversation.send(attrs.evolve(outcome, elapsed_ns=elapsed_ns))
        except StopIteration as stop:
            way.link.say(IgiMessage(done=IgiDone()))
            measured: Measured = stop.value
            return measured

    def _exchange(
        self, train: PacedTrain, sender: Sender, link: Link, probes: PacedSocket, gate: Gate
    ) -> PacedOutcome:
        announcement = sender.start(train)
        room_bytes = train.size_bytes - headers_bytes(self.partner.version)
        words = payloads(sender.tag, sender.number, train.packets, room_bytes, self.chance)
        link.say(announcement)
        with self.steady():
            sent: Sent | None = probes.send(words, train.gap_ns, gate)
        if sent is None:
            raise PeerStopped
        link.say(sender.sent())
        report = link.hear(REPORT_WITHIN_NS)
        return sender.report(
            report,
            sent_ns=sent.times_ns,
            kernel_tx=sent.kernel,
            elapsed_ns=0,
        )


def _broken_off(reason: str) -> PeerFailed:
    """The partner says why; it may be anybody, so only what we know is a reason of ours."""
    if reason == "clock_step":
        return PeerFailed("clock_step", _CLOCK_SET.format("This host"))
    hint = f"The other end broke it off ({reason}); try again."
    return PeerFailed("auth_failed" if reason == "auth_failed" else "client_refused", hint)
