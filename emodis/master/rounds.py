"""Gives measurements to the scheduler, and takes them back."""

from __future__ import annotations

import attrs
from twisted.logger import Logger

from emodis.master.assigner import Assigner
from emodis.master.clock_driver import ClockDriver
from emodis.master.keys import Pair, lock_key
from emodis.master.measurement import Measurement, Stage
from emodis.master.verdicts import Verdict
from emodis.scheduling.model import AgentId, Policy
from emodis.techniques.base import is_plan


@attrs.define(eq=False, kw_only=True)
class Rounds:
    """The one round that a measurement has in this version."""

    driver: ClockDriver
    assigner: Assigner
    log: Logger

    def begin(
        self,
        measurement: Measurement,
        pairs: frozenset[Pair],
        *,
        agents: tuple[AgentId, ...],
        policy: Policy,
        restricted: bool,
    ) -> None:
        """From now on the scheduler has it. `restricted`: not every agent to every destination."""
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

    def cancel(self, measurement: Measurement, verdict: Verdict) -> None:
        """End it before its time, however far it has come; the first verdict stands."""
        if measurement.verdict is not None or measurement.stage is Stage.ENDED:
            return
        measurement.verdict = verdict
        self.log.info("measurement {id}: {text}", id=measurement.id, text=verdict.text)
        if measurement.stage is Stage.SELECTING or is_plan(measurement.technique):
            # Its coroutine takes back what it has begun.
            if measurement.task is not None:
                measurement.task.cancel()
            return
        self.assigner.stop_clients_work(measurement)
        self.driver.cancelled(measurement.id)
