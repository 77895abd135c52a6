"""A request's way through the master: admission, targets, agents, the round, the end.

One coroutine per request. What cancels it (the client left, ^C, the time limit, shutdown) goes
through `cancel`, which knows how far it has come.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from emodis.master.admission import policy_of, too_many
from emodis.master.assigner import Assigner
from emodis.master.auto import AutoPlan, chosen_of
from emodis.master.client_session import ClientPort
from emodis.master.clock_driver import ClockDriver
from emodis.master.clocks import Clocks
from emodis.master.errands import Errands
from emodis.master.estimate import estimate
from emodis.master.keys import Pair, lock_key
from emodis.master.ledger import Ledger
from emodis.master.measurement import Measurement, Stage, Verdict, Watcher
from emodis.master.membership import Membership
from emodis.master.preparation import Prepared, Preparer
from emodis.master.queries import Queries
from emodis.master.results import Results
from emodis.master.selection import (
    Chosen,
    enough,
)
from emodis.master.store.errors import StoreError
from emodis.master.store.records import MeasurementRecord
from emodis.master.words import counted
from emodis.scheduling.model import AgentId, Policy
from emodis.techniques.base import Child, Technique
from emodis.wire.v1.client_pb2 import Accepted, Refused, Request, Selected, ToClient
from emodis.wire.v1.common_pb2 import (
    CODE_FULL,
    END_CANCELLED,
    END_EXPIRED,
    Code,
    End,
    Outcome,
)

CLIENT_GONE = Verdict(
    text="its client left before it ended", reason="client_gone", end=END_CANCELLED, discard=True
)
CANCELLED = Verdict(text="cancelled on request", reason="cancelled", end=END_CANCELLED)


def timed_out(timeout_s: float) -> Verdict:
    """The requester's own limit."""
    return Verdict(
        text=f"the request's time limit of {timeout_s:g} s has passed",
        reason="request_timeout",
        end=END_EXPIRED,
    )


@attrs.define(eq=False, kw_only=True)
class Requests:
    """All requests of all clients."""

    clocks: Clocks
    ledger: Ledger
    members: Membership
    live: dict[str, Measurement]
    driver: ClockDriver
    assigner: Assigner
    results: Results
    queries: Queries
    errands: Errands
    preparer: Preparer
    find: Callable[[str], Technique | None]
    new_id: Callable[[], str]
    log: Logger
    # Requests on their way in, by client id and idempotency key, with those who wait for them.
    _admitting: dict[tuple[str, bytes], list[Deferred[None]]] = attrs.field(
        factory=dict, init=False
    )

    def request(self, port: ClientPort, request: Request) -> None:
        """Serve it; everything that goes wrong is told to the client."""
        self.errands.run(port, request.call_id, self._serve(port, request))

    def cancel(self, measurement: Measurement, verdict: Verdict) -> None:
        """End it before its time; what has come so far stays, unless the verdict says otherwise."""
        if measurement.verdict is not None or measurement.stage is Stage.ENDED:
            return
        measurement.verdict = verdict
        self.log.info("measurement {id}: {text}", id=measurement.id, text=verdict.text)
        if measurement.stage is Stage.SELECTING:
            if measurement.task is not None:
                measurement.task.cancel()
            return
        self.assigner.stop_clients_work(measurement)
        self.driver.cancelled(measurement.id)

    def client_left(self, port: ClientPort) -> None:
        """Its work is cancelled, unless it was detached."""
        self.errands.drop(port)
        for measurement in tuple(self.live.values()):
            measurement.drop_watcher(port)
            if measurement.owner is port:
                self.cancel(measurement, CLIENT_GONE)

    def finish(self, measurement: Measurement) -> None:
        """Nothing of it is open any more: write that down, then say so."""
        if measurement.stage is Stage.ENDED:
            return
        measurement.stage = Stage.ENDED
        if measurement.timer is not None and measurement.timer.active():
            measurement.timer.cancel()
        ending = Deferred.fromCoroutine(self._finish(measurement))
        _ = ending.addErrback(self._bug, f"ending {measurement.id}")

    # From the request to the measurement.

    async def _serve(self, port: ClientPort, request: Request) -> None:
        key = (port.name, request.idempotency)
        if request.idempotency:
            while key in self._admitting:
                waiting: Deferred[None] = Deferred()
                self._admitting[key].append(waiting)
                await waiting
            self._admitting[key] = []
        try:
            measurement, prepared = await self._admit(port, request)
        finally:
            for waiting in self._admitting.pop(key, []):
                waiting.callback(None)
        if measurement is None or prepared is None:
            return
        self._carry_on(measurement, prepared)

    async def _admit(
        self, port: ClientPort, request: Request
    ) -> tuple[Measurement, Prepared] | tuple[None, None]:
        """Everything up to Accepted, or its refusal."""
        if request.idempotency:
            known = await self.ledger.by_idempotency(port.name, request.idempotency)
            if known is not None:
                self._same_again(port, request, known)
                return None, None
        prepared = await self.preparer.prepare(port.peer_host, request)
        if isinstance(prepared, Refused):
            self._refuse(port, request, prepared)
            return None, None
        measurement = self._create(port, request, prepared)
        try:
            await self.ledger.save_measurement(self._record(measurement))
        except StoreError:
            del self.live[measurement.id]
            raise
        except CancelledError:
            # It may reach the disk all the same: then its end does, too.
            measurement.verdict = measurement.verdict or CLIENT_GONE
            self.finish(measurement)
            raise
        return measurement, prepared

    def _create(self, port: ClientPort, request: Request, prepared: Prepared) -> Measurement:
        measurement = Measurement(
            id=self.new_id(),
            client_id=port.name,
            call=prepared.admitted.call,
            technique=prepared.admitted.technique,
            targets=prepared.targets,
            request=request,
            budget_s=prepared.admitted.worst.duration_s,
            admitted_unix_ns=self.clocks.unix_ns(),
            owner=None if request.detach else port,
            watchers=[Watcher(port)],
        )
        self.live[measurement.id] = measurement
        return measurement

    # From the measurement to its end.

    def _carry_on(self, measurement: Measurement, prepared: Prepared) -> None:
        """Detach it from the client's pending requests: from here on `cancel` ends it."""
        request = measurement.request
        measurement.task = Deferred.fromCoroutine(self._select_and_begin(measurement, prepared))
        _ = measurement.task.addErrback(self._lost_its_way, measurement)
        if request.timeout_s and measurement.stage is not Stage.ENDED:
            measurement.timer = self.clocks.reactor.callLater(
                request.timeout_s, self.cancel, measurement, timed_out(request.timeout_s)
            )

    async def _select_and_begin(self, measurement: Measurement, prepared: Prepared) -> None:
        request = measurement.request
        measurement.tell(
            ToClient(
                accepted=Accepted(
                    call_id=request.call_id,
                    measurement_id=measurement.id,
                    targets=measurement.targets,
                    discovery_s=prepared.plan.bound_s if prepared.plan else 0.0,
                    call=measurement.call,
                )
            )
        )
        selected = Selected(measurement_id=measurement.id)
        chosen = prepared.chosen
        if chosen is None:
            assert prepared.plan is not None
            chosen = await self._discover(measurement, prepared.plan, selected)
            if chosen is None:
                return
        pairs = chosen.pairs or frozenset(
            (member.id, destination)
            for member in chosen.members
            for destination in range(len(measurement.targets))
        )
        spend = estimate(pairs, measurement.technique.expected(measurement.call))
        selected.agents.extend(chosen.choices())
        selected.runs_total = len(pairs)
        selected.estimate_s = spend.duration_s
        selected.estimate_bytes = spend.sent_bytes
        await self.ledger.save_selection(measurement.id, selected)
        measurement.selected = selected
        measurement.tell(ToClient(selected=selected))
        self.log.info(
            "measurement {id}: {technique}, {agents}, {runs}{dry}",
            id=measurement.id,
            technique=measurement.technique.NAME,
            agents=counted(len(chosen.members), "agent"),
            runs=counted(len(pairs), "run"),
            dry=" (dry run)" if request.dry_run else "",
        )
        if request.dry_run:
            self.finish(measurement)
            return
        self._begin(
            measurement,
            pairs,
            agents=tuple(member.id for member in chosen.members),
            policy=prepared.admitted.policy,
            restricted=chosen.pairs is not None,
        )

    def _begin(
        self,
        measurement: Measurement,
        pairs: frozenset[Pair],
        *,
        agents: tuple[AgentId, ...],
        policy: Policy,
        restricted: bool,
    ) -> None:
        measurement.begin(pairs)
        self.driver.admit(
            measurement.id,
            policy=policy,
            agents=agents,
            destinations=tuple(lock_key(target) for target in measurement.targets),
            worst_case_s=measurement.budget_s,
            exclusive=measurement.technique.EXCLUSIVE,
            pairs=pairs if restricted else None,
        )

    async def _discover(
        self, measurement: Measurement, plan: AutoPlan, selected: Selected
    ) -> Chosen | None:
        """AUTO: who covers the destination's branches. None: nobody can; the client was told."""
        found = await plan.choose(lambda child: self._run_child(measurement, child))
        chosen = chosen_of(found, self.members)
        refused = enough(chosen.members, measurement.request.min_agents) or too_many(
            len(chosen.members) * len(measurement.targets), self.preparer.limits
        )
        if refused is not None:
            self._give_up(measurement, refused.text, refused.code)
            return None
        selected.uncovered.extend(found.uncovered)
        selected.branches_known = found.branches_known
        selected.branches_covered = found.branches_covered
        return chosen

    async def _run_child(
        self, parent: Measurement, child: Child
    ) -> Mapping[tuple[str, int], Outcome]:
        """A child of a plan: a measurement of its own, scheduled like any."""
        technique = self.find(child.call.technique)
        assert technique is not None
        measurement = Measurement(
            id=self.new_id(),
            client_id=parent.client_id,
            call=child.call,
            technique=technique,
            targets=tuple(parent.targets[index] for index in child.destinations),
            request=Request(),
            budget_s=technique.worst_case(child.call).duration_s,
            admitted_unix_ns=self.clocks.unix_ns(),
            parent=parent,
        )
        self.live[measurement.id] = measurement
        try:
            await self.ledger.save_measurement(self._record(measurement))
            agents = tuple(AgentId(agent) for agent in child.agents)
            pairs = frozenset(
                (agent, index) for agent in agents for index in range(len(measurement.targets))
            )
            self._begin(
                measurement,
                pairs,
                agents=agents,
                policy=policy_of(child.policy),
                restricted=False,
            )
            ended: Deferred[None] = Deferred()
            measurement.farewells.append(ended)
            await ended
        except StoreError:
            del self.live[measurement.id]
            raise
        except CancelledError:
            self._cancel_child(measurement, parent)
            raise
        return {
            (agent, child.destinations[index]): outcome
            for (agent, index), outcome in measurement.outcomes.items()
        }

    def _cancel_child(self, child: Measurement, parent: Measurement) -> None:
        if child.stage is Stage.SELECTING:
            del self.live[child.id]
        else:
            self.cancel(child, parent.verdict or CANCELLED)

    def _give_up(self, measurement: Measurement, text: str, code: Code.ValueType) -> None:
        """It was accepted, and cannot be carried out after all."""
        if measurement.verdict is None:
            measurement.verdict = Verdict(
                text=text, reason="not_possible", end=END_CANCELLED, code=code
            )
        self.finish(measurement)

    def _lost_its_way(self, failure: Failure, measurement: Measurement) -> None:
        """The coroutine stopped before the scheduler had it: cancelled, or an error of ours."""
        if failure.check(CancelledError) is None:
            what = "the master's store fails" if failure.check(StoreError) else "internal error"
            if not failure.check(StoreError):
                self._bug(failure, f"measurement {measurement.id}")
            self._give_up(measurement, f"{what}: {failure.getErrorMessage()}", CODE_FULL)
        else:
            self.finish(measurement)

    async def _finish(self, measurement: Measurement) -> None:
        ended = measurement.ended()
        try:
            if measurement.verdict is not None and measurement.verdict.discard:
                self.results.forget_payloads(measurement.id)
                await self.ledger.discard_payloads(measurement.id)
            await self.ledger.end_measurement(
                measurement.id, ended, ended_unix_ns=self.clocks.unix_ns()
            )
        except StoreError as error:
            self.log.error("{line}", line=f"measurement {measurement.id}: {error}")  # noqa: TRY400 - one line
        self.log.info(
            "measurement {id}: ended, {counts}",
            id=measurement.id,
            counts=", ".join(
                f"{count.runs} {End.Name(count.end).removeprefix('END_').lower()}"
                for count in ended.counts
            )
            or "no runs",
        )
        if not measurement.request.dry_run or measurement.verdict is not None:
            measurement.tell(ToClient(ended=ended))
        del self.live[measurement.id]
        farewells, measurement.farewells = measurement.farewells, []
        for farewell in farewells:
            farewell.callback(None)

    # Small things.

    def _same_again(self, port: ClientPort, request: Request, known: MeasurementRecord) -> None:
        """The same request came twice: this client gets the measurement of the first."""
        measurement = self.live.get(known.id)
        if measurement is not None and measurement.owner is not None:
            measurement.owner = port
        port.send(
            ToClient(
                accepted=Accepted(
                    call_id=request.call_id,
                    measurement_id=known.id,
                    targets=known.targets,
                    call=known.call,
                )
            )
        )
        if known.selected is not None:
            port.send(ToClient(selected=known.selected))
        self.errands.run(
            port, request.call_id, self.queries.stream(known, Watcher(port), follow=True)
        )

    def _record(self, measurement: Measurement) -> MeasurementRecord:
        return MeasurementRecord(
            id=measurement.id,
            parent_id=measurement.parent_id,
            client_id=measurement.client_id,
            idempotency=measurement.request.idempotency,
            call=measurement.call,
            targets=measurement.targets,
            request=measurement.request,
            admitted_unix_ns=measurement.admitted_unix_ns,
        )

    def _refuse(self, port: ClientPort, request: Request, refused: Refused) -> None:
        refused.call_id = request.call_id
        self.log.info("refused a request of {who}: {text}", who=port.name, text=refused.text)
        port.send(ToClient(refused=refused))

    def _bug(self, failure: Failure, what: str) -> None:
        self.log.failure("{what}: internal error", what=what, failure=failure)
