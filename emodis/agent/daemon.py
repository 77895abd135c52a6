"""The agent without its process: machine, session, runner and spool, connected.

It is the `Effects` of the machine. Whoever makes it hands in the reactor, the clocks and the
probers, so that tests run it in memory.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from emodis.agent.backoff import Backoff, Cause, Drop
from emodis.agent.greeting import Self, forbidden_master
from emodis.agent.identity import ID_FILE
from emodis.agent.lifecycle import Link, LinkCore, make_link
from emodis.agent.limits import Limits
from emodis.agent.runner import ProberLike, Runner
from emodis.agent.session import BadWelcome, Session
from emodis.agent.spool import Spool
from emodis.wire.complaints import Complaints
from emodis.wire.protocol import Wire, describe
from emodis.wire.v1.agent_pb2 import FromAgent, ToAgent
from emodis.wire.v1.common_pb2 import CODE_SHUTDOWN, KeepaliveReply, RunKey, Welcome

# Names are resolved in a thread that has no deadline of its own.
DIAL_TIMEOUT_S = 20.0
# What is in work has this long to be aborted, reported and acknowledged on the way out.
DRAIN_S = 3.0


class WireFactory(Factory):
    """Makes the agent's end of a connection; its owner takes it over once it is connected."""

    noisy = False

    def buildProtocol(self, addr: object) -> Wire[ToAgent, FromAgent]:
        return Wire(ToAgent)


@attrs.frozen(kw_only=True)
class World:
    """Everything of the outside that the daemon touches."""

    clock: IReactorTime
    boottime_ns: Callable[[], int]
    unix_ns: Callable[[], int]
    uniform: Callable[[float, float], float]
    endpoint: IStreamClientEndpoint
    train_prober: ProberLike
    light_prober: ProberLike
    log: Logger
    capture_for: Callable[[RunKey], str] = lambda run: ""


class Daemon:
    """Dial with `start`, leave with `stop`."""

    def __init__(self, myself: Self, world: World, limits: Limits, spool: Spool) -> None:
        self.link: Link
        self._self = myself
        self._world = world
        self._complaints = Complaints()
        self._spool = spool
        self._runner = Runner(
            clock=world.clock,
            boottime_ns=world.boottime_ns,
            unix_ns=world.unix_ns,
            limits=limits,
            spool=spool,
            train_prober=world.train_prober,
            light_prober=world.light_prober,
            say=self._say,
            complain=self._complain,
            on_idle=self._look_whether_drained,
            capture_for=world.capture_for,
        )
        self._backoff = Backoff(world.uniform)
        self.link = make_link(LinkCore(clock=world.clock, backoff=self._backoff, effects=self))
        self._session: Session | None = None
        self._dialling: Deferred[None] | None = None
        self._dial_timer: IDelayedCall | None = None
        self._drain_timer: IDelayedCall | None = None
        self._was_online = False
        self._winding_down = False
        self._finished: Deferred[None] = Deferred()

    def start(self) -> None:
        """Dial, now and whenever the connection is lost."""
        self.link.dial()

    def stop(self) -> Deferred[None]:
        """Drain; fires when there is no connection and no timer any more. Call it once."""
        self.link.drain()
        return self._finished

    # -- effects of the machine -------------------------------------------------------------

    def connect(self) -> None:
        self._dial_timer = self._world.clock.callLater(DIAL_TIMEOUT_S, self.link.silent)
        dialling = self._world.endpoint.connect(WireFactory())
        self._dialling = dialling.addCallbacks(self._connected, self._not_connected)
        _ = self._dialling.addErrback(self._broke_while_dialling)

    def cancel_connect(self) -> None:
        dialling, self._dialling = self._dialling, None
        self._forget_dial_timer()
        if dialling is not None:
            dialling.cancel()

    def greet(self) -> None:
        session = self._session
        assert session is not None
        forbidden = forbidden_master(session.peer_host, insecure=self._self.settings.insecure)
        if forbidden is not None:
            self.link.dropped(Drop(cause=Cause.REFUSED, text=forbidden))
            return
        session.greet(self._self.hello(own_host=session.own_host, spooled_runs=len(self._spool)))

    def begin(self, welcome: Welcome) -> None:
        session = self._session
        assert session is not None
        try:
            times = session.begin(welcome)
        except BadWelcome as error:
            self.link.dropped(Drop(cause=Cause.REFUSED, text=str(error)))
            return
        self._backoff.silent_floor_s = times.reconnect_floor_s
        self._was_online = True
        self._world.log.info(
            "online at {master} as {agent} (session {session})",
            master=self._self.settings.master,
            agent=self._self.agent_id,
            session=session.session_id,
        )
        self._spool.open(session.send_result)

    def keep_alive(self, reply: KeepaliveReply) -> None:
        assert self._session is not None
        if not self._session.keep_alive(reply):
            self._complain(f"the master answered keepalive {reply.sequence}, which was not asked")

    def obey(self, order: ToAgent) -> None:
        assert self._session is not None
        match order.WhichOneof("body"):
            case "assignment":
                assignment = order.assignment
                if assignment.run.agent_id != self._self.agent_id:
                    self._complain("the master sent an assignment that is another agent's")
                else:
                    self._runner.take(assignment, self._session.clock)
            case "run_cancel":
                self._runner.cancel(order.run_cancel.run)
            case "client_stop":
                self._runner.stop_client(frozenset(order.client_stop.measurement_ids))
            case "relay":
                self._runner.relayed(order.relay)
            case "ack":
                self._spool.acknowledged(order.ack.runs)
                self._look_whether_drained()
            case _:
                raise AssertionError("the session sends orders only")

    def abandon(self, reason: str) -> None:
        session, self._session = self._session, None
        self._spool.close()
        # First of all: whatever the master gives to others now must not be probed by us.
        self._runner.stop_all("master_lost", f"the agent lost its master ({reason})")
        if session is not None:
            session.cut(reason)

    def wind_down(self) -> None:
        self._world.log.info("leaving: finishing what is in work")
        self._winding_down = True
        self._drain_timer = self._world.clock.callLater(DRAIN_S, self.link.drained)
        self._runner.leave()
        self._look_whether_drained()

    def part(self) -> None:
        session, self._session = self._session, None
        self._spool.close()
        if session is not None:
            session.part(CODE_SHUTDOWN, "the agent is shutting down")

    def patience_s(self) -> float:
        return 0.0 if self._session is None else self._session.patience_s

    def report(self, drop: Drop, delay_s: float) -> None:
        what = "lost the master" if self._was_online else "not online"
        self._was_online = False
        text = drop.text
        if drop.cause is Cause.FENCED:
            what = "gave way to another session with our identity"
            text += f"; if this state directory is a copy, remove its {ID_FILE} and restart"
        # The slow and the silent schedules are slow enough; the quick one slows down by itself.
        self._world.log.warn(
            "{what} ({text}); dialling again in {delay:.0f} s",
            what=what,
            text=text,
            delay=delay_s,
        )

    def finish(self) -> None:
        self._forget_dial_timer()
        if self._drain_timer is not None and self._drain_timer.active():
            self._drain_timer.cancel()
        self._runner.leave()
        self._runner.close()
        self._finished.callback(None)

    # -- dialling ---------------------------------------------------------------------------

    def _connected(self, protocol: object) -> None:
        self._dialling = None
        self._forget_dial_timer()
        assert isinstance(protocol, Wire)
        self._session = Session(
            protocol,
            clock=self._world.clock,
            boottime_ns=self._world.boottime_ns,
            events=self.link,
            complain=self._complain,
            presence=self._presence,
        )
        self.link.connected()

    def _not_connected(self, failure: Failure) -> None:
        self._dialling = None
        self._forget_dial_timer()
        number = getattr(failure.value, "osError", None)
        why = os.strerror(number) if isinstance(number, int) else failure.getErrorMessage()
        why = " ".join(why.split()).rstrip(".")
        text = f"cannot reach {self._self.settings.master}: {why}"
        self.link.dropped(Drop(cause=Cause.UNREACHABLE, text=text))

    def _broke_while_dialling(self, failure: Failure) -> None:
        assert isinstance(failure.value, Exception)
        text = f"an error of our own: {describe(failure.value)}"
        self.link.dropped(Drop(cause=Cause.REFUSED, text=text))

    def _forget_dial_timer(self) -> None:
        if self._dial_timer is not None and self._dial_timer.active():
            self._dial_timer.cancel()
        self._dial_timer = None

    # -- small things -----------------------------------------------------------------------

    def _say(self, message: FromAgent) -> None:
        if self._session is not None:
            self._session.send(message)

    def _presence(self) -> tuple[int, RunKey | None]:
        return self._runner.queued, self._runner.busy

    def _look_whether_drained(self) -> None:
        if self._winding_down and self._runner.idle and not self._spool:
            self.link.drained()

    def _complain(self, text: str) -> None:
        for line in self._complaints.lines(self._world.clock.seconds(), text):
            self._world.log.warn("{line}", line=line)
