"""A plan's children: measurements of their own, scheduled like any, told to nobody but the plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs
from twisted.internet.defer import CancelledError, Deferred

from emodis.master.admission import policy_of
from emodis.master.clocks import Clocks
from emodis.master.keys import Pair
from emodis.master.ledger import Ledger
from emodis.master.measurement import Measurement, Stage
from emodis.master.rounds import Rounds
from emodis.master.store.errors import StoreError
from emodis.master.verdicts import CANCELLED
from emodis.scheduling.model import AgentId
from emodis.techniques.base import Child, Technique
from emodis.wire.v1.client_pb2 import Request
from emodis.wire.v1.common_pb2 import Outcome


@attrs.define(eq=False, kw_only=True)
class Children:
    """Carries out what a parent's plan asks for."""

    clocks: Clocks
    ledger: Ledger
    live: dict[str, Measurement]
    rounds: Rounds
    find: Callable[[str], Technique | None]
    new_id: Callable[[], str]

    async def run(self, parent: Measurement, child: Child) -> Mapping[tuple[str, int], Outcome]:
        """What came of it, by the parent's destinations. Cancelled, it takes the child back."""
        measurement = self._create(parent, child)
        self.live[measurement.id] = measurement
        try:
            await self.ledger.save_measurement(measurement.record())
            self._begin(measurement, child)
            ended: Deferred[None] = Deferred()
            measurement.farewells.append(ended)
            await ended
        except StoreError:
            del self.live[measurement.id]
            raise
        except CancelledError:
            self._take_back(measurement, parent)
            raise
        return {
            (agent, child.destinations[index]): outcome
            for (agent, index), outcome in measurement.outcomes.items()
        }

    def _create(self, parent: Measurement, child: Child) -> Measurement:
        technique = self.find(child.call.technique)
        assert technique is not None
        return Measurement(
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

    def _begin(self, measurement: Measurement, child: Child) -> None:
        agents = tuple(AgentId(agent) for agent in child.agents)
        self.rounds.begin(
            measurement,
            _pairs(child),
            agents=agents,
            policy=policy_of(child.policy),
            restricted=child.pairs is not None,
        )

    def _take_back(self, measurement: Measurement, parent: Measurement) -> None:
        if measurement.stage is Stage.SELECTING:
            del self.live[measurement.id]
        else:
            self.rounds.cancel(measurement, parent.verdict or CANCELLED)


def _pairs(child: Child) -> frozenset[Pair]:
    """By the child's own destinations."""
    return frozenset(
        (AgentId(agent), index)
        for agent in child.agents
        for index, destination in enumerate(child.destinations)
        if child.pairs is None or (agent, destination) in child.pairs
    )
