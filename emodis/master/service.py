"""The one interface between sessions and everything else: plain messages in, plain messages out.

Sessions know this class through `AgentEvents` and `ClientEvents`, it knows them through
`AgentPort` and `ClientPort`; either side could live in another process (DESIGN.md 2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import attrs
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.defer import TimeoutError as TooLate
from twisted.logger import Logger
from twisted.python.failure import Failure

from emodis.master.aftermath import Doubt, hold_back
from emodis.master.assigner import Assigner
from emodis.master.client_session import ClientPort
from emodis.master.clock_driver import ClockDriver
from emodis.master.clocks import NS, Clocks
from emodis.master.config import Settings
from emodis.master.directory import Directory
from emodis.master.errands import Errands
from emodis.master.keys import from_wire
from emodis.master.ledger import Ledger
from emodis.master.measurement import Measurement, Verdict
from emodis.master.membership import AgentPort, Member, Membership
from emodis.master.owners import Owners
from emodis.master.preparation import Preparer
from emodis.master.queries import Queries, unknown
from emodis.master.requests import CANCELLED, Requests
from emodis.master.results import Results
from emodis.master.targets import Resolve
from emodis.scheduling.core import Scheduler
from emodis.techniques.base import Technique
from emodis.wire.v1 import common_pb2
from emodis.wire.v1.agent_pb2 import RunProgress, RunResult, RunStarted
from emodis.wire.v1.client_pb2 import (
    RUN_STATE_RUNNING,
    Cancel,
    Cancelled,
    GetResults,
    GetStatus,
    ListAgents,
    Request,
    RunState,
    ToClient,
)
from emodis.wire.v1.common_pb2 import CODE_FENCED, CODE_SHUTDOWN, END_CANCELLED, Hello

# A fenced daemon stays away for long: two with one identity must not fight.
FENCED_RETRY_AFTER_S = 300.0
# How long a shutdown waits for measurements to be written down.
DRAIN_S = 3.0
SHUTDOWN = Verdict(
    text="the master is shutting down",
    reason="shutdown",
    end=END_CANCELLED,
    code=CODE_SHUTDOWN,
)


@attrs.frozen(kw_only=True)
class Tools:
    """What the service is given instead of taking it from the world."""

    clocks: Clocks
    ledger: Ledger
    resolve: Resolve
    find: Callable[[str], Technique | None]
    new_id: Callable[[], str]
    random: Callable[[], float]
    random_bytes: Callable[[int], bytes]
    owners: Owners
    log: Logger
    loop_lag_s: Callable[[], float] = attrs.field(default=lambda: 0.0)


class Service:
    """AgentEvents and ClientEvents in; everything else of the master behind it."""

    def __init__(self, tools: Tools, settings: Settings) -> None:
        self._tools = tools
        self._log = tools.log
        self.members = Membership()
        self.live: dict[str, Measurement] = {}
        self.pressed = False
        self._clients: set[ClientPort] = set()
        self._errands = Errands(tools.log)
        assigner = self._assigner = Assigner(
            members=self.members, live=self.live, random_bytes=tools.random_bytes
        )
        scheduler = Scheduler(
            rtt_max_ns=round(settings.keepalive.rtt_max_s * NS),
            lease_ns=round(settings.lease_s * NS),
        )
        self._driver = ClockDriver(scheduler, tools.clocks, assigner)
        self._results = Results(
            clocks=tools.clocks,
            ledger=tools.ledger,
            members=self.members,
            live=self.live,
            owners=tools.owners,
            driver=self._driver,
            finish=lambda measurement: self._requests.finish(measurement),
            log=tools.log,
        )
        assigner.results = self._results
        self.directory = Directory(
            ledger=tools.ledger,
            members=self.members,
            owners=tools.owners,
            load=self._driver.load,
        )
        self._queries = Queries(
            clocks=tools.clocks,
            ledger=tools.ledger,
            members=self.members,
            live=self.live,
            owners=tools.owners,
            find=tools.find,
            clients_online=lambda: len(self._clients),
            loop_lag_s=tools.loop_lag_s,
            started_ns=tools.clocks.monotonic_ns(),
        )
        self._requests = Requests(
            clocks=tools.clocks,
            ledger=tools.ledger,
            members=self.members,
            live=self.live,
            driver=self._driver,
            assigner=assigner,
            results=self._results,
            queries=self._queries,
            errands=self._errands,
            preparer=Preparer(
                clocks=tools.clocks,
                ledger=tools.ledger,
                members=self.members,
                live=self.live,
                limits=settings.limits,
                resolve=tools.resolve,
                find=tools.find,
                load=self._driver.load,
                random=tools.random,
            ),
            find=tools.find,
            new_id=tools.new_id,
            log=tools.log,
        )
        tools.ledger.on_pressure = self._pressure

    # AgentEvents.

    def agent_joined(self, hello: Hello, port: AgentPort, peer_host: str) -> Member:
        rival = self.members.rival(hello)
        if rival is not None:
            self._fence(rival, hello)
        asn, as_name = self._tools.owners.of_agent(hello, peer_host)
        member = Member(
            hello=hello,
            port=port,
            peer_host=peer_host,
            asn=asn,
            as_name=as_name,
        )
        self.members.join(member)
        self._log.info(
            "agent {id} joined from {peer}: {software}, {techniques}",
            id=member.id,
            peer=peer_host,
            software=hello.software[:80],
            techniques=", ".join(sorted({c.technique for c in hello.capabilities}))[:200]
            or "no techniques",
        )
        if self.pressed:
            port.pause()
        self._remember(member)
        self._driver.joined(member.id)
        return member

    def agent_left(self, member: Member, reason: str) -> None:
        if self.members.leave(member):
            self._log.info("agent {id} lost: {reason}", id=member.id, reason=reason)
            self._remember(member)
            self._assigner.lost(member.id)
            self._driver.lost(member.id)

    def run_started(self, member: Member, started: RunStarted) -> None:
        self._progress(started.run, RUN_STATE_RUNNING, 0, 0)

    def run_progress(self, member: Member, progress: RunProgress) -> None:
        self._progress(progress.run, RUN_STATE_RUNNING, progress.done, progress.total)

    def run_result(self, member: Member, result: RunResult) -> None:
        self._results.arrived(member, result)

    # ClientEvents.

    def client_joined(self, port: ClientPort) -> None:
        self._clients.add(port)

    def client_left(self, port: ClientPort, reason: str) -> None:
        self._clients.discard(port)
        self._requests.client_left(port)

    def request(self, port: ClientPort, request: Request) -> None:
        self._requests.request(port, request)

    def cancel(self, port: ClientPort, cancel: Cancel) -> None:
        self._errands.run(port, cancel.call_id, self._cancel(port, cancel))

    def list_agents(self, port: ClientPort, wanted: ListAgents) -> None:
        self._errands.run(port, wanted.call_id, self.directory.answer(port, wanted))

    def get_status(self, port: ClientPort, wanted: GetStatus) -> None:
        self._errands.run(port, wanted.call_id, self._get_status(port, wanted))

    def get_results(self, port: ClientPort, wanted: GetResults) -> None:
        self._errands.run(port, wanted.call_id, self._queries.results(port, wanted))

    # For app.

    def hold_back(self, doubtful: Iterable[Doubt]) -> None:
        """These destinations may still be being probed for the master's last life."""
        hold_back(self._driver, doubtful)

    async def drain(self) -> None:
        """Cancel what goes on, wait until that is written down, stop the clock."""
        waiting = []
        for measurement in tuple(self.live.values()):
            done: Deferred[None] = Deferred()
            measurement.farewells.append(done)
            waiting.append(done)
            self._requests.cancel(measurement, SHUTDOWN)
        try:
            await DeferredList(waiting).addTimeout(DRAIN_S, self._tools.clocks.reactor)
        except TooLate:
            self._log.warn(
                "{count} measurements could not be ended in time; the next start closes them",
                count=len(self.live),
            )
        self._results.stop()
        self._driver.stop()

    def _fence(self, rival: Member, hello: Hello) -> None:
        same = rival.hello.boot_id == hello.boot_id
        text = (
            "a newer session of the same process took over"
            if same
            else "another process with this agent's id took over; do two run from one state "
            "directory, or from copies of it?"
        )
        self._log.warn("agent {id} is fenced: {text}", id=rival.id, text=text)
        rival.port.dismiss(CODE_FENCED, text, FENCED_RETRY_AFTER_S)

    def _progress(
        self, wire_run: common_pb2.RunKey, state: RunState.ValueType, done: int, total: int
    ) -> None:
        run = from_wire(wire_run)
        measurement = self.live.get(run.measurement)
        pair = (run.agent, run.destination)
        if measurement is None or pair not in measurement.open:
            return
        if measurement.started.get(pair) == run:
            measurement.progress(run, state, done=done, total=total)

    async def _cancel(self, port: ClientPort, cancel: Cancel) -> None:
        record = await self._tools.ledger.measurement(cancel.measurement_id)
        if record is None:
            port.send(ToClient(refused=unknown(cancel.call_id, cancel.measurement_id)))
            return
        port.send(ToClient(cancelled=Cancelled(call_id=cancel.call_id, measurement_id=record.id)))
        measurement = self.live.get(record.id)
        if measurement is not None:
            self._requests.cancel(measurement, CANCELLED)

    async def _get_status(self, port: ClientPort, wanted: GetStatus) -> None:
        port.send(await self._queries.status(wanted))

    def _pressure(self, pressed: bool) -> None:
        """The store is behind: read nothing more from agents until it has caught up."""
        self.pressed = pressed
        self._log.warn(
            "the store is behind, agents have to wait"
            if pressed
            else "the store has caught up, agents go on"
        )
        for member in self.members:
            if pressed:
                member.port.pause()
            else:
                member.port.resume()

    def _remember(self, member: Member) -> None:
        """That it was here, and when it last gave a sign of life."""
        saving = self._tools.ledger.save_agent(
            member.hello, asn=member.asn, seen_unix_ns=member.last_seen_unix_ns
        )
        _ = saving.addErrback(self._not_remembered, member)

    def _not_remembered(self, failure: Failure, member: Member) -> None:
        self._log.warn(
            "agent {id} is not remembered: {why}", id=member.id, why=failure.getErrorMessage()
        )
