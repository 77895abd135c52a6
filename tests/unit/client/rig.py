"""The whole command line over a desk in memory: no reactor, no network, no waiting."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Any, TypeVar

import attrs
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from emodis.client.app import run
from emodis.client.calls import Call, Meaning
from emodis.client.config import Settings
from emodis.client.desk import Asking, Desk, Interrupts, Work
from emodis.client.exits import Exit, Trouble
from emodis.client.finish import COMPLETE, Finish
from emodis.client.shell import Shell
from emodis.prober.driver import ProberUnavailable
from emodis.wire.v1.client_pb2 import FromClient, ToClient
from emodis.wire.v1.common_pb2 import TRANSPORT_RAW, Outcome, PeerOffer, Relay, RunKey
from emodis.wire.v1.prober_pb2 import ProberProgress, ProberReady, ProberRun
from tests.support.deferreds import result_of

T = TypeVar("T")
NAMES = {
    "w1": ["10.6.0.2"],
    "w2": ["10.7.0.2"],
    "far": ["8.8.8.8"],
    "both": ["10.8.0.2", "fd00:8::2"],
}


@attrs.define(eq=False)
class ScriptedMaster:
    """Answers a call with these messages; ends with `finish` if they do not end it."""

    script: list[ToClient] = attrs.field(factory=list)
    finish: Finish = COMPLETE
    trouble: Trouble | None = None
    asked: list[FromClient] = attrs.field(factory=list)

    def asking(self, call: Call, on_message: Callable[[ToClient], None]) -> Deferred[Asking]:
        if self.trouble is not None:
            return fail(self.trouble)
        asking: Asking = ScriptedAsking(self, call, on_message)
        return succeed(asking)


@attrs.define(eq=False)
class ScriptedAsking:
    master: ScriptedMaster
    call: Call
    on_message: Callable[[ToClient], None]

    def start(self) -> Deferred[Finish]:
        self.master.asked.append(self.call.opening())
        for message in self.master.script:
            meaning = self.call.read(message)
            self.on_message(message)
            if meaning is Meaning.OVER:
                return succeed(COMPLETE)
        return succeed(self.master.finish)

    def interrupt(self) -> None:
        raise AssertionError("nobody interrupts a script")

    def relay(self, relay: Relay) -> None:
        raise AssertionError("nobody answers a script")


@attrs.define(eq=False)
class FakeProber:
    """Gives these outcomes in turn; with `pending` it holds the last one back."""

    outcomes: list[Outcome] = attrs.field(factory=list)
    unavailable: str = ""
    progress: tuple[tuple[int, int], ...] = ()
    runs: list[ProberRun] = attrs.field(factory=list)
    did: list[str] = attrs.field(factory=list)
    pending: Deferred[Outcome] | None = None
    starting: Deferred[ProberReady] | None = None

    def start(self) -> Deferred[ProberReady]:
        self.did.append("start")
        if self.unavailable:
            return fail(ProberUnavailable(self.unavailable))
        return self.starting or succeed(ProberReady(transports=[TRANSPORT_RAW], families=1))

    def run(
        self,
        run: ProberRun,
        on_progress: Callable[[ProberProgress], None],
        on_relay: Callable[[Relay], None] | None = None,
    ) -> Deferred[Outcome]:
        self.runs.append(run)
        for done, total in self.progress:
            on_progress(ProberProgress(run=run.run, done=done, total=total))
        return self.pending or succeed(self.outcomes.pop(0))

    def relay(self, relay: Relay) -> None:
        raise AssertionError("nobody speaks with a partner here")

    def abort(self, run: RunKey) -> None:
        self.did.append("abort")

    def stop(self) -> Deferred[None]:
        self.did.append("stop")
        return succeed(None)


@attrs.define(eq=False)
class FakePartner:
    """Listens to nobody."""

    offer: PeerOffer | None = attrs.field(
        factory=lambda: PeerOffer(tcp_port=40000, token=bytes(16))
    )
    did: list[str] = attrs.field(factory=list)

    def start(self) -> PeerOffer:
        self.did.append("start")
        if self.offer is None:
            raise PermissionError("not here")
        return self.offer

    def connect(self, relay: Callable[[Relay], None]) -> None:
        self.did.append("connect")

    def send_with(self, pacer: object) -> None:
        self.did.append("send")

    def relayed(self, relay: Relay) -> None:
        self.did.append(f"hear {relay.words.decode()}")

    def stop(self) -> None:
        self.did.append("stop")


def resolve(name: str) -> Deferred[list[str]]:
    if name[0].isdigit() or ":" in name:
        return succeed([name])
    if name not in NAMES:
        return fail(Trouble(f"cannot resolve {name!r}: unknown", Exit.USAGE))
    return succeed(NAMES[name])


@attrs.define(eq=False)
class Rig:
    """Settings as given; `run` is one invocation."""

    master: ScriptedMaster = attrs.field(factory=ScriptedMaster)
    prober: FakeProber = attrs.field(factory=FakeProber)
    partner: FakePartner = attrs.field(factory=FakePartner)
    answerer: FakePartner = attrs.field(
        factory=lambda: FakePartner(PeerOffer(answering_port=40001, token=bytes(16)))
    )
    environ: Mapping[str, str] = attrs.field(factory=lambda: {"HOME": "/nonexistent"})
    clock: Clock = attrs.field(factory=Clock)
    interrupts: Interrupts = attrs.field(factory=Interrupts)
    settings: Settings | None = None
    # This host's own address; "" = it cannot be told.
    own: str = ""

    def run(self, *arguments: str) -> int:
        return run(arguments, Shell(self.environ, self._runtime, lambda: 0.0))

    def desk(self) -> Desk:
        return Desk(
            clock=self.clock,
            master=self.master,
            prober=lambda: self.prober,
            resolve=resolve,
            boottime_ns=lambda: 1_000_000_000,
            interrupts=self.interrupts,
            partner=lambda: self.partner,
            answerer=lambda: self.answerer,
            own_address=lambda target: ip_address(self.own) if self.own else None,
        )

    def _runtime(self, settings: Settings) -> Any:
        self.settings = settings
        return ImmediateRuntime(self.desk())


@attrs.define
class ImmediateRuntime:
    at: Desk

    def run(self, work: Callable[[Desk], Work[T]]) -> T:
        return result_of(work(self.at))
