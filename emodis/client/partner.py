"""The client's end of a two-ended technique: listens as long as a measurement lasts.

It decides nothing: what is said and when is `techniques.igi_receiver`'s. The kernel stamps
arrivals, so it does not matter when they are looked at: seldom, because a process that wakes for
every probe takes the processor from whoever sends them, if that is on this host, too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, ITCPTransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from emodis.client.pacer import Pacer
from emodis.client.talk import Talk, known_hosts
from emodis.packets.arrivals import ArrivalSocket, plain_host
from emodis.packets.clocks import monotonic_ns
from emodis.techniques import igi_keys
from emodis.techniques.igi_receiver import Receiver
from emodis.wire.framing import CAP_BEFORE_WELCOME_BYTES, FrameReader, FrameTooLarge, encode_frame
from emodis.wire.v1.common_pb2 import PeerOffer, Relay, RunKey
from emodis.wire.v1.igi_pb2 import IgiMessage

# Then nobody is listened to any more.
MOST_BAD_HELLOS = 5
# Connections of which none has said who it is.
MOST_STRANGERS = 3
# Taken before the reactor gets on with other things.
MOST_AT_ONCE = 1024


class _Connection(Protocol):
    """One agent that dialled, or whoever did."""

    def __init__(self, partner: Partner) -> None:
        self._partner = partner
        self._reader = FrameReader(cap_bytes=CAP_BEFORE_WELCOME_BYTES)
        self.talk = partner.talk(self._say, self._hang_up)

    def connectionMade(self) -> None:
        transport = ITCPTransport(self.transport)
        transport.setTcpNoDelay(True)
        self.talk.hosts = (plain_host(transport.getPeer().host),)
        self.talk.begin()

    def dataReceived(self, data: bytes) -> None:
        try:
            for frame in self._reader.feed(data):
                self.talk.heard([frame])
        except FrameTooLarge:
            self.talk.refuse("peer_protocol")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.talk.ended()
        self._partner.left(self.talk)

    def _say(self, message: IgiMessage) -> None:
        if self.transport is not None:
            self.transport.write(encode_frame(message.SerializeToString()))

    def _hang_up(self) -> None:
        self._reader.stop()
        if self.transport is not None:
            self.transport.loseConnection()


@attrs.define(eq=False)
class Partner:
    """The listener of one measurement; `start` it, put its offer into the request, `stop` it.

    Agents whose connections do not arrive speak through the master: `relayed` hears them, and they
    are answered by what `connect` was given.
    """

    reactor: Any
    token: bytes
    say: Callable[[str], None] = lambda _: None
    _socket: ArrivalSocket = attrs.field(init=False)
    _port: Any = attrs.field(default=None, init=False)
    _open: set[Talk] = attrs.field(factory=set, init=False)
    _current: Talk | None = attrs.field(default=None, init=False)
    # Those through the master, by their run.
    _through_master: dict[bytes, Talk] = attrs.field(factory=dict, init=False)
    _relay: Callable[[Relay], None] | None = attrs.field(default=None, init=False)
    # Who sends trains from this host, where that is wanted.
    _pacer: Pacer | None = attrs.field(default=None, init=False)
    _nonces: set[bytes] = attrs.field(factory=set, init=False)
    _lies: int = attrs.field(default=0, init=False)

    def start(self) -> PeerOffer:
        """Open both ports (OSError if this host does not let us).

        Where it lets nobody listen to TCP, everything goes through the master.
        """
        assert len(self.token) == igi_keys.TOKEN_BYTES
        self._socket = ArrivalSocket()
        self._port = self._listen()
        port = self._port.getHost().port if self._port is not None else 0
        return PeerOffer(tcp_port=port, token=self.token, relay=True)

    def connect(self, relay: Callable[[Relay], None]) -> None:
        """How to send words through the master, now that there is a conversation with it."""
        self._relay = relay

    def send_with(self, pacer: Pacer) -> None:
        """Who sends the trains that agents order from this host."""
        self._pacer = pacer

    def stop(self) -> None:
        """Close everything."""
        self._close_door()
        for talk in tuple(self._open):
            talk.hang_up()
        self._socket.close()

    @property
    def crowded(self) -> bool:
        """There are enough strangers already."""
        return len(self._open) - (self._current is not None) >= MOST_STRANGERS

    def talk(
        self,
        send: Callable[[IgiMessage], None],
        close: Callable[[], None],
        hosts: tuple[str, ...] = (),
        *,
        relayed: bool = False,
    ) -> Talk:
        """With somebody new."""
        receiver = Receiver(
            token=self.token,
            udp_port=self._socket.port,
            kernel_rx=self._socket.kernel_rx,
            used_nonces=self._nonces,
            drops=self._socket.drops,
            now_ns=monotonic_ns(),
        )
        talk = Talk(self.reactor, self, receiver, hosts, send, close, relayed=relayed)
        self._open.add(talk)
        return talk

    def relayed(self, relay: Relay) -> None:
        """An agent says something through the master."""
        key = relay.run.SerializeToString(deterministic=True)
        talk = self._through_master.get(key)
        if talk is None:
            if self.crowded or self._lies >= MOST_BAD_HELLOS:
                return
            talk = self._talk_through_master(key, relay)
        talk.heard([relay.words])

    def met(self, talk: Talk) -> None:
        """It has shown who it is. One run at a time: what was before it is over."""
        before, self._current = self._current, talk
        if before is not None:
            before.refuse("superseded")

    def left(self, talk: Talk) -> None:
        """It is over."""
        self._open.discard(talk)
        if self._pacer is not None:
            self._pacer.left(talk)
        if self._current is talk:
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

    def pace(self, talk: Talk, order: IgiMessage) -> None:
        """Have a train sent."""
        if self._pacer is None:
            talk.refuse("sends_nothing")
        else:
            self._pacer.order(talk, order)

    def send_datagram(self, payload: bytes, host: str, port: int) -> None:
        """From the port that probes arrive at."""
        self._socket.send(payload, host, port)

    def _talk_through_master(self, key: bytes, first: Relay) -> Talk:
        run = RunKey()
        run.CopyFrom(first.run)
        talk = self.talk(
            send=lambda message: self._send_through_master(run, message),
            close=lambda: self._part(key),
            hosts=known_hosts(first.agent_address),
            relayed=True,
        )
        self._through_master[key] = talk
        talk.begin()
        return talk

    def _send_through_master(self, run: RunKey, message: IgiMessage) -> None:
        if self._relay is not None:
            self._relay(Relay(run=run, words=message.SerializeToString()))

    def _part(self, key: bytes) -> None:
        talk = self._through_master.pop(key, None)
        if talk is not None:
            self.left(talk)

    def _listen(self) -> Any:
        """To both IP versions, where this host has both."""
        door = _Doorkeeper(self)
        try:
            return self.reactor.listenTCP(0, door, backlog=MOST_BAD_HELLOS, interface="::")
        except CannotListenError:
            pass
        try:
            return self.reactor.listenTCP(0, door, backlog=MOST_BAD_HELLOS)
        except CannotListenError:
            return None

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
        return None if self._partner.crowded else _Connection(self._partner)
