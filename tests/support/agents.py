"""Stand-ins around an agent: a prober that does what a test says, assignments, clocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import ClassVar, cast

import attrs
from google.protobuf.message import Message
from twisted.internet import error
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import ILogObserver, LogEvent, Logger, formatEvent
from twisted.python.failure import Failure
from zope.interface import implementer

from emodis.agent.assignment import TaskKey, key_of
from emodis.agent.config import Settings
from emodis.agent.daemon import Daemon, World
from emodis.agent.greeting import Self, capabilities
from emodis.agent.limits import Allowance, Limits
from emodis.agent.spool import Spool
from emodis.techniques.base import BadParameters, Spend, Technique
from emodis.topology.special import refusal
from emodis.wire.framing import FrameReader, encode_frame
from emodis.wire.hello import KeepaliveTimes
from emodis.wire.protocol import Wire
from emodis.wire.uri import parse_master_uri
from emodis.wire.v1.agent_pb2 import Assignment, FromAgent, ToAgent
from emodis.wire.v1.common_pb2 import (
    END_CANCELLED,
    END_DONE,
    TRANSPORT_RAW,
    Body,
    Cost,
    End,
    Ending,
    Outcome,
    Relay,
    RunKey,
    Target,
    Welcome,
)
from emodis.wire.v1.prober_pb2 import ProberProgress, ProberReady, ProberRun

NS = 1_000_000_000
AGENT_ID = "7b0f7a52-6a1c-4a8e-9f7d-3d1f6a2b9c01"


@attrs.define
class HostClock:
    """The host's CLOCK_BOOTTIME over a Twisted Clock; `sleep_s` passes without any timer firing."""

    clock: Clock
    slept_s: float = 0.0

    def ns(self) -> int:
        return round((self.clock.seconds() + self.slept_s) * NS)

    def sleep(self, seconds: float) -> None:
        self.slept_s += seconds


@attrs.define(eq=False)
class FakeProber:
    """Runs what it is given until the test ends it; an abort ends it at once unless `deaf`."""

    ready: bool = True
    deaf: bool = False
    runs: list[ProberRun] = attrs.field(factory=list)
    aborted: list[TaskKey] = attrs.field(factory=list)
    in_work: dict[TaskKey, Deferred[Outcome]] = attrs.field(factory=dict)
    relayed: list[Relay] = attrs.field(factory=list)
    # Says something to the partner of the run in work.
    say: Callable[[Relay], None] | None = None
    _progress: Callable[[ProberProgress], None] | None = None

    def run(
        self,
        run: ProberRun,
        on_progress: Callable[[ProberProgress], None],
        on_relay: Callable[[Relay], None],
    ) -> Deferred[Outcome]:
        assert not self.in_work, "one run at a time"
        self.runs.append(run)
        self._progress, self.say = on_progress, on_relay
        self.in_work[key_of(run.run)] = waiting = Deferred[Outcome]()
        return waiting

    def relay(self, relay: Relay) -> None:
        self.relayed.append(relay)

    def abort(self, run: RunKey) -> None:
        self.aborted.append(key_of(run))
        if not self.deaf:
            self.end(END_CANCELLED, run=run)

    def end(
        self, end: End.ValueType = END_DONE, *, run: RunKey | None = None, sent: int = 0
    ) -> None:
        key = key_of(run) if run is not None else next(iter(self.in_work))
        self.in_work.pop(key).callback(Outcome(ending=Ending(end=end), cost=Cost(sent_bytes=sent)))

    def progress(self, done: int, total: int) -> None:
        assert self._progress is not None
        self._progress(ProberProgress(run=self.runs[-1].run, done=done, total=total))


@attrs.define
class FakeTechnique:
    """Costs what its body says: "SECONDS BYTES"; anything else is a bad parameter."""

    NAME: str
    EXCLUSIVE: bool = False
    NEEDS_RAW: bool = True
    SCHEMA: ClassVar[int] = 1

    def worst_case(self, call: Body) -> Spend:
        try:
            seconds, sent_bytes = call.body.split()
            return Spend(duration_s=float(seconds), sent_bytes=int(sent_bytes))
        except ValueError as error:
            raise BadParameters("count must be between 1 and 100") from error


def techniques() -> Mapping[str, Technique]:
    made = (FakeTechnique("light"), FakeTechnique("train", EXCLUSIVE=True))
    return {t.NAME: cast("Technique", t) for t in made}


def run_key(destination: int = 0, *, measurement: str = "m1", attempt: int = 0) -> RunKey:
    return RunKey(
        measurement_id=measurement, agent_id=AGENT_ID, destination=destination, attempt=attempt
    )


def assignment(
    run: RunKey | None = None,
    *,
    technique: str = "light",
    body: bytes = b"10 1000",
    address: str = "10.0.0.9",
    start_by_ns: int = 5 * NS,
    stop_by_ns: int = 15 * NS,
    parent: str = "",
    schema: int = 1,
) -> Assignment:
    """Deadlines are in the master's clock."""
    return Assignment(
        run=run or run_key(),
        parent_id=parent,
        call=Body(technique=technique, schema=schema, body=body),
        target=Target(address=ip_address(address).packed),
        start_by_clock_ns=start_by_ns,
        stop_by_clock_ns=stop_by_ns,
        budget_s=10.0,
        nonce=bytes(16),
    )


@attrs.define(eq=False)
class Line:
    """One connection as the master sees it; what the agent wrote is read by `heard`."""

    wire: Wire[ToAgent, FromAgent]
    transport: StringTransport
    _reader: FrameReader = attrs.field(factory=FrameReader)

    def heard(self) -> list[FromAgent]:
        """Everything that the agent has said since the last look."""
        data = self.transport.value()
        self.transport.clear()
        return [FromAgent.FromString(frame) for frame in self._reader.feed(data)]

    def say(self, **member: Message) -> None:
        """Send one message to the agent."""
        message = ToAgent(**member)  # type: ignore[arg-type]
        self.wire.dataReceived(encode_frame(message.SerializeToString()))

    def lose(self, reason: type[Exception] = error.ConnectionDone) -> None:
        """The transport reports its end."""
        self.wire.connectionLost(Failure(reason()))

    def was_cut(self) -> bool:
        """The agent has hung up without waiting for anything."""
        return bool(self.transport.disconnected)


@implementer(IStreamClientEndpoint)
@attrs.define(eq=False)
class FakeEndpoint:
    """Attempts wait until the test accepts or refuses them."""

    peer_host: str = "127.0.0.1"
    attempts: list[tuple[IProtocolFactory, Deferred[IProtocol]]] = attrs.field(factory=list)
    dialled: int = 0
    cancelled: int = 0

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803
        self.dialled += 1
        waiting: Deferred[IProtocol] = Deferred(self._cancel)
        self.attempts.append((protocolFactory, waiting))
        return waiting

    def _cancel(self, waiting: Deferred[IProtocol]) -> None:
        self.cancelled += 1

    def accept(self, transport: StringTransport | None = None) -> Line:
        factory, waiting = self.attempts.pop(0)
        if transport is None:
            transport = StringTransport(
                hostAddress=IPv4Address("TCP", "127.0.0.1", 40000),
                peerAddress=IPv4Address("TCP", self.peer_host, 4710),
            )
        wire = cast("Wire[ToAgent, FromAgent]", factory.buildProtocol(transport.getPeer()))
        wire.makeConnection(transport)
        waiting.callback(wire)
        return Line(wire, transport)

    def refuse(self) -> None:
        self.attempts.pop(0)[1].errback(error.ConnectionRefusedError())


@attrs.define(eq=False)
class AgentRig:
    """A whole agent in memory, and a master's end that a test plays by hand."""

    insecure: bool = False
    peer_host: str = "127.0.0.1"
    clock: Clock = attrs.field(factory=Clock)
    uniform: Callable[[float, float], float] = lambda low, high: low
    trains: FakeProber = attrs.field(factory=FakeProber)
    light: FakeProber = attrs.field(factory=FakeProber)
    spool: Spool = attrs.field(factory=Spool)
    log: list[str] = attrs.field(factory=list)
    endpoint: FakeEndpoint = attrs.field(init=False)
    host: HostClock = attrs.field(init=False)
    daemon: Daemon = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.host = HostClock(self.clock)
        self.endpoint = FakeEndpoint(peer_host=self.peer_host)

        @implementer(ILogObserver)
        class Reader:
            def __call__(_, event: LogEvent) -> None:  # noqa: N805
                self.log.append(formatEvent(event))

        settings = Settings(
            master=parse_master_uri("tcp://localhost:4710", 4710),
            state_dir=Path("/nonexistent"),
            place="Linz",
            tags=("dsl",),
            allow=frozenset({"light", "train"}),
            bytes_per_day=0,
            bytes_per_run=0,
            runs_per_hour=0,
            insecure=self.insecure,
        )
        ready = ProberReady(transports=[TRANSPORT_RAW], families=1)
        myself = Self(
            agent_id=AGENT_ID,
            boot_id=bytes(16),
            settings=settings,
            capabilities=capabilities(ready, settings.allow, techniques()),
        )
        world = World(
            clock=self.clock,
            boottime_ns=self.host.ns,
            unix_ns=lambda: 77,
            uniform=self.uniform,
            endpoint=self.endpoint,
            train_prober=self.trains,
            light_prober=self.light,
            log=Logger("emodis.agent", observer=Reader()),
        )
        allowance = Allowance(
            techniques=settings.allow, bytes_per_day=0, bytes_per_run=0, runs_per_hour=0
        )
        limits = Limits(allowance, techniques(), refusal)
        self.daemon = Daemon(myself, world, limits, self.spool)

    def go_online(self, times: KeepaliveTimes | None = None) -> Line:
        """Dial, be welcomed; nothing that was said until then is left to be heard."""
        if not self.endpoint.attempts:
            self.daemon.start()
        line = self.endpoint.accept()
        line.say(welcome=welcome(self.host.ns(), times=times))
        line.heard()
        return line

    def pass_s(self, seconds: float, step_s: float = 0.05) -> None:
        """Time passes in small steps, as timers see it."""
        self.clock.pump([step_s] * round(seconds / step_s))


def welcome(
    master_clock_ns: int = 0, *, protocol: int = 1, times: KeepaliveTimes | None = None
) -> Welcome:
    """With the default keepalive times, unless others are given."""
    return Welcome(
        protocol=protocol,
        session_id="s1",
        master_clock_ns=master_clock_ns,
        **attrs.asdict(times or KeepaliveTimes()),
    )
