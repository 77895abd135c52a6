"""A technique that is a plan, carried out: its children measured, its results kept as any others.

The parent has no rounds of its own. It ends when its results are on the disk, or when it is
cancelled: then the child that is running is taken back first.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs
from twisted.internet.defer import CancelledError

from emodis.master.children import Children
from emodis.master.clocks import NS, Clocks
from emodis.master.delivery import Delivery, Kept
from emodis.master.keys import Pair
from emodis.master.ledger import Ledger
from emodis.master.measurement import Measurement
from emodis.master.owners import Owners
from emodis.master.plans import drive
from emodis.master.selection import Chosen
from emodis.master.tally import Tally
from emodis.master.verdicts import CANCELLED
from emodis.scheduling.model import AgentId, MeasurementId, RunKey
from emodis.techniques.base import Measured, Planned, Scene, Stored, Vantage, result_pairs
from emodis.wire.v1.common_pb2 import (
    BLAME_US,
    END_FAILED,
    Body,
    Ending,
    Outcome,
)

_NOT_SAID = Ending(
    end=END_FAILED,
    reason="no_result",
    hint="the plan came to no result for this one",
    blame=BLAME_US,
)


@attrs.define(eq=False, kw_only=True)
class Planning:
    """Carries plans out."""

    clocks: Clocks
    ledger: Ledger
    owners: Owners
    children: Children
    delivery: Delivery

    async def carry_out(self, measurement: Measurement, plan: Planned, chosen: Chosen) -> None:
        """From the chosen agents to results on their way to the disk."""
        pairs = chosen.runs(len(measurement.targets))
        measurement.begin((AgentId(a), d) for a, d in result_pairs(plan, frozenset(pairs)))
        tally = Tally(begun_unix_ns=self.clocks.unix_ns())
        try:
            scene = await self._scene(measurement, plan, chosen, pairs)
            found = await drive(
                plan.plan(measurement.call, scene),
                tally.counting(lambda child: self.children.run(measurement, child)),
            )
        except CancelledError:
            self._cut_off(measurement, tally)
            return
        self._conclude(measurement, found, tally)

    async def _scene(
        self, measurement: Measurement, plan: Planned, chosen: Chosen, pairs: frozenset[Pair]
    ) -> Scene:
        return Scene(
            targets=measurement.targets,
            agents=tuple(
                Vantage(id=member.id, place=member.hello.place, asn=member.asn)
                for member in chosen.members
            ),
            pairs=frozenset(pairs),
            policy=measurement.request.schedule.policy or plan.POLICY,
            now_unix_ns=self.clocks.unix_ns(),
            known={
                technique: await self._known(technique, age_s, measurement)
                for technique, age_s in plan.reuses(measurement.call).items()
            },
            owner=self.owners.asn_of if self.owners.map is not None else None,
            is_exchange=self.owners.is_exchange,
        )

    async def _known(
        self, technique: str, age_s: float, measurement: Measurement
    ) -> Mapping[tuple[str, int], Stored]:
        """The newest results of every agent to these targets, whoever asked for them."""
        since_unix_ns = self.clocks.unix_ns() - round(age_s * NS)
        found: dict[tuple[str, int], Stored] = {}
        for index, target in enumerate(measurement.targets):
            for result in await self.ledger.results_towards(
                technique, target.address, since_unix_ns=since_unix_ns
            ):
                outcome = result.outcome
                found[result.run.agent_id, index] = Stored(
                    body=outcome.result, started_unix_ns=outcome.started_unix_ns
                )
        return found

    def _conclude(
        self, measurement: Measurement, found: Mapping[tuple[str, int], Measured], tally: Tally
    ) -> None:
        for pair in sorted(measurement.open):
            outcome = tally.outcome(pair)
            measured = found.get(pair)
            if measured is None:
                outcome.ending.CopyFrom(_NOT_SAID)
            else:
                _fill(outcome, measured, measurement)
            self._keep(measurement, pair, outcome)
        self._over(measurement)

    def _cut_off(self, measurement: Measurement, tally: Tally) -> None:
        verdict = measurement.verdict or CANCELLED
        for pair in sorted(measurement.open):
            outcome = tally.outcome(pair)
            outcome.ending.CopyFrom(
                Ending(end=verdict.end, reason=verdict.reason, hint=verdict.text)
            )
            self._keep(measurement, pair, outcome)
        self._over(measurement)

    def _keep(self, measurement: Measurement, pair: Pair, outcome: Outcome) -> None:
        agent, destination = pair
        run = RunKey(
            measurement=MeasurementId(measurement.id),
            round=0,
            agent=agent,
            destination=destination,
            attempt=0,
        )
        measurement.settle(pair, outcome)
        measurement.charge(outcome.cost)
        self.delivery.keep(
            Kept(run=run, outcome=outcome, late=False, owed=False, measurement=measurement)
        )

    def _over(self, measurement: Measurement) -> None:
        measurement.rounds_over = True
        self.delivery.settled(measurement)


def _fill(outcome: Outcome, measured: Measured, measurement: Measurement) -> None:
    outcome.ending.CopyFrom(measured.ending)
    outcome.quality.CopyFrom(measured.quality)
    outcome.observations = measured.observations.SerializeToString()
    if measured.result is not None:
        technique = measurement.technique
        outcome.result.CopyFrom(
            Body(
                technique=technique.NAME,
                schema=technique.SCHEMA,
                body=measured.result.SerializeToString(),
            )
        )
