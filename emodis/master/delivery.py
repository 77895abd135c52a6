"""Ended runs on their way, in this order: committed, acknowledged to the agent, relayed to clients.

All that one commit of the store brings is handled together, so an agent gets one Ack for it.
"""

from __future__ import annotations

import attrs
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from emodis.master.clocks import Clocks
from emodis.master.endings import Endings
from emodis.master.keys import to_wire
from emodis.master.ledger import Ledger
from emodis.master.measurement import Measurement
from emodis.master.membership import Membership
from emodis.master.owners import Owners
from emodis.scheduling.model import AgentId, RunKey
from emodis.wire.complaints import Complaints
from emodis.wire.v1 import common_pb2
from emodis.wire.v1.agent_pb2 import Ack, ToAgent
from emodis.wire.v1.client_pb2 import Result
from emodis.wire.v1.common_pb2 import Outcome

# Far below the frame cap, whatever the ids look like.
RUNS_PER_ACK = 2000


@attrs.frozen(kw_only=True)
class Kept:
    """A run's end on its way to the disk, or there."""

    run: RunKey
    outcome: Outcome
    late: bool
    # The agent waits for an Ack.
    owed: bool
    # Clients shall see it.
    relayed: bool = True
    measurement: Measurement | None = None
    overlapped: tuple[common_pb2.RunKey, ...] = ()


@attrs.define(eq=False, kw_only=True)
class Delivery:
    """From the end of a run to the client's screen; ends a measurement when its last one is out."""

    clocks: Clocks
    ledger: Ledger
    members: Membership
    owners: Owners
    endings: Endings
    log: Logger
    _complaints: Complaints = attrs.field(factory=Complaints, init=False)
    _committed: list[tuple[Kept, int | None]] = attrs.field(factory=list, init=False)
    _flushing: IDelayedCall | None = attrs.field(default=None, init=False)

    def keep(self, kept: Kept) -> None:
        """Write it down; the rest follows from that."""
        if self.endings.is_unwanted(kept.run.measurement):
            kept = attrs.evolve(kept, outcome=ledger_only(kept.outcome))
        if kept.measurement is not None:
            kept.measurement.saving += 1
        saving = self.ledger.save_run(
            to_wire(kept.run), kept.outcome, late=kept.late, overlapped=kept.overlapped
        )
        _ = saving.addCallbacks(
            self._saved, self._not_saved, callbackArgs=(kept,), errbackArgs=(kept,)
        )

    def settled(self, measurement: Measurement) -> None:
        """End it if nothing of it is open or on its way to the disk."""
        if measurement.rounds_over and measurement.saving == 0:
            self.endings.finish(measurement)

    def stop(self) -> None:
        """Hand over what is committed, now."""
        if self._flushing is not None and self._flushing.active():
            self._flushing.cancel()
            self._flush()

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


def ledger_only(outcome: Outcome) -> Outcome:
    """End, reason, bytes and times; no payload."""
    return Outcome(
        ending=outcome.ending,
        started_unix_ns=outcome.started_unix_ns,
        duration_ns=outcome.duration_ns,
        cost=outcome.cost,
        transport=outcome.transport,
    )
