"""The real desk, and the reactor run that a command's work lives in."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

import attrs
from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, LogEvent, globalLogBeginner
from twisted.python.failure import Failure
from zope.interface import provider

from emodis.client.calls import Call
from emodis.client.config import Settings, state_dir
from emodis.client.connection import Conversation, hello
from emodis.client.desk import Answerer, Asking, Desk, Interrupts, Partner, Prober, Work, nameless
from emodis.client.exits import Exit, Interrupted, Trouble
from emodis.client.identity import client_id
from emodis.client.names import Lookup, resolver
from emodis.client.naming import namer
from emodis.client.places import objection
from emodis.packets.model import Address
from emodis.techniques import igi_keys
from emodis.wire.endpoints import dialling_endpoint
from emodis.wire.uri import CLIENT_PORT, BadUri, MasterUri, parse_master_uri
from emodis.wire.v1.client_pb2 import ToClient

T = TypeVar("T")


@attrs.define
class RemoteMaster:
    """The master that the settings name. Its name is resolved here, so that its place is known
    before anything is sent there."""

    reactor: Any
    settings: Settings
    resolve: Callable[[str], Deferred[list[str]]]

    def asking(self, call: Call, on_message: Callable[[ToClient], None]) -> Deferred[Asking]:
        return Deferred.fromCoroutine(self._asking(call, on_message))

    async def _asking(self, call: Call, on_message: Callable[[ToClient], None]) -> Asking:
        uri = self._uri()
        try:
            address = (await self.resolve(uri.host))[0]
        except Trouble as error:
            raise Trouble(f"the master is unreachable: {error}", Exit.UNREACHABLE) from error
        wrong = objection(address, insecure=self.settings.insecure)
        if wrong is not None:
            raise Trouble(wrong, Exit.USAGE)
        there = MasterUri(host=address, port=uri.port, plaintext=uri.plaintext)
        return Conversation(
            clock=self.reactor,
            endpoint=dialling_endpoint(self.reactor, there),
            hello=hello(client_id(state_dir(os.environ)), self.settings.token),
            call=call,
            on_message=on_message,
            remark=lambda text: print_line(text) if self.settings.verbose else None,
        )

    def _uri(self) -> MasterUri:
        if self.settings.master is None:
            raise Trouble(
                "no master is named; say --master HOST[:PORT], set EMODIS_MASTER, or write "
                'master = "HOST" into emodis/client.toml',
                Exit.USAGE,
            )
        try:
            return parse_master_uri(self.settings.master, CLIENT_PORT)
        except BadUri as error:
            raise Trouble(str(error), Exit.USAGE) from error


@attrs.define
class ReactorRuntime:
    """Runs one piece of work in one run of the reactor; a process has only one."""

    reactor: ReactorBase
    settings: Settings
    _end: Callable[[], Any] | None = None

    def run(self, work: Callable[[Desk], Work[T]]) -> T:
        """Run the reactor until the work has ended, or the user has lost patience."""
        outcome: list[T] = []
        failures: list[BaseException] = []
        interrupts = Interrupts()
        begin_logging(verbose=self.settings.verbose)

        def interrupted() -> None:
            if not interrupts.fire():
                failures.append(Interrupted())
                self._stop()

        def begin() -> None:
            self._listen_for_signals(interrupted)
            working = Deferred.fromCoroutine(work(self._desk(interrupts)))
            _ = working.addCallbacks(outcome.append, lambda failure: failures.append(failure.value))
            _ = working.addCallback(lambda _: self._stop())

        self.reactor.callWhenRunning(begin)
        self.reactor.run()
        if failures:
            raise failures[0]
        return outcome[0]

    def _desk(self, interrupts: Interrupts) -> Desk:
        resolve = resolver(self.reactor, in_a_thread(self.reactor))
        return Desk(
            clock=self.reactor,
            master=RemoteMaster(self.reactor, self.settings, resolve),
            prober=self._prober,
            resolve=resolve,
            names=namer(self.reactor, in_a_thread(self.reactor))
            if self.settings.names
            else nameless,
            boottime_ns=lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME),
            interrupts=interrupts,
            partner=self._partner,
            answerer=self._answerer,
            own_address=_own_address,
        )

    def _partner(self) -> Partner:
        from emodis.client import partner

        listener: Partner = partner.Partner(
            self.reactor, os.urandom(igi_keys.TOKEN_BYTES), print_line
        )
        return listener

    def _answerer(self) -> Answerer:
        from emodis.client import answerer

        listener: Answerer = answerer.Answerer(self.reactor, os.urandom(igi_keys.TOKEN_BYTES))
        return listener

    def _prober(self) -> Prober:
        from emodis.prober import driver

        prober: Prober = driver.Prober(self.reactor, label="emodis-client", on_remark=print_line)
        return prober

    def _listen_for_signals(self, interrupted: Callable[[], None]) -> None:
        """After the reactor has put its own handlers: ours for leaving, its for its children."""

        def caught(number: int, frame: FrameType | None) -> None:
            self.reactor.callFromThread(interrupted)

        signal.signal(signal.SIGINT, caught)
        signal.signal(signal.SIGTERM, caught)

    def _stop(self) -> None:
        if self.reactor.running:
            self.reactor.stop()


def in_a_thread(reactor: Any) -> Callable[[Lookup, str], Deferred[list[str]]]:
    """Run a lookup beside the reactor, in a thread that never holds up the end of the process."""

    def look_up(lookup: Lookup, name: str) -> Deferred[list[str]]:
        found: Deferred[list[str]] = Deferred(lambda _: None)

        def work() -> None:
            try:
                addresses = lookup(name)
            except Exception as error:
                reactor.callFromThread(_settle, found.errback, Failure(error))
            else:
                reactor.callFromThread(_settle, found.callback, addresses)

        def _settle(how: Callable[[Any], None], value: object) -> None:
            if not found.called:
                how(value)

        threading.Thread(target=work, daemon=True).start()
        return found

    return look_up


def begin_logging(*, verbose: bool) -> None:
    """Whatever the libraries log: nothing, but one line for an error that nobody handled."""

    @provider(ILogObserver)
    def observe(event: LogEvent) -> None:
        failure = event.get("log_failure")
        if failure is None:
            return
        print_line(f"internal error: {failure.getErrorMessage() or failure.type.__name__}")
        if verbose:
            failure.printTraceback(file=sys.stderr)

    globalLogBeginner.beginLoggingTo([observe], redirectStandardIO=False, discardBuffer=True)


def _own_address(target: Address) -> Address | None:
    from emodis.packets.sockets import source_towards
    from emodis.packets.transport import TransportError

    try:
        return source_towards(target)
    except TransportError:
        return None


def print_line(text: str) -> None:
    """Talk goes to stderr."""
    sys.stderr.write(f"emodis-client: {text}\n")
