"""What the listening end says to one agent, and when, however the words travel."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Any, Protocol

import attrs
from google.protobuf.message import DecodeError
from twisted.internet.interfaces import IDelayedCall

from emodis.packets.clocks import monotonic_ns, realtime_offset_ns, was_set
from emodis.techniques import igi_keys
from emodis.techniques.igi_receiver import AuthFailed, Receiver
from emodis.techniques.igi_sender import PeerProtocol
from emodis.wire.v1.igi_pb2 import IgiAbort, IgiMessage

# Probes are fetched this often while a train flies, and when it should be over.
FETCH_S = 0.02
LAST_FETCH_S = 0.002
# When the datagrams leave that open the path of the probes; some may be lost.
OPENERS_AFTER_S = (0.0, 0.1, 0.3, 0.6, 1.0)
# What tells times of this host's clock, which somebody may set.
STAMPED = ("train_report", "train_sent")


class Listener(Protocol):
    """Whom a talk belongs to: emodis.client.partner.Partner."""

    def met(self, talk: Talk) -> None: ...
    def left(self, talk: Talk) -> None: ...
    def stranger_lied(self) -> None: ...
    def read_probes(self) -> None: ...
    def pace(self, talk: Talk, order: IgiMessage) -> None: ...
    def send_datagram(self, payload: bytes, host: str, port: int) -> None: ...


@attrs.define(eq=False)
class Talk:
    """One agent, or whoever says to be one. `hosts` are where it may be.

    `relayed`: the agent cannot dial us, and its master may see it as somebody else than we do.
    """

    reactor: Any
    listener: Listener
    receiver: Receiver
    hosts: tuple[str, ...]
    send: Callable[[IgiMessage], None]
    close: Callable[[], None]
    relayed: bool = False
    _over: bool = attrs.field(default=False, init=False)
    _timer: IDelayedCall | None = attrs.field(default=None, init=False)
    # It has shown that it is where it says.
    _proven: bool = attrs.field(default=False, init=False)
    _cookies: dict[bytes, str] = attrs.field(factory=dict, init=False)
    _openers: list[IDelayedCall] = attrs.field(factory=list, init=False)
    _clock_offset_ns: int = attrs.field(factory=realtime_offset_ns, init=False)

    def begin(self) -> None:
        """Wait for its Hello."""
        self._sleep()

    def heard(self, words: Sequence[bytes]) -> None:
        """Take whole messages."""
        try:
            for message in words:
                if not self._over:
                    self._take(IgiMessage.FromString(message))
        except (DecodeError, PeerProtocol):
            self.refuse("peer_protocol")
        except AuthFailed:
            self.refuse("auth_failed")
            self.listener.stranger_lied()
        self._sleep()

    def datagram(self, payload: bytes, at_ns: int, host: str) -> None:
        """Something came to the UDP port."""
        self.answer(self.receiver.datagram(payload, at_ns, from_peer=host in self.hosts))

    def answer(self, message: IgiMessage | None) -> None:
        """Say it, if there is anything to say."""
        if message is None or self._over:
            return
        # Also where a prober of this host has sent: its stamps are by the same clock.
        if message.WhichOneof("body") in STAMPED and was_set(self._clock_offset_ns):
            self.refuse("clock_step")
            return
        self.send(message)
        self._sleep()

    def paced(self, message: IgiMessage) -> None:
        """The train that was ordered has left."""
        self.answer(message)

    def refuse(self, reason: str) -> None:
        """Say why, and hang up."""
        self.answer(IgiMessage(abort=IgiAbort(reason=reason)))
        self.hang_up()

    def hang_up(self) -> None:
        """Hear nothing more."""
        if not self._over:
            self.ended()
            self.close()

    def ended(self) -> None:
        """It is over, and nothing can be said any more."""
        self._over = True
        self._wake()
        self._stop_opening()

    def _take(self, message: IgiMessage) -> None:
        known = self.receiver.run is not None
        answer = self.receiver.heard(message, monotonic_ns())
        if not known and self.receiver.run is not None:
            self.listener.met(self)
            self._meet()
        self.answer(answer)
        if message.opened.cookie in self._cookies:
            # It has shown that it is there.
            self.hosts = (self._cookies[message.opened.cookie],)
            self._proven = True
        if self.receiver.opened:
            self._stop_opening()
        if self.receiver.through:
            self.listener.read_probes()
        if message.HasField("order"):
            self._pace(message)
        if self.receiver.done:
            self.hang_up()

    def _meet(self) -> None:
        """What stands before this host lets in only what answers a packet of ours: send some."""
        hello = self.receiver.hello
        if self.relayed:
            self.hosts = tuple(dict.fromkeys(self.hosts + known_hosts(hello.address)))
        self._cookies = {os.urandom(igi_keys.COOKIE_BYTES): host for host in self.hosts}
        if igi_keys.LOWEST_PORT <= hello.udp_port <= igi_keys.HIGHEST_PORT:
            self._openers = [
                self.reactor.callLater(after_s, self._open, hello.udp_port)
                for after_s in OPENERS_AFTER_S
            ]

    def _pace(self, order: IgiMessage) -> None:
        """Trains leave only for who is known to be there, not for whom somebody names."""
        if self.relayed and not self._proven:
            raise PeerProtocol("it orders trains to a place where it has not been seen")
        self.listener.pace(self, order)

    def _open(self, port: int) -> None:
        for cookie, host in self._cookies.items():
            self.listener.send_datagram(self.receiver.opener(cookie), host, port)

    def _stop_opening(self) -> None:
        openers, self._openers = self._openers, []
        for opener in openers:
            if opener.active():
                opener.cancel()

    def _sleep(self) -> None:
        self._wake()
        if not self._over:
            left_s = max(0.0, (self.receiver.wake_at_ns - monotonic_ns()) / 1e9)
            if self.receiver.receiving:
                left_s = min(left_s, LAST_FETCH_S if self.receiver.through else FETCH_S)
            self._timer = self.reactor.callLater(left_s, self._look)

    def _wake(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _look(self) -> None:
        self.listener.read_probes()
        try:
            self.answer(self.receiver.time_passed(monotonic_ns()))
        except PeerProtocol:
            self.refuse("peer_gone")
            return
        self._sleep()


def known_hosts(packed: bytes) -> tuple[str, ...]:
    """The address that is told, if anybody can be there."""
    try:
        address = ip_address(packed)
    except ValueError:
        return ()
    return () if address.is_multicast or address.is_unspecified else (str(address),)
