"""A whole master in memory: real service, scheduler, sessions; fake clock, store and peers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import attrs
from google.protobuf.message import Message
from twisted.internet.address import IPv4Address as Peer
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import ILogObserver, LogEvent, Logger
from zope.interface import implementer

from emodis.master.agent_session import AgentFactory
from emodis.master.client_session import ClientFactory
from emodis.master.clocks import NS, Clocks
from emodis.master.config import Limits, Settings
from emodis.master.connection import Hall
from emodis.master.owners import Owners
from emodis.master.parts import Tools
from emodis.master.service import Service
from emodis.master.store.records import AgentRecord, MeasurementRecord
from emodis.master.sweep import Sweep
from emodis.master.timers import Timers
from emodis.techniques.base import BadParameters, Option, Spend, Technique
from emodis.techniques.traceroute import Traceroute
from emodis.wire.framing import FrameReader, encode_frame
from emodis.wire.hello import KeepaliveTimes
from emodis.wire.v1.agent_pb2 import Assignment, FromAgent, RunResult, ToAgent
from emodis.wire.v1.client_pb2 import (
    POLICY_RING,
    Agents,
    All,
    Ended,
    FromClient,
    Request,
    Result,
    Selected,
    ToClient,
)
from emodis.wire.v1.common_pb2 import (
    END_DONE,
    ROLE_AGENT,
    ROLE_MANAGER,
    Body,
    Capability,
    Cost,
    End,
    Ending,
    Hello,
    Keepalive,
    Outcome,
    RunKey,
)

In = TypeVar("In", bound=Message)
Out = TypeVar("Out", bound=Message)
START_S = 1000.0
UNIX_NS = 1_700_000_000 * NS


class Tap:
    """A technique that needs no packets: 1 s and 100 bytes usually, 3 s at worst."""

    NAME: ClassVar[str] = "tap"
    SCHEMA: ClassVar[int] = 1
    EXCLUSIVE: ClassVar[bool] = True
    POLICY: ClassVar[Any] = POLICY_RING
    NEEDS_RAW: ClassVar[bool] = True
    SUMMARY: ClassVar[str] = "does nothing"

    def options(self) -> Sequence[Option]:
        return ()

    def call(self, options: Mapping[str, str]) -> Body:
        return Body(technique="tap", schema=1, body=b"ok")

    def expected(self, call: Body) -> Spend:
        return Spend(duration_s=1.0, sent_bytes=100)

    def worst_case(self, call: Body) -> Spend:
        if call.body not in {b"ok", b"slow"}:
            raise BadParameters("tap: the body must be ok or slow")
        return Spend(duration_s=3.0 if call.body == b"ok" else 100.0, sent_bytes=200)

    def conversation(self, call: Body, context: Any) -> Any:
        raise NotImplementedError

    def estimate(self, call: Body, observations: bytes) -> Any:
        raise NotImplementedError

    def result(self, body: Body) -> Any:
        raise NotImplementedError

    def addresses(self, body: Body) -> Sequence[Any]:
        return [ip_address("10.9.9.9")]


TECHNIQUES: dict[str, Technique] = {"tap": Tap(), "traceroute": Traceroute()}


@attrs.define(eq=False)
class MemoryLedger:
    """The store's promises, kept in dicts. With `hold`, runs wait until `commit` is called."""

    on_pressure: Callable[[bool], None] = attrs.field(default=lambda pressed: None)
    hold: bool = False
    broken: Exception | None = None
    journal: list[str] = attrs.field(factory=list)
    records: dict[str, MeasurementRecord] = attrs.field(factory=dict)
    runs: dict[tuple[str, str, int], Result] = attrs.field(factory=dict)
    seen: dict[str, AgentRecord] = attrs.field(factory=dict)
    discarded: list[str] = attrs.field(factory=list)
    _waiting: list[tuple[Deferred[int], RunKey, Outcome, bool, Sequence[RunKey]]] = attrs.field(
        factory=list
    )
    _cursor: int = 0

    @property
    def queue_rows(self) -> int:
        return len(self._waiting)

    def save_agent(self, hello: Hello, *, asn: int, seen_unix_ns: int) -> Deferred[None]:
        self.seen[hello.id] = AgentRecord(hello=hello, asn=asn, last_seen_unix_ns=seen_unix_ns)
        return succeed(None)

    def agents(self, *, after: str, limit: int) -> Deferred[list[AgentRecord]]:
        return succeed([self.seen[agent] for agent in sorted(self.seen) if agent > after][:limit])

    def save_measurement(self, measurement: MeasurementRecord) -> Deferred[None]:
        if self.broken is not None:
            return fail(self.broken)
        self.records[measurement.id] = measurement
        return succeed(None)

    def save_selection(self, measurement_id: str, selected: Selected) -> Deferred[None]:
        self._change(measurement_id, selected=selected)
        return succeed(None)

    def end_measurement(
        self, measurement_id: str, ended: Ended, *, ended_unix_ns: int
    ) -> Deferred[None]:
        self._change(measurement_id, ended=ended, ended_unix_ns=ended_unix_ns)
        return succeed(None)

    def save_run(
        self, run: RunKey, outcome: Outcome, *, late: bool, overlapped: Sequence[RunKey]
    ) -> Deferred[int]:
        if self.broken is not None:
            return fail(self.broken)
        saved: Deferred[int] = Deferred()
        self._waiting.append((saved, run, outcome, late, overlapped))
        if not self.hold:
            self.commit()
        return saved

    def commit(self) -> None:
        """Fire what waits, as one batch."""
        waiting, self._waiting = self._waiting, []
        for saved, run, outcome, late, overlapped in waiting:
            self._cursor += 1
            self.journal.append("commit")
            key = (run.measurement_id, run.agent_id, run.destination)
            self.runs[key] = Result(
                cursor=self._cursor, run=run, outcome=outcome, late=late, overlapped=overlapped
            )
            saved.callback(self._cursor)

    def discard_payloads(self, measurement_id: str) -> Deferred[None]:
        self.discarded.append(measurement_id)
        return succeed(None)

    def measurement(self, measurement_id: str) -> Deferred[MeasurementRecord | None]:
        found = [record for id_, record in self.records.items() if id_.startswith(measurement_id)]
        return succeed(found[0] if len(found) == 1 else None)

    def by_idempotency(
        self, client_id: str, idempotency: bytes
    ) -> Deferred[MeasurementRecord | None]:
        for record in self.records.values():
            if (record.client_id, record.idempotency) == (client_id, idempotency):
                return succeed(record)
        return succeed(None)

    def results(
        self, measurement_id: str, *, after: int, limit: int, with_observations: bool
    ) -> Deferred[list[Result]]:
        found = sorted(
            (r for k, r in self.runs.items() if k[0] == measurement_id and r.cursor > after),
            key=lambda result: result.cursor,
        )
        page = []
        for result in found[:limit]:
            copy = Result()
            copy.CopyFrom(result)
            if not with_observations:
                copy.outcome.ClearField("observations")
            page.append(copy)
        return succeed(page)

    def results_towards(
        self, technique: str, address: bytes, *, since_unix_ns: int
    ) -> Deferred[list[Result]]:
        return succeed(
            [
                result
                for (measurement_id, _, _), result in self.runs.items()
                if (record := self.records[measurement_id]).call.technique == technique
                and record.targets[result.run.destination].address == address
                and record.admitted_unix_ns >= since_unix_ns
                and result.outcome.ending.end == END_DONE
            ]
        )

    def recent_targets(
        self, technique: str, *, since_unix_ns: int, limit: int
    ) -> Deferred[list[bytes]]:
        found = [
            record.targets[result.run.destination].address
            for (measurement_id, _, _), result in self.runs.items()
            if (record := self.records[measurement_id]).call.technique == technique
            and record.admitted_unix_ns >= since_unix_ns
            and result.outcome.ending.end == END_DONE
        ]
        return succeed(list(dict.fromkeys(reversed(found)))[:limit])

    def close(self) -> Deferred[None]:
        return succeed(None)

    def _change(self, measurement_id: str, **changes: Any) -> None:
        self.records[measurement_id] = attrs.evolve(self.records[measurement_id], **changes)


class Line(StringTransport):
    """A transport whose far end notices: closing reports the loss at once."""

    def __init__(self, host: str) -> None:
        super().__init__(peerAddress=Peer("TCP", host, 4000))
        self.lost: Callable[[], None] = lambda: None
        self.written: Callable[[], None] = lambda: None

    def write(self, data: bytes) -> None:
        super().write(data)
        self.written()

    def loseConnection(self) -> None:  # noqa: N802 - ITransport
        super().loseConnection()
        self.lost()

    def abortConnection(self) -> None:  # noqa: N802 - ITCPTransport
        super().abortConnection()
        self.lost()


class Far(Generic[In, Out]):
    """The other end of a session: what it says, and what it was told."""

    def __init__(self, protocol: Any, host: str, incoming: type[In]) -> None:
        self.protocol = protocol
        self.line = Line(host)
        self.line.lost = self.cut
        self.gone = False
        self._incoming = incoming
        self._reader = FrameReader()
        protocol.makeConnection(self.line)

    def say(self, message: Out) -> None:
        self.protocol.dataReceived(encode_frame(message.SerializeToString()))

    def cut(self) -> None:
        """The connection is gone."""
        if not self.gone:
            self.gone = True
            self.protocol.connectionLost()

    def heard(self) -> list[In]:
        """Everything since the last time."""
        data = self.line.value()
        self.line.clear()
        out: list[In] = []
        for frame in self._reader.feed(data):
            message = self._incoming()
            message.ParseFromString(frame)
            out.append(message)
        return out

    def unhear(self, messages: list[In]) -> None:
        """Put them back."""
        for message in messages:
            self.line.write(encode_frame(message.SerializeToString()))

    def names(self) -> list[str]:
        return [str(message.WhichOneof("body")) for message in self.heard()]


class FarAgent(Far[ToAgent, FromAgent]):
    """A scripted agent."""

    id: str

    def assignments(self) -> list[Assignment]:
        return [m.assignment for m in self.heard() if m.WhichOneof("body") == "assignment"]

    def traces(self) -> list[Assignment]:
        """Those of a discovery; whatever else there is stays unheard."""
        messages = self.heard()
        self.unhear([m for m in messages if m.assignment.call.technique != "traceroute"])
        return [m.assignment for m in messages if m.assignment.call.technique == "traceroute"]

    def finish(
        self,
        run: RunKey,
        end: End.ValueType = END_DONE,
        *,
        payload: bytes = b"result",
        reason: str = "",
        respooled: bool = False,
        result: Body | None = None,
    ) -> None:
        outcome = Outcome(ending=Ending(end=end, reason=reason), cost=Cost(sent_bytes=100))
        if end == END_DONE:
            outcome.result.CopyFrom(result or Body(technique="tap", schema=1, body=payload))
            outcome.observations = b"raw"
        self.say(FromAgent(run_result=RunResult(run=run, outcome=outcome, respooled=respooled)))


class FarClient(Far[ToClient, FromClient]):
    """A scripted client."""

    def ask(self, **fields: Any) -> None:
        """A request for `tap`; by default to 10.0.0.1 by ALL."""
        fields.setdefault("call", Body(technique="tap", schema=1, body=b"ok"))
        fields.setdefault("destinations", ["10.0.0.1"])
        fields.setdefault("agents", Agents(all=All()))
        fields.setdefault("call_id", 7)
        self.say(FromClient(request=Request(**fields)))


@implementer(ILogObserver)
@attrs.define(eq=False)
class Ear:
    """Passes log events to whatever `hear` is at the moment."""

    hear: Callable[[LogEvent], None] = attrs.field(default=lambda event: None)

    def __call__(self, event: LogEvent) -> None:
        self.hear(event)


@attrs.define(eq=False)
class House:
    """Everything together."""

    ledger: MemoryLedger = attrs.field(factory=MemoryLedger)
    limits: Limits = attrs.field(factory=Limits)
    names: dict[str, list[str]] = attrs.field(factory=dict)
    owners: Owners = attrs.field(factory=Owners)
    clock: Clock = attrs.field(factory=Clock)
    service: Service = attrs.field(init=False)
    hall: Hall = attrs.field(init=False)
    sweep: Sweep = attrs.field(init=False)
    times: KeepaliveTimes = attrs.field(factory=KeepaliveTimes)
    insecure: bool = True
    # What is logged goes here.
    log: Ear = attrs.field(factory=Ear)
    _ids: Any = attrs.field(factory=lambda: itertools.count(1))

    def __attrs_post_init__(self) -> None:
        self.clock.rightNow = START_S
        clocks = Clocks(
            reactor=self.clock, monotonic_ns=self.now_ns, unix_ns=lambda: UNIX_NS + self.now_ns()
        )
        log = Logger("emodis.test", observer=self.log)
        timers = Timers(self.times.master_timeout_s)
        self.sweep = Sweep(timers)
        self.hall = Hall(
            clocks=clocks,
            times=self.times,
            timers=timers,
            new_session_id=lambda: f"s{next(self._ids)}",
            max_connections=self.limits.connections,
            log=log,
        )
        settings = Settings(
            state_dir=Path("/nowhere"),
            listen_agents="",
            listen_clients="",
            insecure=self.insecure,
            as_map=None,
            lease_s=120.0,
            keepalive=self.times,
            limits=self.limits,
        )
        self.service = Service(
            Tools(
                clocks=clocks,
                ledger=self.ledger,
                resolve=self._resolve,
                find=TECHNIQUES.get,
                new_id=lambda: f"m{next(self._ids):04d}",
                random=lambda: 0.5,
                random_bytes=lambda count: b"n" * count,
                owners=self.owners,
                log=log,
            ),
            settings,
        )

    def now_ns(self) -> int:
        return round(self.clock.seconds() * NS)

    def advance(self, seconds: float, *, tick_s: float = 1.0) -> None:
        """Let time pass, with the sweep once a second."""
        end_s = self.clock.seconds() + seconds
        while self.clock.seconds() < end_s - 1e-9:
            self.clock.advance(min(tick_s, end_s - self.clock.seconds()))
            self.sweep.tick(self.clock.seconds(), pressed=self.service.pressed)

    def pass_time(self, seconds: int) -> None:
        """Let time pass without the sweep: nobody falls silent."""
        self.clock.pump([1.0] * seconds)

    def drain(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.service.drain())

    def settle(self) -> None:
        """What was put off until the next turn of the reactor."""
        self.clock.advance(0)

    def stranger_agent(self, host: str = "10.1.0.1") -> FarAgent:
        protocol = AgentFactory(self.hall, self.service).buildProtocol(Peer("TCP", host, 4000))
        return FarAgent(protocol, host, ToAgent)

    def agent(self, agent_id: str = "a1", *, host: str = "10.1.0.1", **fields: Any) -> FarAgent:
        """An agent that has joined; its Welcome has been read."""
        agent = self.stranger_agent(host)
        agent.id = agent_id
        agent.say(FromAgent(hello=agent_hello(agent_id, **fields)))
        assert [m.WhichOneof("body") for m in agent.heard()][:1] == ["welcome"]
        return agent

    def stranger_client(self, host: str = "10.2.0.1") -> FarClient:
        protocol = ClientFactory(self.hall, self.service).buildProtocol(Peer("TCP", host, 4000))
        return FarClient(protocol, host, ToClient)

    def client(self, client_id: str = "c1", *, host: str = "10.2.0.1") -> FarClient:
        """A client that has been welcomed."""
        client = self.stranger_client(host)
        client.say(FromClient(hello=client_hello(client_id)))
        assert client.names() == ["welcome"]
        return client

    def _resolve(self, name: str) -> Deferred[list[str]]:
        if name == "hangs.test":
            return Deferred()
        if name not in self.names:
            return fail(OSError(-2, "Name or service not known"))
        return succeed(self.names[name])


def agent_hello(agent_id: str = "a1", **fields: Any) -> Hello:
    fields.setdefault("protocol_min", 1)
    fields.setdefault("protocol_max", 1)
    fields.setdefault("role", ROLE_AGENT)
    fields.setdefault("boot_id", agent_id.encode().ljust(16, b"."))
    fields.setdefault(
        "capabilities",
        [
            Capability(technique="tap", schema=1, raw=True, families=1),
            Capability(
                technique="traceroute",
                schema=TECHNIQUES["traceroute"].SCHEMA,
                raw=True,
                families=1,
            ),
        ],
    )
    return Hello(id=agent_id, software="scripted", **fields)


def client_hello(client_id: str = "c1", **fields: Any) -> Hello:
    fields.setdefault("protocol_min", 1)
    fields.setdefault("protocol_max", 1)
    fields.setdefault("role", ROLE_MANAGER)
    return Hello(id=client_id, software="scripted", boot_id=b"c" * 16, **fields)


def keepalive_agent(sequence: int = 1) -> FromAgent:
    return FromAgent(keepalive=Keepalive(sequence=sequence))


def keepalive_client(sequence: int = 1) -> FromClient:
    return FromClient(keepalive=Keepalive(sequence=sequence))
