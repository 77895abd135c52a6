"""The client's end of a two-ended technique: listens as long as a measurement lasts.

It decides nothing: what is said and when is `techniques.igi_receiver`'s. The kernel stamps
arrivals, so it does not matter when they are looked at: seldom, because a process that wakes for
every probe takes the processor from whoever sends them, if that is on this host, too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from google.protobuf.message import DecodeError
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IDelayedCall, ITCPTransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from emodis.packets.arrivals import ArrivalSocket, plain_host
from emodis.packets.clocks import monotonic_ns
from emodis.techniques import igi_keys
from emodis.techniques.igi_receiver import AuthFailed, Receiver
from emodis.techniques.igi_sender import PeerProtocol
from emodis.wire.framing import CAP_BEFORE_WELCOME_BYTES, FrameReader, FrameTooLarge, encode_frame
from emodis.wire.v1.common_pb2 import PeerOffer
from emodis.wire.v1.igi_pb2 import IgiAbort, IgiMessage

# Then nobody is listened to any more.
MOST_BAD_HELLOS = 5
# Connections of which none has said who it is.
MOST_STRANGERS = 3
# Probes are fetched this often while a train flies, and when it should be over.
FETCH_S = 0.02
LAST_FETCH_S = 0.002
# Taken before the reactor gets on with other things.
MOST_AT_ONCE = 1024


class _Connection(Protocol):
    """One agent, or whoever dialled."""

    def __init__(self, partner: Partner, receiver: Receiver, reactor: Any) -> None:
        self._partner = partner
        self._reactor = reactor
        self._reader = FrameReader(cap_bytes=CAP_BEFORE_WELCOME_BYTES)
        self._timer: IDelayedCall | None = None
        self.receiver = receiver
        self.host = ""
        self._over = False

    def connectionMade(self) -> None:
        transport = ITCPTransport(self.transport)
        self.host = plain_host(transport.getPeer().host)
        transport.setTcpNoDelay(True)
        self._sleep()

    def dataReceived(self, data: bytes) -> None:
        try:
            for frame in self._reader.feed(data):
                self._take(IgiMessage.FromString(frame))
        except (FrameTooLarge, DecodeError, PeerProtocol):
            self.refuse("peer_protocol")
        except AuthFailed:
            self.refuse("auth_failed")
            self._partner.stranger_lied()
        self._sleep()

    def datagram(self, payload: bytes, at_ns: int, host: str) -> None:
        """Something came to the UDP port."""
        self.answer(self.receiver.datagram(payload, at_ns, from_peer=host == self.host))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._wake()
        self._partner.left(self)

    def answer(self, message: IgiMessage | None) -> None:
        """Say it, if there is anything to say."""
        if message is not None and self.transport is not None:
            self.transport.write(encode_frame(message.SerializeToString()))
            self._sleep()

    def refuse(self, reason: str) -> None:
        """Say why, and hang up."""
        self.answer(IgiMessage(abort=IgiAbort(reason=reason)))
        self.hang_up()

    def hang_up(self) -> None:
        """Hear nothing more."""
        self._over = True
        self._wake()
        self._reader.stop()
        if self.transport is not None:
            self.transport.loseConnection()

    def _take(self, message: IgiMessage) -> None:
        known = self.receiver.run is not None
        answer = self.receiver.heard(message, monotonic_ns())
        if not known and self.receiver.run is not None:
            self._partner.met(self)
        self.answer(answer)
        if self.receiver.through:
            self._partner.read_probes()
        if self.receiver.done:
            self.hang_up()

    def _sleep(self) -> None:
        self._wake()
        if not self._over and self.connected:
            left_s = max(0.0, (self.receiver.wake_at_ns - monotonic_ns()) / 1e9)
            if self.receiver.receiving:
                left_s = min(left_s, LAST_FETCH_S if self.receiver.through else FETCH_S)
            self._timer = self._reactor.callLater(left_s, self._look)

    def _wake(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _look(self) -> None:
        self._partner.read_probes()
        try:
            self.answer(self.receiver.time_passed(monotonic_ns()))
        except PeerProtocol:
            self.refuse("peer_gone")
            return
        self._sleep()


@attrs.define(eq=False)
class Partner:
    """The listener of one measurement; `start` it, put its offer into the request, `stop` it."""

    reactor: Any
    token: bytes
    say: Callable[[str], None] = lambda _: None
    _socket: ArrivalSocket = attrs.field(init=False)
    _port: Any = attrs.field(default=None, init=False)
    _open: set[_Connection] = attrs.field(factory=set, init=False)
    _current: _Connection | None = attrs.field(default=None, init=False)
    _nonces: set[bytes] = attrs.field(factory=set, init=False)
    _lies: int = attrs.field(default=0, init=False)

    def start(self) -> PeerOffer:
        """Open both ports (OSError if this host does not let us)."""
        assert len(self.token) == igi_keys.TOKEN_BYTES
        self._socket = ArrivalSocket()
        self._port = self._listen()
        return PeerOffer(tcp_port=self._port.getHost().port, token=self.token)

    def stop(self) -> None:
        """Close everything."""
        self._close_door()
        for connection in tuple(self._open):
            connection.hang_up()
        self._socket.close()

    def connection(self) -> _Connection | None:
        """For somebody who dialled; None: there are enough strangers already."""
        if len(self._open) - (self._current is not None) >= MOST_STRANGERS:
            return None
        receiver = Receiver(
            token=self.token,
            udp_port=self._socket.port,
            kernel_rx=self._socket.kernel_rx,
            used_nonces=self._nonces,
            drops=self._socket.drops,
            now_ns=monotonic_ns(),
        )
        connection = _Connection(self, receiver, self.reactor)
        self._open.add(connection)
        return connection

    def met(self, connection: _Connection) -> None:
        """It has shown who it is. One run at a time: what was before it is over."""
        before, self._current = self._current, connection
        if before is not None:
            before.refuse("superseded")

    def left(self, connection: _Connection) -> None:
        """Its connection is closed."""
        self._open.discard(connection)
        if self._current is connection:
            self._current = None

    def stranger_lied(self) -> None:
        """A Hello without proof."""
        self._lies += 1
        if self._lies == MOST_BAD_HELLOS:
            self._close_door()
            self.say(f"{self._lies} strangers tried to take part in the measurement; none may now")

    def read_probes(self) -> None:
        """Take what has arrived."""
        for arrival in self._socket.arrived(MOST_AT_ONCE):
            if self._current is not None:
                self._current.datagram(arrival.payload, arrival.at_ns, arrival.host)

    def _listen(self) -> Any:
        """To both IP versions, where this host has both."""
        door = _Doorkeeper(self)
        try:
            return self.reactor.listenTCP(0, door, backlog=MOST_BAD_HELLOS, interface="::")
        except CannotListenError:
            return self.reactor.listenTCP(0, door, backlog=MOST_BAD_HELLOS)

    def _close_door(self) -> None:
        port, self._port = self._port, None
        if port is not None:
            port.stopListening()


class _Doorkeeper(Factory):
    """Lets so many in and no more."""

    noisy = False

    def __init__(self, partner: Partner) -> None:
        self._partner = partner

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        return self._partner.connection()
