"""What became of runs: told by their agents, or decided by the scheduler."""

from __future__ import annotations

import attrs
from twisted.logger import Logger

from emodis.master.clock_driver import ClockDriver
from emodis.master.clocks import Clocks
from emodis.master.delivery import Delivery, Kept
from emodis.master.keys import from_wire, to_wire
from emodis.master.measurement import Measurement
from emodis.master.membership import Member
from emodis.scheduling.model import End, RunKey, Why
from emodis.wire.complaints import Complaints
from emodis.wire.v1.agent_pb2 import Ack, RunResult, ToAgent
from emodis.wire.v1.common_pb2 import (
    BLAME_AGENT,
    BLAME_UNSPECIFIED,
    END_CANCELLED,
    END_EXPIRED,
    END_LOST,
    Ending,
    Outcome,
)

_ENDS = {Why.LOST: END_LOST, Why.EXPIRED: END_EXPIRED, Why.CANCELLED: END_CANCELLED}
_HINTS = {
    Why.LOST: "the agent vanished and did not come back in time; ask again, or ask other agents",
    Why.EXPIRED: "the agent did not answer within the run's worst case; see its log",
    Why.CANCELLED: "it was cancelled before it ended",
}


@attrs.define(eq=False, kw_only=True)
class Results:
    """Which end a report is: of an open pair, a late one, a repetition, an invention."""

    clocks: Clocks
    live: dict[str, Measurement]
    driver: ClockDriver
    delivery: Delivery
    log: Logger
    _complaints: Complaints = attrs.field(factory=Complaints, init=False)

    def arrived(self, member: Member, message: RunResult) -> None:
        """An agent reports the end of a run; `member` has been checked to be that agent."""
        run = from_wire(message.run)
        measurement = self.live.get(run.measurement)
        outcome = message.outcome
        if measurement is None:
            self.delivery.keep(Kept(run=run, outcome=outcome, late=True, owed=True))
            return
        if run in measurement.received:
            # Sent again before our Ack came through: that Ack, or the next one, answers it too.
            self.delivery.keep(Kept(run=run, outcome=outcome, late=True, owed=True, relayed=False))
            return
        pair = (run.agent, run.destination)
        if pair not in measurement.started:
            self._never_given(member, run)
            return
        measurement.received.add(run)
        measurement.charge(outcome.cost)
        late = pair not in measurement.open or measurement.started[pair] != run
        # It gave up because its session had ended: the pair keeps its second attempt.
        unfinished = (
            not late and pair in measurement.abandoned and outcome.ending.end == END_CANCELLED
        )
        if not late and not unfinished:
            measurement.settle(pair, outcome)
        self.delivery.keep(
            Kept(
                run=run,
                outcome=outcome,
                late=late,
                owed=True,
                relayed=not unfinished,
                measurement=measurement,
                overlapped=tuple(to_wire(other) for other in self.driver.overlapping(run)),
            )
        )
        # Also of a late one: it confirms that nothing is being sent any more.
        self.driver.run_ended(run, unfinished=unfinished)

    def ended_by_us(self, decision: End) -> None:
        """The scheduler gave a run up: a row in the ledger, and a line for the client."""
        measurement = self.live.get(decision.run.measurement)
        if measurement is None:
            return
        outcome = Outcome(ending=ending_of(decision, measurement))
        if measurement.settle((decision.run.agent, decision.run.destination), outcome):
            self.delivery.keep(
                Kept(
                    run=decision.run,
                    outcome=outcome,
                    late=False,
                    owed=False,
                    measurement=measurement,
                )
            )

    def settled(self, measurement: Measurement) -> None:
        """Its round is over."""
        self.delivery.settled(measurement)

    def _never_given(self, member: Member, run: RunKey) -> None:
        """An invention: whoever reads the measurement must not meet it. Acknowledged, to end it."""
        for line in self._complaints.lines(
            self.clocks.now_s(), f"agent {member.id} reports a run that it was never given"
        ):
            self.log.warn("{line}", line=line)
        member.port.send(ToAgent(ack=Ack(runs=[to_wire(run)])))


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
