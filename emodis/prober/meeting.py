"""How a prober and its partner get together: who dials, who relays, which way the probes go.

This host dials. Where its connection does not arrive (a firewall or NAT before the partner), the
master carries the words, and the partner's first datagram opens the path of the probes.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from emodis.packets.clocks import monotonic_ns
from emodis.packets.model import Address
from emodis.prober.links import (
    NS,
    Link,
    PeerFailed,
    PeerUnreachable,
    RelayInterrupt,
    RelayLink,
    TcpLink,
)
from emodis.prober.opening import Outlet
from emodis.techniques import igi_keys
from emodis.techniques.igi_sender import Sender
from emodis.wire.v1.common_pb2 import BLAME_NETWORK, BLAME_US, PeerOffer

CONNECT_WITHIN_NS = 5 * NS
# The same where the master can carry the words instead.
CONNECT_OR_RELAY_NS = 3 * NS // 2
READY_WITHIN_NS = 5 * NS
# Through the master, who may be far away; what is not there by then listens to nobody.
READY_RELAYED_NS = 2 * NS
# A partner that can be dialled most often needs no opening.
OPEN_WITHIN_NS = NS // 4
OPEN_RELAYED_NS = 3 * NS // 2


@attrs.frozen(kw_only=True)
class Way:
    """To a partner that has shown who it is."""

    link: Link
    # Where probes leave from, and the port that they go to.
    outlet: Outlet
    port: int
    relayed: bool
    # Of the words, with the time that the partner takes to think.
    rtt_ns: int

    def close(self) -> None:
        """Part."""
        self.outlet.close()
        self.link.close()


@attrs.define(kw_only=True)
class Meeting:
    """One run's. `relay` sends words through the daemon."""

    sender: Sender
    offer: PeerOffer
    partner: Address
    interrupt: RelayInterrupt
    relay: Callable[[bytes], None]
    # Where trains of the partner's are to arrive; 0 = nowhere.
    arrival_port: int = 0
    _rtt_ns: int = attrs.field(default=0, init=False)

    def meet(self) -> Way:
        """Find the way.

        Raises:
            PeerFailed, PeerStopped, PeerProtocol, PeerAborted: where there is none.
        """
        if not self.offer.relay:
            try:
                return self._greet(self._dial(CONNECT_WITHIN_NS))
            except PeerUnreachable as error:
                raise _unreachable(str(error)) from error
        if not self.offer.tcp_port:
            return self._greet_relayed("it listens to nobody")
        try:
            link = self._dial(CONNECT_OR_RELAY_NS)
        except PeerUnreachable as error:
            return self._greet_relayed(str(error))
        return self._greet(link)

    def _dial(self, within_ns: int) -> TcpLink:
        return TcpLink.dial(self.partner, self.offer.tcp_port, self.interrupt, within_ns)

    def _greet(self, link: TcpLink) -> Way:
        outlet = Outlet(self.partner)
        try:
            port = self._hello(link, outlet, READY_WITHIN_NS)
            port = self._opened_port(link, outlet, OPEN_WITHIN_NS) or port
        except BaseException:
            outlet.close()
            link.close()
            raise
        return Way(link=link, outlet=outlet, port=port, relayed=False, rtt_ns=self._rtt_ns)

    def _greet_relayed(self, why: str) -> Way:
        link, outlet = RelayLink(self.interrupt, self.relay), Outlet(self.partner)
        try:
            self._hello_relayed(link, outlet, why)
            port = self._opened_port(link, outlet, OPEN_RELAYED_NS)
        except BaseException:
            outlet.close()
            raise
        if port is None:
            outlet.close()
            raise PeerFailed("udp_blocked", _UDP_BLOCKED, BLAME_NETWORK)
        return Way(link=link, outlet=outlet, port=port, relayed=True, rtt_ns=self._rtt_ns)

    def _hello(self, link: Link, outlet: Outlet, within_ns: int) -> int:
        said_ns = monotonic_ns()
        link.say(self.sender.hello(outlet.port, outlet.own_address, self.arrival_port))
        port = self.sender.ready(link.hear(within_ns))
        self._rtt_ns = monotonic_ns() - said_ns
        return port

    def _hello_relayed(self, link: RelayLink, outlet: Outlet, why: str) -> None:
        try:
            self._hello(link, outlet, READY_RELAYED_NS)
        except PeerFailed as error:
            raise _unreachable(why, " nor get an answer through the master") from error

    def _opened_port(self, link: Link, outlet: Outlet, within_ns: int) -> int | None:
        opened = outlet.wait(self.sender.tag, self.interrupt, within_ns)
        if opened is None:
            return None
        link.say(self.sender.opened(opened.cookie))
        return opened.port


def checked(offer: PeerOffer) -> PeerOffer:
    """An agent is not sent to any service, nor without a secret to show (PeerFailed)."""
    port = offer.tcp_port
    in_range = igi_keys.LOWEST_PORT <= port <= igi_keys.HIGHEST_PORT
    if not in_range and (port or not offer.relay):
        hint = "igi needs a partner that listens; ask for it by `emodis-client request --tech igi`."
        raise PeerFailed("bad_params", hint, BLAME_US)
    if len(offer.token) != igi_keys.TOKEN_BYTES:
        hint = "The partner's token has the wrong length; update the older side, agent or client."
        raise PeerFailed("bad_params", hint, BLAME_US)
    return offer


def _unreachable(why: str, nor: str = "") -> PeerFailed:
    hint = (
        f"The agent could not connect to the client ({why}){nor}; a firewall or NAT before the "
        "client has to let it in."
    )
    return PeerFailed("client_unreachable", hint)


_UDP_BLOCKED = (
    "The two ends can speak through the master, but the client's UDP packets do not reach the "
    "agent; a firewall at either end must let UDP out, and answers to it in."
)
