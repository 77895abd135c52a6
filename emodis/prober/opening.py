"""The socket that probes leave from, and the datagram of the partner's that opens its path.

What stands before the partner (a firewall, a router that translates addresses) lets in only what
answers a packet from inside. So the partner sends one first, and the probes go to where it came
from.
"""

from __future__ import annotations

import select
import socket
from ipaddress import ip_address

import attrs

from emodis.packets.arrivals import plain_host
from emodis.packets.clocks import monotonic_ns
from emodis.packets.model import Address
from emodis.packets.pacing import udp_socket
from emodis.packets.transport import Interrupt
from emodis.prober.links import NS, PeerStopped
from emodis.techniques import igi_keys

_LARGEST_BYTES = 2048
# connect() on a UDP socket sends nothing; any port will do.
_ANY_PORT = 9


@attrs.frozen(kw_only=True)
class Opened:
    """The partner's datagram: where it came from, and what was in it."""

    port: int
    cookie: bytes


@attrs.define
class Outlet:
    """Bound before the partner is told of it; `PacedSocket` takes the socket over."""

    partner: Address
    socket: socket.socket = attrs.field(init=False)
    port: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.socket = udp_socket(self.partner.version)
        self.socket.bind(("", 0))
        self.port = self.socket.getsockname()[1]

    def close(self) -> None:
        """Give it back."""
        self.socket.close()

    @property
    def own_address(self) -> bytes:
        """This host's on the way to the partner; empty where there is no way."""
        with udp_socket(self.partner.version) as probe:
            try:
                probe.connect((str(self.partner), _ANY_PORT))
            except OSError:
                return b""
            return ip_address(plain_host(probe.getsockname()[0])).packed

    def wait(self, tag: bytes, interrupt: Interrupt, within_ns: int) -> Opened | None:
        """The first datagram of this run from the partner's address (PeerStopped)."""
        end_ns = monotonic_ns() + within_ns
        while (left_ns := end_ns - monotonic_ns()) > 0:
            watched = [self.socket.fileno(), interrupt.fileno()]
            readable = select.select(watched, [], [], left_ns / NS)[0]
            if interrupt.waiting():
                raise PeerStopped
            opened = self._read(tag) if self.socket.fileno() in readable else None
            if opened is not None:
                return opened
        return None

    def _read(self, tag: bytes) -> Opened | None:
        try:
            payload, sender = self.socket.recvfrom(_LARGEST_BYTES, socket.MSG_DONTWAIT)
        except OSError:
            return None
        cookie = igi_keys.opener_cookie(payload, tag)
        # The run's own address only: whoever knows the tag must not direct the probes elsewhere.
        if cookie is None or ip_address(plain_host(sender[0])) != self.partner:
            return None
        return Opened(port=sender[1], cookie=cookie)
