"""The one interface between sessions and everything else: plain messages in, plain messages out.

Sessions know this class through `AgentEvents` and `ClientEvents`, it knows them through
`AgentPort` and `ClientPort`; either side could live in another process (DESIGN.md 2).
"""

from __future__ import annotations

from collections.abc import Iterable

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.defer import TimeoutError as TooLate

from emodis.master.aftermath import Doubt, hold_back
from emodis.master.client_session import ClientPort
from emodis.master.config import Settings
from emodis.master.keys import from_wire
from emodis.master.measurement import Measurement
from emodis.master.membership import AgentPort, Member, Membership
from emodis.master.parts import State, Tools, assemble
from emodis.master.verdicts import SHUTDOWN
from emodis.wire.v1 import common_pb2
from emodis.wire.v1.agent_pb2 import RunProgress, RunResult, RunStarted
from emodis.wire.v1.client_pb2 import (
    RUN_STATE_RUNNING,
    Cancel,
    GetResults,
    GetStatus,
    ListAgents,
    Request,
)
from emodis.wire.v1.common_pb2 import Hello, Relay

# How long a shutdown waits for measurements to be written down.
DRAIN_S = 3.0


class Service:
    """AgentEvents and ClientEvents in; everything else of the master behind it."""

    def __init__(self, tools: Tools, settings: Settings) -> None:
        self._tools = tools
        self._state = State()
        self._parts = assemble(tools, settings, self._state)
        tools.ledger.on_pressure = self._parts.attendance.press

    @property
    def members(self) -> Membership:
        """The agents that are here."""
        return self._state.members

    @property
    def live(self) -> dict[str, Measurement]:
        """Measurements that have not ended, by id."""
        return self._state.live

    @property
    def pressed(self) -> bool:
        """Agents are not being read at present."""
        return self._parts.attendance.pressed

    # AgentEvents.

    def agent_joined(self, hello: Hello, port: AgentPort, peer_host: str) -> Member:
        return self._parts.attendance.joined(hello, port, peer_host)

    def agent_left(self, member: Member, reason: str) -> None:
        self._parts.attendance.left(member, reason)

    def run_started(self, member: Member, started: RunStarted) -> None:
        self._progress(started.run, 0, 0)

    def run_progress(self, member: Member, progress: RunProgress) -> None:
        self._progress(progress.run, progress.done, progress.total)

    def run_result(self, member: Member, result: RunResult) -> None:
        self._parts.results.arrived(member, result)

    def relayed_by_agent(self, member: Member, relay: Relay) -> None:
        self._parts.relays.from_agent(member, relay)

    # ClientEvents.

    def client_joined(self, port: ClientPort) -> None:
        self._state.clients.add(port)

    def client_left(self, port: ClientPort, reason: str) -> None:
        self._state.clients.discard(port)
        self._parts.requests.client_left(port)

    def request(self, port: ClientPort, request: Request) -> None:
        self._parts.errands.run(port, request.call_id, self._parts.requests.serve(port, request))

    def cancel(self, port: ClientPort, cancel: Cancel) -> None:
        self._parts.errands.run(port, cancel.call_id, self._parts.requests.cancel(port, cancel))

    def list_agents(self, port: ClientPort, wanted: ListAgents) -> None:
        self._parts.errands.run(port, wanted.call_id, self._parts.directory.answer(port, wanted))

    def get_status(self, port: ClientPort, wanted: GetStatus) -> None:
        self._parts.errands.run(port, wanted.call_id, self._parts.status.answer(port, wanted))

    def get_results(self, port: ClientPort, wanted: GetResults) -> None:
        self._parts.errands.run(port, wanted.call_id, self._parts.replay.answer(port, wanted))

    def relayed_by_client(self, port: ClientPort, relay: Relay) -> None:
        self._parts.relays.from_client(port, relay)

    # For app.

    def hold_back(self, doubtful: Iterable[Doubt]) -> None:
        """These destinations may still be being probed for the master's last life."""
        hold_back(self._parts.driver, doubtful)

    async def drain(self) -> None:
        """Cancel what goes on, wait until that is written down, stop the clock."""
        waiting = []
        for measurement in tuple(self.live.values()):
            done: Deferred[None] = Deferred()
            measurement.farewells.append(done)
            waiting.append(done)
            self._parts.rounds.cancel(measurement, SHUTDOWN)
        try:
            await DeferredList(waiting).addTimeout(DRAIN_S, self._tools.clocks.reactor)
        except TooLate:
            self._tools.log.warn(
                "{count} measurements could not be ended in time; the next start closes them",
                count=len(self.live),
            )
        self._parts.delivery.stop()
        self._parts.driver.stop()

    def _progress(self, wire_run: common_pb2.RunKey, done: int, total: int) -> None:
        run = from_wire(wire_run)
        measurement = self.live.get(run.measurement)
        pair = (run.agent, run.destination)
        if measurement is None or pair not in measurement.open:
            return
        if measurement.started.get(pair) == run:
            measurement.progress(run, RUN_STATE_RUNNING, done=done, total=total)
