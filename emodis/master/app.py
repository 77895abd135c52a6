"""Builds the master, connects its parts, runs it until it is told to stop."""

from __future__ import annotations

import fcntl
import gc
import os
import random
import resource
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import attrs
from twisted.internet import reactor as the_reactor
from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.defer import TimeoutError as TooLate
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from emodis.master import aftermath
from emodis.master.aftermath import Doubt
from emodis.master.agent_session import AgentFactory
from emodis.master.client_session import ClientFactory
from emodis.master.clocks import Clocks
from emodis.master.config import Settings
from emodis.master.connection import Hall
from emodis.master.owners import Owners
from emodis.master.parts import Tools
from emodis.master.resolver import system_resolver
from emodis.master.service import Service
from emodis.master.store.database import open_database
from emodis.master.store.store import Store, StoreError
from emodis.master.sweep import PERIOD_S, Sweep
from emodis.master.timers import Timers
from emodis.techniques import registry
from emodis.techniques.base import Technique
from emodis.topology.asn import AsMap, BadMap
from emodis.topology.exchanges import BadPrefixes, Exchanges
from emodis.wire.endpoints import listening_endpoint
from emodis.wire.logs import begin_logging
from emodis.wire.steady import boottime_ns, keep_steady_time
from emodis.wire.v1.common_pb2 import CODE_SHUTDOWN

# Planned restarts spread the agents that come back (SCALE.md, setting 4).
RECONNECTS_PER_S = 500.0
GOODBYE_S = 1.0
STORE_CLOSE_S = 20.0


class CannotRun(Exception):
    """The master cannot start; the text is one line for the operator."""


@attrs.define(eq=False, kw_only=True)
class Master:
    """Everything that is running."""

    settings: Settings
    reactor: ReactorBase
    log: Logger
    store: Store
    hall: Hall
    service: Service
    sweep: LoopingCall
    ports: list[IListeningPort] = attrs.field(factory=list)

    async def listen(self) -> None:
        """Open both listeners, agents first.

        Raises:
            CannotRun: if an endpoint cannot be listened on.
        """
        await self._listen("agents", self.settings.listen_agents, AgentFactory)
        await self._listen("clients", self.settings.listen_clients, ClientFactory)

    async def stop(self) -> None:
        """Goodbye to all, the store drained; within a bounded time whatever happens."""
        self.log.info("shutting down")
        for port in self.ports:
            await maybeDeferred(port.stopListening)
        await self.service.drain()
        spread_s = len(self.service.members) / RECONNECTS_PER_S
        for connection in tuple(self.hall.present):
            retry_after_s = 1.0 + random.random() * spread_s
            connection.dismiss(CODE_SHUTDOWN, "the master is shutting down", retry_after_s)
        if self.sweep.running:
            self.sweep.stop()
        waited_s = 0.0
        while self.hall.present and waited_s < GOODBYE_S:
            await deferLater(self.reactor, 0.02, lambda: None)
            waited_s += 0.02
        try:
            await self.store.close().addTimeout(STORE_CLOSE_S, self.reactor)
        except (TooLate, StoreError) as error:
            self.log.error("the store did not close: {error}", error=str(error))  # noqa: TRY400

    async def _listen(
        self, whom: str, description: str, factory: type[AgentFactory] | type[ClientFactory]
    ) -> None:
        made: Factory = factory(self.hall, self.service)
        try:
            port = await listening_endpoint(self.reactor, description).listen(made)
        except (CannotListenError, ValueError, OSError) as error:
            raise CannotRun(f"cannot listen for {whom}: {error}") from error
        self.ports.append(port)
        address = port.getHost()
        host = getattr(address, "host", "")
        self.log.info(
            "listening for {whom} on tcp:{host}:{port}",
            whom=whom,
            host=f"[{host}]" if ":" in host else host,
            port=getattr(address, "port", 0),
        )


def build(settings: Settings, reactor: ReactorBase, store: Store, log: Logger) -> Master:
    """Connect the parts; nothing listens yet."""
    clocks = Clocks(reactor=reactor, monotonic_ns=boottime_ns, unix_ns=time.time_ns)
    timers = Timers(settings.keepalive.master_timeout_s)
    sweep = Sweep(timers)
    hall = Hall(
        clocks=clocks,
        times=settings.keepalive,
        timers=timers,
        new_session_id=lambda: uuid.uuid4().hex,
        max_connections=min(settings.limits.connections, _descriptors() * 4 // 5),
        log=log,
    )
    service = Service(
        Tools(
            clocks=clocks,
            ledger=store,
            resolve=system_resolver(reactor),
            find=find_technique,
            new_id=lambda: uuid.uuid4().hex,
            random=random.random,
            random_bytes=os.urandom,
            owners=Owners(_open_map(settings.as_map), _open_exchanges(settings.exchanges)),
            log=log,
            loop_lag_s=lambda: sweep.lag_s,
        ),
        settings,
    )
    ticking = LoopingCall(lambda: sweep.tick(clocks.now_s(), pressed=service.pressed))
    ticking.clock = reactor
    return Master(
        settings=settings,
        reactor=reactor,
        log=log,
        store=store,
        hall=hall,
        service=service,
        sweep=ticking,
    )


def find_technique(name: str) -> Technique | None:
    """By its name in the registry."""
    try:
        return registry.get(name)
    except registry.UnknownTechnique:
        return None


def run(settings: Settings, *, verbose: bool) -> int:
    """Run until SIGTERM or ^C; the exit code."""
    begin_logging(sys.stderr, verbose=verbose)
    log = Logger("emodis.master")
    # Installed here means offered here; imported now, no request has to wait for it.
    for complaint in registry.usable(registry.names())[1]:
        log.warn("{complaint}", complaint=complaint)
    assert isinstance(the_reactor, ReactorBase)
    reactor = the_reactor
    keep_steady_time(reactor)
    exit_code = 0

    def failed(failure: Failure) -> None:
        nonlocal exit_code
        exit_code = 1
        if failure.check(CannotRun, StoreError) is None:
            log.failure("cannot start", failure=failure)
        else:
            log.error("{why}", why=failure.getErrorMessage())
        reactor.callWhenRunning(reactor.stop)

    lock = None
    try:
        lock = _lock(settings.state_dir)
        database = open_database(settings.store_url)
        doubtful = aftermath.doubts(
            database,
            find=find_technique,
            now_unix_ns=time.time_ns(),
            rtt_max_s=settings.keepalive.rtt_max_s,
        )
        master = build(settings, reactor, Store(database, reactor), log)
    except (CannotRun, StoreError) as error:
        log.error("{why}", why=str(error))  # noqa: TRY400 - one line
        return 1
    reactor.addSystemEventTrigger(
        "before", "shutdown", lambda: Deferred.fromCoroutine(master.stop())
    )
    reactor.callWhenRunning(
        lambda: Deferred.fromCoroutine(_start(master, doubtful)).addErrback(failed) and None
    )
    reactor.run()
    lock.close()
    return exit_code


async def _start(master: Master, doubtful: Sequence[Doubt]) -> None:
    closed = await master.store.close_orphans(time.time_ns())
    if closed:
        master.log.info("{closed} measurements of the last run were closed", closed=closed)
    if doubtful:
        master.service.hold_back(doubtful)
        longest_s = max(doubt.worst_case_s for doubt in doubtful)
        master.log.info(
            "agents may still be probing for the last run: {count} destinations wait up to "
            "{longest:.0f} s",
            count=len(doubtful),
            longest=longest_s + master.settings.keepalive.rtt_max_s,
        )
    if master.settings.as_map is None:
        master.log.info("no AS map was given (--as-map): hops have no AS")
    await master.listen()
    _ = master.sweep.start(PERIOD_S).addErrback(
        lambda failure: master.log.failure("the sweep stopped", failure=failure)
    )
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def _descriptors() -> int:
    """Raise the limit on open files as far as we may; how many that are."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return sys.maxsize if hard == resource.RLIM_INFINITY else hard


def _open_map(path: Path | None) -> AsMap | None:
    if path is None:
        return None
    try:
        return AsMap.open(path)
    except BadMap as error:
        raise CannotRun(str(error)) from error


def _open_exchanges(path: Path | None) -> Exchanges:
    if path is None:
        return Exchanges()
    try:
        return Exchanges.open(path)
    except BadPrefixes as error:
        raise CannotRun(str(error)) from error


def _lock(state_dir: Path) -> IO[str]:
    """Hold the state directory: a second master would end the first one's measurements."""
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (state_dir / "lock").open("w")
    except OSError as error:
        raise CannotRun(
            f"the state directory {state_dir} cannot be used: {error.strerror}; "
            "give another with --state-dir"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        raise CannotRun(
            f"another master uses {state_dir}; stop it, or give another with --state-dir"
        ) from error
    return lock
