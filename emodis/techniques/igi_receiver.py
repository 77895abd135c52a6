"""The receiving side of a conversation about trains, without I/O: what to answer, and when.

Whoever knows the port can dial, and whoever knows the UDP port can send to it: nobody is believed
without proof, nothing is kept beyond bounds. What no honest sender would do raises PeerProtocol.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from emodis.packets.paced import headers_bytes
from emodis.techniques import igi_keys
from emodis.techniques.igi_collection import Collection
from emodis.techniques.igi_sender import VERSION, PeerProtocol
from emodis.techniques.stats import NS_PER_MS, NS_PER_S
from emodis.wire.v1.common_pb2 import RunKey
from emodis.wire.v1.igi_pb2 import (
    IgiHello,
    IgiMessage,
    IgiReady,
    IgiTrainReport,
    IgiTrainSent,
    IgiTrainStart,
)

MAX_PACKETS = 512
MAX_TRAINS = 4000
LARGEST_PROBE_BYTES = 1500
LONGEST_TRAIN_NS = 60 * NS_PER_S
# Whoever dials has to say who it is within this, and to go on within that.
HELLO_WITHIN_NS = 5 * NS_PER_S
IDLE_WITHIN_NS = 20 * NS_PER_S
# What has not arrived so long after the sender was through (beside two round trips) will not.
SETTLE_NS = 100 * NS_PER_MS
# No round trip is believed to take longer.
LONGEST_RTT_NS = 2 * NS_PER_S
# The same where the sender does not say that it is through.
UNTOLD_NS = 2 * NS_PER_S


class AuthFailed(Exception):
    """It cannot show that it is who it says."""


@attrs.define
class _Train:
    seen: Collection
    # Report what there is by then, if not earlier.
    close_at_ns: int
    # The sender has said that all of it has left.
    through: bool = False

    def report(self, *, socket_drops: int, kernel_rx: bool) -> IgiMessage:
        ordered = self.seen.arrivals
        steps_ns, before_ns = [], ordered[0][1] if ordered else 0
        for _, time_ns in ordered:
            steps_ns.append(time_ns - before_ns)
            before_ns = time_ns
        return IgiMessage(
            train_report=IgiTrainReport(
                train=self.seen.train,
                received=[number for number, _ in ordered],
                received_steps_ns=steps_ns,
                duplicates=self.seen.duplicates,
                foreign=self.seen.foreign,
                socket_drops=socket_drops,
                kernel_rx=kernel_rx,
            )
        )


@attrs.define
class Receiver:
    """One connection. `used_nonces` is shared by all connections of a measurement.

    Times are CLOCK_MONOTONIC, but for `datagram`: arrivals have stamps of their own.
    """

    token: bytes
    udp_port: int
    kernel_rx: bool
    used_nonces: set[bytes]
    # Lost in the socket's queue so far.
    drops: Callable[[], int]
    now_ns: int
    run: RunKey | None = attrs.field(default=None, init=False)
    # What the sender says of itself.
    hello: IgiHello = attrs.field(factory=IgiHello, init=False)
    done: bool = attrs.field(default=False, init=False)
    # The path of its probes is open, or it does without.
    opened: bool = attrs.field(default=False, init=False)
    _tag: bytes = attrs.field(default=b"", init=False)
    _last_ns: int = attrs.field(init=False)
    # When we said what is to be answered at once; None: nothing such is on its way.
    _spoke_ns: int | None = attrs.field(default=None, init=False)
    # The shortest so far, with the time that the sender takes to think.
    _rtt_ns: int = attrs.field(default=LONGEST_RTT_NS, init=False)
    _trains: int = attrs.field(default=0, init=False)
    _train: _Train | None = attrs.field(default=None, init=False)
    # Probes that overtook the announcement of their train.
    _early: list[tuple[bytes, int]] = attrs.field(factory=list, init=False)
    _dropped: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._last_ns = self.now_ns

    @property
    def wake_at_ns(self) -> int:
        """When `time_passed` has something to do, if nothing else happens before."""
        if self.run is None:
            return self._last_ns + HELLO_WITHIN_NS
        if self._train is not None:
            return self._train.close_at_ns
        return self._last_ns + IDLE_WITHIN_NS

    @property
    def receiving(self) -> bool:
        """A train is on its way."""
        return self._train is not None

    @property
    def through(self) -> bool:
        """All of it has left, says its sender."""
        return self._train is not None and self._train.through

    def heard(self, message: IgiMessage, now_ns: int) -> IgiMessage | None:
        """Take one message, and say what to answer.

        Raises:
            AuthFailed: for a Hello without proof, or one that was heard before.
            PeerProtocol: for what an honest sender would not say.
        """
        self._last_ns = now_ns
        kind = message.WhichOneof("body")
        if self.run is None and kind != "hello":
            raise PeerProtocol(f"its first message was {kind}, not hello")
        match kind:
            case "hello" if self.run is None:
                return self._greet(message.hello, now_ns)
            case "train_start" if self._train is None:
                return self._begin(message.train_start, now_ns)
            case "opened" if self._train is None and not self._trains:
                self._answered(now_ns)
                self.opened = True
                return None
            case "order" if self._train is None and self.hello.arrival_port:
                self._order(message.order, now_ns)
                return None
            case "train_sent":
                self._sent(message.train_sent, now_ns)
                return None
            case "done" | "abort":
                self.done = True
                return None
            case _:
                raise PeerProtocol(f"it said {kind} out of order")

    @property
    def tag(self) -> bytes:
        """What every probe of this conversation begins with."""
        return self._tag

    def opener(self, cookie: bytes) -> bytes:
        """The datagram that opens the path of the probes."""
        return igi_keys.opener(self._tag, cookie)

    def datagram(self, payload: bytes, received_ns: int, *, from_peer: bool) -> IgiMessage | None:
        """Take one datagram; the report, if it was the last of its train."""
        train = self._train
        if train is None:
            if from_peer and self.run is not None and len(self._early) < MAX_PACKETS:
                self._early.append((payload, received_ns))
            return None
        train.seen.add(payload, received_ns, from_partner=from_peer)
        return self._report() if train.seen.complete else None

    def time_passed(self, now_ns: int) -> IgiMessage | None:
        """The report of a train that is over (PeerProtocol where the sender fell silent)."""
        if now_ns < self.wake_at_ns:
            return None
        if self._train is None:
            raise PeerProtocol("it fell silent")
        self._last_ns = self._spoke_ns = now_ns
        return self._report()

    def _greet(self, hello: IgiHello, now_ns: int) -> IgiMessage:
        token = igi_keys.run_token(self.token, hello.run)
        proof = igi_keys.sender_proof(token, hello.nonce)
        if len(hello.nonce) != igi_keys.NONCE_BYTES or not igi_keys.same(hello.proof, proof):
            raise AuthFailed("its proof is wrong")
        if hello.nonce in self.used_nonces:
            raise AuthFailed("its Hello was heard before")
        if hello.version != VERSION:
            raise PeerProtocol(f"it speaks version {hello.version}, this host {VERSION}")
        self.used_nonces.add(hello.nonce)
        self.run, self.hello = hello.run, hello
        self.opened = not hello.udp_port
        self._tag = igi_keys.probe_tag(token, hello.nonce)
        self._spoke_ns = now_ns
        self._dropped = self.drops()
        return IgiMessage(
            ready=IgiReady(
                udp_port=self.udp_port,
                max_packets=MAX_PACKETS,
                proof=igi_keys.receiver_proof(token, hello.nonce),
            )
        )

    def _begin(self, start: IgiTrainStart, now_ns: int) -> IgiMessage | None:
        duration_ns = self._check(start, now_ns)
        close_at_ns = now_ns + duration_ns + 2 * self._rtt_ns + UNTOLD_NS
        seen = Collection(tag=self._tag, train=start.train, packets=start.packets)
        self._train = _Train(seen=seen, close_at_ns=close_at_ns)
        early, self._early = self._early, []
        for payload, received_ns in early:
            if seen.number(payload) is None:
                # Left over from the train before.
                continue
            report = self.datagram(payload, received_ns, from_peer=True)
            if report is not None:
                return report
        return None

    def _order(self, order: IgiTrainStart, now_ns: int) -> None:
        """Somebody else sends it; here is only what an honest partner may want."""
        smallest = igi_keys.PROBE_HEADER.size
        if order.size_bytes < smallest + headers_bytes(6):
            raise PeerProtocol(f"it ordered probes of {order.size_bytes} bytes")
        # Nothing more is heard until it has left.
        self._last_ns = now_ns + self._check(order, now_ns)

    def _check(self, start: IgiTrainStart, now_ns: int) -> int:
        """How long the train takes (PeerProtocol where no honest one is like that)."""
        self._answered(now_ns)
        self.opened = True
        if start.train != self._trains + 1 or start.train > MAX_TRAINS:
            raise PeerProtocol(f"it began train {start.train} after {self._trains}")
        if not 2 <= start.packets <= MAX_PACKETS or start.size_bytes > LARGEST_PROBE_BYTES:
            raise PeerProtocol(f"it began a train of {start.packets} x {start.size_bytes} bytes")
        duration_ns = start.packets * start.gap_ns
        if duration_ns > LONGEST_TRAIN_NS:
            raise PeerProtocol(f"it began a train of {duration_ns // NS_PER_S} s")
        self._trains = start.train
        return duration_ns

    def _answered(self, now_ns: int) -> None:
        """Our last words have reached the sender, and it has answered."""
        if self._spoke_ns is not None:
            self._rtt_ns = min(self._rtt_ns, now_ns - self._spoke_ns)
        self._spoke_ns = None

    def _sent(self, sent: IgiTrainSent, now_ns: int) -> None:
        if sent.train != self._trains:
            raise PeerProtocol(f"it is through with train {sent.train}, not {self._trains}")
        if self._train is not None:
            self._train.through = True
            self._train.close_at_ns = now_ns + 2 * self._rtt_ns + SETTLE_NS

    def _report(self) -> IgiMessage:
        train, self._train = self._train, None
        assert train is not None
        before, self._dropped = self._dropped, self.drops()
        drops = max(0, self._dropped - before)
        return train.report(socket_drops=drops, kernel_rx=self.kernel_rx)
