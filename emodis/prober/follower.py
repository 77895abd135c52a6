"""The client's side where the client sends: trains as the partner orders them, paced here.

The reactor speaks with the partner and has checked its orders; a prober sends, as anywhere else.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import AbstractContextManager

import attrs

from emodis.packets.clocks import boottime_ns
from emodis.packets.model import Address
from emodis.packets.paced import headers_bytes
from emodis.packets.pacing import PacedSocket, Sent
from emodis.packets.transport import Gate, Traffic
from emodis.prober.links import NS, PeerStopped, RelayInterrupt, RelayLink
from emodis.prober.payloads import payloads
from emodis.wire.v1.igi_pb2 import IgiMessage, IgiTrainSent, IgiTrainStart
from emodis.wire.v1.prober_pb2 import ProberRun

# Between two orders the partner may receive trains, or think.
ORDER_WITHIN_NS = 120 * NS


@attrs.define(kw_only=True)
class Follower:
    """One run, until its partner is done. `say` sends words back."""

    run: ProberRun
    partner: Address
    traffic: Traffic
    interrupt: RelayInterrupt
    chance: random.Random
    steady: Callable[[], AbstractContextManager[None]]
    say: Callable[[bytes], None]

    def follow(self) -> None:
        """Send what is ordered (PeerFailed, PeerStopped, TransportError)."""
        link = RelayLink(self.interrupt, self.say)
        probes = PacedSocket(self.partner, self.run.follow.udp_port)
        gate = Gate(
            stop_by_boottime_ns=self.run.stop_by_boottime_ns,
            max_bytes=self.run.max_bytes,
            traffic=self.traffic,
            interrupt=self.interrupt,
            boottime_ns=boottime_ns,
        )
        try:
            while (message := link.hear(ORDER_WITHIN_NS)).HasField("order"):
                link.say(self._send(message.order, probes, gate))
                gate.all_left()
        finally:
            probes.close()

    def _send(self, order: IgiTrainStart, probes: PacedSocket, gate: Gate) -> IgiMessage:
        words = payloads(
            self.run.follow.tag, order.train, order.packets, self._room(order), self.chance
        )
        with self.steady():
            sent: Sent | None = probes.send(words, order.gap_ns, gate)
        if sent is None:
            raise PeerStopped
        return IgiMessage(train_sent=_told(order.train, sent))

    def _room(self, order: IgiTrainStart) -> int:
        return order.size_bytes - headers_bytes(self.partner.version)


def _told(train: int, sent: Sent) -> IgiTrainSent:
    steps_ns, before_ns = [], sent.times_ns[0]
    for time_ns in sent.times_ns:
        # A clock that was set back must not make them unreadable.
        steps_ns.append(max(0, time_ns - before_ns))
        before_ns = time_ns
    return IgiTrainSent(train=train, sent_steps_ns=steps_ns, kernel_tx=sent.kernel)
