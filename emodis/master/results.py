"""What became of runs, in this order: committed, acknowledged to the agent, relayed to the client.

All that one commit of the store brings is handled together, so an agent gets one Ack for it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import attrs
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from emodis.master.clock_driver import ClockDriver
from emodis.master.clocks import Clocks
from emodis.master.keys import from_wire, to_wire
from emodis.master.ledger import Ledger
from emodis.master.measurement import Measurement
from emodis.master.membership import Member, Membership
from emodis.master.owners import Owners
from emodis.scheduling.model import AgentId, End, RunKey, Why
from emodis.wire.complaints import Complaints
from emodis.wire.v1 import common_pb2
from emodis.wire.v1.agent_pb2 import Ack, RunResult, ToAgent
from emodis.wire.v1.client_pb2 import Result
from emodis.wire.v1.common_pb2 import (
    BLAME_AGENT,
    BLAME_UNSPECIFIED,
    END_CANCELLED,
    END_EXPIRED,
    END_LOST,
    Ending,
    Outcome,
)

# Far below the frame cap, whatever the ids look like.
RUNS_PER_ACK = 2000
# Of how many measurements that were given up it is remembered that nobody wants their payload.
DISCARDED = 10_000
_ENDS = {Why.LOST: END_LOST, Why.EXPIRED: END_EXPIRED, Why.CANCELLED: END_CANCELLED}
_HINTS = {
    Why.LOST: "the agent vanished and did not come back in time; ask again, or ask other agents",
    Why.EXPIRED: "the agent did not answer within the run's worst case; see its log",
    Why.CANCELLED: "it was cancelled before it ended",
}


@attrs.frozen(kw_only=True)
class Kept:
    """A run's end on its way to the disk, or there."""

    run: RunKey
    outcome: Outcome
    overlapped: tuple[common_pb2.RunKey, ...]
    late: bool
    # The agent waits for an Ack.
    owed: bool
    # Clients shall see it.
    relayed: bool
    measurement: Measurement | None


@attrs.define(eq=False, kw_only=True)
class Results:
    """From an agent's RunResult, or the scheduler's End, to the client's screen."""

    clocks: Clocks
    ledger: Ledger
    members: Membership
    live: dict[str, Measurement]
    owners: Owners
    driver: ClockDriver
    finish: Callable[[Measurement], None]
    log: Logger
    _complaints: Complaints = attrs.field(factory=Complaints, init=False)
    _committed: list[tuple[Kept, int | None]] = attrs.field(factory=list, init=False)
    _flushing: IDelayedCall | None = attrs.field(default=None, init=False)
    _discarded: OrderedDict[str, None] = attrs.field(factory=OrderedDict, init=False)

    def arrived(self, member: Member, message: RunResult) -> None:
        """An agent reports the end of a run; `member` has been checked to be that agent."""
        run = from_wire(message.run)
        measurement = self.live.get(run.measurement)
        outcome = message.outcome
        if measurement is None:
            self._keep(run, outcome, late=True, owed=True)
            return
        if run in measurement.received:
            # Sent again before our Ack came through: that Ack, or the next one, answers it too.
            self._keep(run, outcome, late=True, owed=True, relayed=False)
            return
        pair = (run.agent, run.destination)
        if pair not in measurement.started:
            self._never_given(member, run)
            return
        measurement.received.add(run)
        if pair not in measurement.open or measurement.started.get(pair) != run:
            measurement.charge(outcome.cost)
            # It may still confirm that nothing is being sent any more.
            overlapped = self._overlapped(run)
            self.driver.run_ended(run)
            self._keep(
                run, outcome, late=True, owed=True, measurement=measurement, overlapped=overlapped
            )
            return
        # It gave up because its session had ended: the pair keeps its second attempt.
        unfinished = pair in measurement.abandoned and outcome.ending.end == END_CANCELLED
        measurement.charge(outcome.cost)
        overlapped = self._overlapped(run)
        if not unfinished:
            measurement.settle(pair, outcome)
        self._keep(
            run,
            outcome,
            late=False,
            owed=True,
            relayed=not unfinished,
            measurement=measurement,
            overlapped=overlapped,
        )
        self.driver.run_ended(run, unfinished=unfinished)

    def ended_by_us(self, decision: End) -> None:
        """The scheduler gave a run up: a row in the ledger, and a line for the client."""
        measurement = self.live.get(decision.run.measurement)
        if measurement is None:
            return
        outcome = Outcome(ending=ending_of(decision, measurement))
        if measurement.settle((decision.run.agent, decision.run.destination), outcome):
            self._keep(decision.run, outcome, late=False, owed=False, measurement=measurement)

    def forget_payloads(self, measurement_id: str) -> None:
        """Nobody wants what still comes for this one; its ledger rows remain."""
        self._discarded[measurement_id] = None
        while len(self._discarded) > DISCARDED:
            self._discarded.popitem(last=False)

    def stop(self) -> None:
        """Hand over what is committed, now."""
        if self._flushing is not None and self._flushing.active():
            self._flushing.cancel()
            self._flush()

    def _never_given(self, member: Member, run: RunKey) -> None:
        """An invention: whoever reads the measurement must not meet it. Acknowledged, to end it."""
        for line in self._complaints.lines(
            self.clocks.now_s(), f"agent {member.id} reports a run that it was never given"
        ):
            self.log.warn("{line}", line=line)
        member.port.send(ToAgent(ack=Ack(runs=[to_wire(run)])))

    def _overlapped(self, run: RunKey) -> tuple[common_pb2.RunKey, ...]:
        return tuple(to_wire(other) for other in self.driver.overlapping(run))

    def _keep(
        self,
        run: RunKey,
        outcome: Outcome,
        *,
        late: bool,
        owed: bool,
        relayed: bool = True,
        measurement: Measurement | None = None,
        overlapped: tuple[common_pb2.RunKey, ...] = (),
    ) -> None:
        if run.measurement in self._discarded:
            outcome = ledger_only(outcome)
        kept = Kept(
            run=run,
            outcome=outcome,
            overlapped=overlapped,
            late=late,
            owed=owed,
            relayed=relayed,
            measurement=measurement,
        )
        if measurement is not None:
            measurement.saving += 1
        saving = self.ledger.save_run(to_wire(run), outcome, late=late, overlapped=overlapped)
        _ = saving.addCallbacks(
            self._saved, self._not_saved, callbackArgs=(kept,), errbackArgs=(kept,)
        )

    def _saved(self, cursor: int, kept: Kept) -> None:
        self._committed.append((kept, cursor))
        self._flush_soon()

    def _not_saved(self, failure: Failure, kept: Kept) -> None:
        """Not acknowledged: the agent keeps it, and sends it again after its next Welcome."""
        for line in self._complaints.lines(
            self.clocks.now_s(), f"a result could not be stored: {failure.getErrorMessage()}"
        ):
            self.log.error("{line}", line=line)
        if kept.measurement is not None:
            kept.measurement.unsaved += 1
        self._committed.append((kept, None))
        self._flush_soon()

    def _flush_soon(self) -> None:
        if self._flushing is None or not self._flushing.active():
            self._flushing = self.clocks.reactor.callLater(0, self._flush)

    def _flush(self) -> None:
        committed, self._committed = self._committed, []
        self._acknowledge([kept for kept, cursor in committed if cursor is not None])
        for kept, cursor in committed:
            if cursor is not None and kept.relayed:
                self._relay(kept, cursor)
        for measurement in self._release(committed):
            self.settled(measurement)

    def settled(self, measurement: Measurement) -> None:
        """End it if nothing of it is open or on its way to the disk."""
        if measurement.rounds_over and measurement.saving == 0:
            self.finish(measurement)

    def _acknowledge(self, committed: list[Kept]) -> None:
        owed: dict[AgentId, list[common_pb2.RunKey]] = {}
        for kept in committed:
            if kept.owed:
                owed.setdefault(kept.run.agent, []).append(to_wire(kept.run))
        for agent, runs in owed.items():
            member = self.members.get(agent)
            if member is None:
                continue
            for first in range(0, len(runs), RUNS_PER_ACK):
                member.port.send(ToAgent(ack=Ack(runs=runs[first : first + RUNS_PER_ACK])))

    def _relay(self, kept: Kept, cursor: int) -> None:
        measurement = kept.measurement
        if measurement is None or not measurement.watchers:
            return
        result = Result(
            cursor=cursor,
            run=to_wire(kept.run),
            outcome=kept.outcome,
            overlapped=kept.overlapped,
            late=kept.late,
        )
        self.owners.fill(result, measurement.technique, measurement.targets[kept.run.destination])
        for watcher in measurement.watchers:
            watcher.result(result)

    def _release(self, committed: list[tuple[Kept, int | None]]) -> list[Measurement]:
        touched: dict[str, Measurement] = {}
        for kept, _cursor in committed:
            if kept.measurement is not None:
                kept.measurement.saving -= 1
                touched[kept.measurement.id] = kept.measurement
        return list(touched.values())


def ending_of(decision: End, measurement: Measurement) -> Ending:
    """The scheduler's word in the ledger's terms; a verdict on the measurement says why."""
    verdict = measurement.verdict
    if decision.why is Why.CANCELLED and verdict is not None:
        return Ending(
            end=verdict.end, reason=verdict.reason, hint=verdict.text, blame=BLAME_UNSPECIFIED
        )
    return Ending(
        end=_ENDS[decision.why],
        reason=decision.reason,
        hint=_HINTS[decision.why],
        blame=BLAME_UNSPECIFIED if decision.why is Why.CANCELLED else BLAME_AGENT,
    )


def ledger_only(outcome: Outcome) -> Outcome:
    """End, reason, bytes and times; no payload."""
    return Outcome(
        ending=outcome.ending,
        started_unix_ns=outcome.started_unix_ns,
        duration_ns=outcome.duration_ns,
        cost=outcome.cost,
        transport=outcome.transport,
    )
