"""Builds the agent, connects its parts, runs it until it is told to stop."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from types import FrameType

import attrs
from twisted.internet import reactor as the_reactor
from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.logger import Logger
from twisted.python.failure import Failure

from emodis.agent.captures import Captures
from emodis.agent.config import Settings
from emodis.agent.daemon import Daemon, World
from emodis.agent.greeting import Self, capabilities
from emodis.agent.identity import StateDir, StateError
from emodis.agent.limits import Allowance, Limits
from emodis.agent.spool import Spool
from emodis.prober.driver import Prober, ProberUnavailable
from emodis.prober.privileges import drop_net_raw
from emodis.techniques import registry
from emodis.topology.special import refusal
from emodis.wire.endpoints import dialling_endpoint
from emodis.wire.logs import begin_logging
from emodis.wire.steady import boottime_ns, keep_steady_time
from emodis.wire.v1.prober_pb2 import ProberReady

PROBER_STOP_S = 3.0
# However the drain goes, the process is gone by then.
LAST_RESORT_S = 15
EXIT_FAILED = 1


@attrs.define(eq=False)
class Process:
    """The daemon, its two probers, and how they end."""

    reactor: ReactorBase
    settings: Settings
    agent_id: str
    log: Logger
    train_prober: Prober = attrs.field(init=False)
    light_prober: Prober = attrs.field(init=False)
    daemon: Daemon | None = None
    exit_code: int = 0
    stopping: bool = False

    def __attrs_post_init__(self) -> None:
        self.train_prober = Prober(self.reactor, label="trains")
        self.light_prober = Prober(self.reactor, label="light")

    async def start(self) -> None:
        """Bring the probers up, give up our own right to raw sockets, dial."""
        ready, _ = await gatherResults(
            [self.train_prober.start(), self.light_prober.start()], consumeErrors=True
        )
        drop_net_raw()
        for remark in ready.remarks:
            self.log.info("{remark}", remark=remark)
        if not self.stopping:
            self.daemon = self._build(ready)
            self.daemon.start()

    async def stop(self) -> None:
        """Drain the daemon, stop the probers; within a bounded time whatever happens."""
        if self.daemon is not None:
            await self.daemon.stop()
        probers = gatherResults([self.train_prober.stop(), self.light_prober.stop()])
        await probers.addTimeout(PROBER_STOP_S, self.reactor).addErrback(self._not_stopped)

    def _not_stopped(self, failure: Failure) -> None:
        # They die with us in any case.
        self.log.warn("a prober did not stop: {why}", why=failure.getErrorMessage())

    def _build(self, ready: ProberReady) -> Daemon:
        settings = self.settings
        techniques, complaints = registry.usable(sorted(settings.allow))
        for complaint in complaints:
            self.log.warn("{complaint}", complaint=complaint)
        myself = Self(
            agent_id=self.agent_id,
            boot_id=os.urandom(16),
            settings=settings,
            capabilities=capabilities(ready, techniques, techniques),
        )
        world = World(
            clock=self.reactor,
            boottime_ns=boottime_ns,
            unix_ns=time.time_ns,
            uniform=random.uniform,
            endpoint=dialling_endpoint(self.reactor, settings.master),
            train_prober=self.train_prober,
            light_prober=self.light_prober,
            log=self.log,
            capture_for=Captures(settings.pcap, self._warn).file_for,
        )
        allowance = Allowance(
            techniques=frozenset(techniques),
            bytes_per_day=settings.bytes_per_day,
            bytes_per_run=settings.bytes_per_run,
            runs_per_hour=settings.runs_per_hour,
        )
        return Daemon(myself, world, Limits(allowance, techniques, refusal), Spool())

    def _warn(self, text: str) -> None:
        self.log.warn("{text}", text=text)

    # -- signals ----------------------------------------------------------------------------

    def heed_signals(self) -> None:
        """SIGTERM and ^C drain, the second one ends at once."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._signalled)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        if self.stopping:
            os._exit(EXIT_FAILED)
        self.stopping = True
        # A name server that does not answer can hold up the reactor's own end.
        signal.signal(signal.SIGALRM, lambda *_: os._exit(self.exit_code))
        signal.alarm(LAST_RESORT_S)
        self.reactor.callFromThread(self.reactor.stop)

    def failed_to_start(self, failure: Failure) -> None:
        """One line, and exit code 1; nothing of the kind if we are leaving anyway."""
        if self.stopping:
            return
        if isinstance(failure.value, FirstError):
            failure = failure.value.subFailure
        cause = failure.value
        if isinstance(cause, ProberUnavailable):
            self.log.error("{why}", why=str(cause))
        else:
            self.log.failure("cannot start", failure=failure)
        self.exit_code = EXIT_FAILED
        self.stopping = True
        self.reactor.stop()


def run(settings: Settings, *, verbose: bool) -> int:
    """Run until SIGTERM or ^C; the exit code."""
    begin_logging(sys.stderr, verbose=verbose)
    log = Logger("emodis.agent")
    assert isinstance(the_reactor, ReactorBase)
    reactor = the_reactor
    keep_steady_time(reactor)
    try:
        state = StateDir.open(settings.state_dir)
        agent_id = state.agent_id()
    except StateError as error:
        log.error("{why}", why=str(error))  # noqa: TRY400 - one line
        return EXIT_FAILED
    if settings.pcap is not None:
        try:
            settings.pcap.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            log.error("cannot keep captures: {why}", why=str(error))  # noqa: TRY400 - one line
            return EXIT_FAILED
    process = Process(reactor, settings, agent_id, log)
    reactor.addSystemEventTrigger(
        "before", "shutdown", lambda: Deferred.fromCoroutine(process.stop())
    )
    reactor.callWhenRunning(process.heed_signals)
    reactor.callWhenRunning(_start, process)
    reactor.run()
    state.close()
    return process.exit_code


def _start(process: Process) -> None:
    _ = Deferred.fromCoroutine(process.start()).addErrback(process.failed_to_start)
