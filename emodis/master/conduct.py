"""What happens to a measurement from Accepted on: discovery, the estimate, the round.

One coroutine for each, from which the scheduler takes over. What cancels it (the client left, ^C,
the time limit, shutdown) goes through `Rounds.cancel`, which knows how far it has come.
"""

from __future__ import annotations

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from emodis.master.admission import too_many
from emodis.master.auto import AutoPlan, chosen_of
from emodis.master.children import Children
from emodis.master.clocks import Clocks
from emodis.master.config import Limits
from emodis.master.endings import Endings
from emodis.master.estimate import estimate
from emodis.master.keys import Pair
from emodis.master.ledger import Ledger
from emodis.master.measurement import Measurement, Stage
from emodis.master.membership import Membership
from emodis.master.planning import Planning
from emodis.master.preparation import Prepared
from emodis.master.rounds import Rounds
from emodis.master.selection import Chosen, enough
from emodis.master.store.errors import StoreError
from emodis.master.verdicts import Verdict, not_possible, timed_out
from emodis.master.words import counted
from emodis.techniques.base import is_plan, result_pairs
from emodis.wire.v1.client_pb2 import Accepted, Refused, Selected, ToClient
from emodis.wire.v1.common_pb2 import CODE_FULL


@attrs.define(eq=False, kw_only=True)
class Conductor:
    """Leads accepted measurements to their round."""

    clocks: Clocks
    ledger: Ledger
    members: Membership
    limits: Limits
    rounds: Rounds
    children: Children
    planning: Planning
    endings: Endings
    log: Logger

    def carry_on(self, measurement: Measurement, prepared: Prepared) -> None:
        """No pending request of its client any more: from here on `Rounds.cancel` ends it."""
        measurement.task = Deferred.fromCoroutine(self._conduct(measurement, prepared))
        _ = measurement.task.addErrback(self._lost_its_way, measurement)
        timeout_s = measurement.request.timeout_s
        if timeout_s and measurement.stage is not Stage.ENDED:
            measurement.timer = self.clocks.reactor.callLater(
                timeout_s, self.rounds.cancel, measurement, timed_out(timeout_s)
            )

    async def _conduct(self, measurement: Measurement, prepared: Prepared) -> None:
        measurement.tell(ToClient(accepted=_accepted(measurement, prepared)))
        chosen = prepared.who
        if isinstance(chosen, AutoPlan):
            found = await self._discover(measurement, chosen)
            if isinstance(found, Refused):
                self._give_up(measurement, not_possible(found.text, found.code))
                return
            chosen = found
        pairs = chosen.runs(len(measurement.targets))
        selected = _selected(measurement, chosen, pairs)
        await self.ledger.save_selection(measurement.id, selected)
        measurement.tell(ToClient(selected=selected))
        self._note(measurement, chosen, pairs)
        if measurement.request.dry_run:
            self.endings.finish(measurement)
            return
        if is_plan(measurement.technique):
            await self.planning.carry_out(measurement, measurement.technique, chosen)
            return
        self.rounds.begin(
            measurement,
            pairs,
            agents=tuple(member.id for member in chosen.members),
            policy=prepared.admitted.policy,
            restricted=chosen.pairs is not None,
        )

    async def _discover(self, measurement: Measurement, plan: AutoPlan) -> Chosen | Refused:
        """AUTO: who covers the destination's branches, of those who are still here."""
        found = await plan.choose(lambda child: self.children.run(measurement, child))
        chosen = chosen_of(found, self.members)
        return (
            enough(chosen.members, measurement.request.min_agents)
            or too_many(chosen.runs_total(len(measurement.targets)), self.limits)
            or chosen
        )

    def _note(self, measurement: Measurement, chosen: Chosen, pairs: frozenset[Pair]) -> None:
        self.log.info(
            "measurement {id}: {technique}, {agents}, {runs}{dry}",
            id=measurement.id,
            technique=measurement.technique.NAME,
            agents=counted(len(chosen.members), "agent"),
            runs=counted(len(pairs), "run"),
            dry=" (dry run)" if measurement.request.dry_run else "",
        )

    def _give_up(self, measurement: Measurement, verdict: Verdict) -> None:
        measurement.verdict = measurement.verdict or verdict
        self.endings.finish(measurement)

    def _lost_its_way(self, failure: Failure, measurement: Measurement) -> None:
        """The coroutine stopped before the scheduler had it: cancelled, or an error of ours."""
        if failure.check(CancelledError) is not None:
            self.endings.finish(measurement)
            return
        what = "the master's store fails"
        if failure.check(StoreError) is None:
            what = "internal error"
            self.log.failure(
                "measurement {id}: {what}", id=measurement.id, what=what, failure=failure
            )
        text = f"{what}: {failure.getErrorMessage()}"
        self._give_up(measurement, not_possible(text, CODE_FULL))


def _accepted(measurement: Measurement, prepared: Prepared) -> Accepted:
    return Accepted(
        call_id=measurement.request.call_id,
        measurement_id=measurement.id,
        targets=measurement.targets,
        discovery_s=prepared.who.bound_s if isinstance(prepared.who, AutoPlan) else 0.0,
        call=measurement.call,
    )


def _selected(measurement: Measurement, chosen: Chosen, pairs: frozenset[Pair]) -> Selected:
    spend = estimate(pairs, measurement.technique.expected(measurement.call))
    return Selected(
        measurement_id=measurement.id,
        agents=chosen.choices(),
        runs_total=len(result_pairs(measurement.technique, frozenset(pairs))),
        estimate_s=spend.duration_s,
        estimate_bytes=spend.sent_bytes,
        uncovered=chosen.uncovered,
        branches_known=chosen.branches_known,
        branches_covered=chosen.branches_covered,
    )
