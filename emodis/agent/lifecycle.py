"""The life of an agent's connection to its master (paper, section 6).

idle --dial--> dialling --connected--> greeting --welcomed--> online --drain--> draining
                 ^   |                    |                     |                  |
                dial dropped, silent  dropped, silent     dropped, silent     drained, dropped,
                 |   v                    |                     |              silent
                waiting <-----------------+---------------------+                  v
                                                    drain from all others --> stopped

A message that the state does not allow ends the connection with a reason; what comes late, from
something already given up, is decided to be nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import attrs
from automat import TypeMachineBuilder
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from emodis.agent.backoff import Backoff, Cause, Drop
from emodis.wire.v1.agent_pb2 import ToAgent
from emodis.wire.v1.common_pb2 import KeepaliveReply, Welcome


class Link(Protocol):
    """Everything that can happen to the connection."""

    def dial(self) -> None:
        """Start, or the wait is over."""

    def connected(self) -> None:
        """There is a TCP connection to a master that we may talk to."""

    def welcomed(self, welcome: Welcome) -> None:
        """The master accepted our Hello."""

    def answered(self, reply: KeepaliveReply) -> None:
        """The master answered a keepalive."""

    def ordered(self, order: ToAgent) -> None:
        """The master wants something done, or has done something."""

    def dropped(self, drop: Drop) -> None:
        """The connection ended, or never began."""

    def silent(self) -> None:
        """Nothing was heard for too long, by our own timer."""

    def drain(self) -> None:
        """The operator wants us gone."""

    def drained(self) -> None:
        """What was in work has ended, or has had its time."""


class Effects(Protocol):
    """What the transitions act upon."""

    def connect(self) -> None:
        """Begin to dial."""

    def cancel_connect(self) -> None:
        """Stop dialling."""

    def greet(self) -> None:
        """Send Hello."""

    def begin(self, welcome: Welcome) -> None:
        """Take up work under this Welcome."""

    def keep_alive(self, reply: KeepaliveReply) -> None:
        """Start the silence timer anew, and set the clock."""

    def obey(self, order: ToAgent) -> None:
        """Take the order to whom it concerns."""

    def abandon(self, reason: str) -> None:
        """No master any more: abort the run in work, empty the queue, close the socket at once."""

    def wind_down(self) -> None:
        """Abort, take nothing new, say `drained` when the results are through or time is up."""

    def part(self) -> None:
        """Say goodbye and close."""

    def patience_s(self) -> float:
        """How long the master was allowed to be silent."""

    def report(self, drop: Drop, delay_s: float) -> None:
        """Tell the log why there is no connection and when the next attempt is."""

    def finish(self) -> None:
        """The connection's life is over; the daemon may go."""


@attrs.define
class LinkCore:
    """Holds the one timer of the machine, the wait before dialling again."""

    clock: IReactorTime
    backoff: Backoff
    effects: Effects
    retry: IDelayedCall | None = None

    def wait(self, link: Link, drop: Drop) -> None:
        """Dial again later."""
        delay_s = self.backoff.next_delay_s(drop)
        self.effects.report(drop, delay_s)
        self.retry = self.clock.callLater(delay_s, link.dial)


builder = TypeMachineBuilder(Link, LinkCore)
idle = builder.state("idle")
dialling = builder.state("dialling")
greeting = builder.state("greeting")
online = builder.state("online")
waiting = builder.state("waiting")
draining = builder.state("draining")
stopped = builder.state("stopped")


# -- the way in ---------------------------------------------------------------------------------


@idle.upon(Link.dial).to(dialling)
@waiting.upon(Link.dial).to(dialling)
def _connect(link: Link, core: LinkCore) -> None:
    core.retry = None
    core.effects.connect()


@dialling.upon(Link.connected).to(greeting)
def _greet(link: Link, core: LinkCore) -> None:
    core.effects.greet()


@greeting.upon(Link.welcomed).to(online)
def _begin(link: Link, core: LinkCore, welcome: Welcome) -> None:
    core.effects.begin(welcome)


@online.upon(Link.answered).loop()
@draining.upon(Link.answered).loop()
def _stay(link: Link, core: LinkCore, reply: KeepaliveReply) -> None:
    # Only now has the connection proved itself: a master that welcomes and hangs up must not be
    # dialled every second.
    core.backoff.reset()
    core.effects.keep_alive(reply)


@online.upon(Link.ordered).loop()
@draining.upon(Link.ordered).loop()
def _obey(link: Link, core: LinkCore, order: ToAgent) -> None:
    core.effects.obey(order)


# -- losing it ----------------------------------------------------------------------------------


@dialling.upon(Link.dropped).to(waiting)
def _fail_to_connect(link: Link, core: LinkCore, drop: Drop) -> None:
    core.wait(link, drop)


@dialling.upon(Link.silent).to(waiting)
def _give_up_dialling(link: Link, core: LinkCore) -> None:
    core.effects.cancel_connect()
    core.wait(link, Drop(cause=Cause.UNREACHABLE, text="no connection within the time allowed"))


@greeting.upon(Link.dropped).to(waiting)
@online.upon(Link.dropped).to(waiting)
def _lose(link: Link, core: LinkCore, drop: Drop) -> None:
    core.effects.abandon(drop.text)
    core.wait(link, drop)


@greeting.upon(Link.silent).to(waiting)
def _give_up_greeting(link: Link, core: LinkCore) -> None:
    # It may have welcomed us without our hearing of it, so the long floor holds here too.
    text = f"no answer to our Hello for {core.effects.patience_s():g} s"
    core.effects.abandon(text)
    core.wait(link, Drop(cause=Cause.SILENT, text=text))


@online.upon(Link.silent).to(waiting)
def _give_up(link: Link, core: LinkCore) -> None:
    text = f"silent for {core.effects.patience_s():g} s"
    core.effects.abandon(text)
    core.wait(link, Drop(cause=Cause.SILENT, text=text))


def _hang_up_on(link: Link, core: LinkCore, what: str) -> None:
    text = f"it sent {what} out of order"
    core.effects.abandon(text)
    core.wait(link, Drop(cause=Cause.REFUSED, text=text))


@greeting.upon(Link.answered).to(waiting)
def _answered_too_early(link: Link, core: LinkCore, reply: KeepaliveReply) -> None:
    _hang_up_on(link, core, "a KeepaliveReply")


@greeting.upon(Link.ordered).to(waiting)
def _ordered_too_early(link: Link, core: LinkCore, order: ToAgent) -> None:
    _hang_up_on(link, core, f"{order.WhichOneof('body')} before Welcome")


@online.upon(Link.welcomed).to(waiting)
def _welcomed_twice(link: Link, core: LinkCore, welcome: Welcome) -> None:
    _hang_up_on(link, core, "a second Welcome")


# -- the way out --------------------------------------------------------------------------------


@idle.upon(Link.drain).to(stopped)
def _stop_before_the_start(link: Link, core: LinkCore) -> None:
    core.effects.finish()


@dialling.upon(Link.drain).to(stopped)
def _stop_dialling(link: Link, core: LinkCore) -> None:
    core.effects.cancel_connect()
    core.effects.finish()


@greeting.upon(Link.drain).to(stopped)
def _stop_greeting(link: Link, core: LinkCore) -> None:
    core.effects.part()
    core.effects.finish()


@waiting.upon(Link.drain).to(stopped)
def _stop_waiting(link: Link, core: LinkCore) -> None:
    if core.retry is not None and core.retry.active():
        core.retry.cancel()
    core.effects.finish()


@online.upon(Link.drain).to(draining)
def _drain(link: Link, core: LinkCore) -> None:
    core.effects.wind_down()


@draining.upon(Link.drained).to(stopped)
def _leave(link: Link, core: LinkCore) -> None:
    core.effects.part()
    core.effects.finish()


@draining.upon(Link.dropped).to(stopped)
def _lose_while_draining(link: Link, core: LinkCore, drop: Drop) -> None:
    core.effects.abandon(drop.text)
    core.effects.finish()


@draining.upon(Link.silent).to(stopped)
def _give_up_while_draining(link: Link, core: LinkCore) -> None:
    core.effects.abandon("silent")
    core.effects.finish()


@draining.upon(Link.welcomed).to(stopped)
def _welcomed_while_draining(link: Link, core: LinkCore, welcome: Welcome) -> None:
    core.effects.abandon("a second Welcome")
    core.effects.finish()


# -- decided, and nothing to do: late echoes of something already settled -----------------------


@idle.upon(Link.connected).loop()
@waiting.upon(Link.connected).loop()
@stopped.upon(Link.connected).loop()
def _unwanted_connection(link: Link, core: LinkCore) -> None:
    # Dialling was cancelled too late to prevent it.
    core.effects.abandon("no longer wanted")


for _state in (idle, dialling, greeting, online, waiting, stopped):
    _state.upon(Link.drained).loop().returns(None)
for _state in (dialling, greeting, online, draining, stopped):
    _state.upon(Link.dial).loop().returns(None)
for _state in (greeting, online, draining):
    _state.upon(Link.connected).loop().returns(None)
for _state in (idle, dialling, waiting, stopped):
    _state.upon(Link.welcomed).loop().returns(None)
    _state.upon(Link.answered).loop().returns(None)
    _state.upon(Link.ordered).loop().returns(None)
for _state in (idle, waiting, stopped):
    _state.upon(Link.dropped).loop().returns(None)
    _state.upon(Link.silent).loop().returns(None)
for _state in (draining, stopped):
    _state.upon(Link.drain).loop().returns(None)

make_link: Callable[[LinkCore], Link] = builder.build()
