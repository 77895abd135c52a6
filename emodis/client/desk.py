"""What a piece of the client's work may use: a master, a prober, names, time, and word of ^C.

Everything that tests replace stands here; `runtime` fills it with the real things.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeVar

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime

from emodis.client.calls import Call
from emodis.client.finish import Finish
from emodis.packets.model import Address
from emodis.wire.v1.client_pb2 import ToClient
from emodis.wire.v1.common_pb2 import Outcome, PeerOffer, Relay, RunKey
from emodis.wire.v1.prober_pb2 import ProberProgress, ProberReady, ProberRun

T = TypeVar("T")
Work = Coroutine[Deferred[Any], Any, T]


class Answerer(Protocol):
    """emodis.client.answerer.Answerer as it is used here."""

    def start(self) -> PeerOffer: ...
    def stop(self) -> None: ...


class Partner(Answerer, Protocol):
    """emodis.client.partner.Partner as it is used here."""

    def connect(self, relay: Callable[[Relay], None]) -> None: ...
    def send_with(self, pacer: Any) -> None: ...
    def relayed(self, relay: Relay) -> None: ...


def nobody() -> Partner:
    """For desks at which nothing two-ended is measured."""
    raise NotImplementedError


class Asking(Protocol):
    """One call under way."""

    def start(self) -> Deferred[Finish]:
        """Fires once, and never fails."""
        ...

    def interrupt(self) -> None:
        """The user wants to leave: cancel, and come to an end soon."""
        ...

    def relay(self, relay: Relay) -> None:
        """Send words to the agent of a run, while the call is being served."""
        ...


class Master(Protocol):
    """Whom to ask."""

    def asking(self, call: Call, on_message: Callable[[ToClient], None]) -> Deferred[Asking]:
        """Prepare a conversation; Trouble where the master's name or place forbids it."""
        ...


class Prober(Protocol):
    """emodis.prober.driver.Prober as it is used here."""

    def start(self) -> Deferred[ProberReady]: ...
    def run(
        self,
        run: ProberRun,
        on_progress: Callable[[ProberProgress], None],
        on_relay: Callable[[Relay], None] | None = None,
    ) -> Deferred[Outcome]: ...
    def relay(self, relay: Relay) -> None: ...
    def abort(self, run: RunKey) -> None: ...
    def stop(self) -> Deferred[None]: ...


@attrs.define
class Interrupts:
    """^C and SIGTERM on their way to whoever winds up."""

    handler: Callable[[], None] | None = None

    def fire(self) -> bool:
        """False: nobody is there to wind up, so the run ends here and now."""
        if self.handler is None:
            return False
        self.handler()
        return True


def nameless(addresses: Sequence[str]) -> Deferred[dict[str, str]]:
    """Nobody has a name."""
    return succeed({})


def unknown(target: Address) -> Address | None:
    """Nobody knows this host's own addresses."""
    return None


@attrs.define
class Desk:
    """All of it."""

    clock: IReactorTime
    master: Master
    prober: Callable[[], Prober]
    # Addresses of a name, IPv4 first; fails with Trouble (usage).
    resolve: Callable[[str], Deferred[list[str]]]
    boottime_ns: Callable[[], int]
    partner: Callable[[], Partner] = nobody
    # Whoever answers probes while others measure towards this host.
    answerer: Callable[[], Answerer] = nobody
    interrupts: Interrupts = attrs.field(factory=Interrupts)
    # Host names of addresses, as far as there are any; never fails.
    names: Callable[[Sequence[str]], Deferred[dict[str, str]]] = nameless
    # This host's own address on packets to a target, as far as that can be told.
    own_address: Callable[[Address], Address | None] = unknown


class Runtime(Protocol):
    """The seam between the command line, which wants an answer, and Twisted, which wants to run."""

    def run(self, work: Callable[[Desk], Work[T]]) -> T:
        """Give back the work's result or raise what it raised."""
        ...
