"""Agents, destinations and rounds by their names, each for as long as anything concerns it."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

import attrs

from emodis.scheduling.model import (
    AgentId,
    DestinationKey,
    MeasurementId,
    RoundAdmitted,
    RunKey,
)
from emodis.scheduling.places import Agent, Destination
from emodis.scheduling.round import Round, rows_of


@attrs.define(eq=False)
class Register:
    """Nothing here decides anything."""

    _agents: dict[AgentId, Agent[Round]] = attrs.field(factory=dict, init=False)
    _destinations: dict[DestinationKey, Destination[Round]] = attrs.field(factory=dict, init=False)
    _rounds: dict[MeasurementId, dict[int, Round]] = attrs.field(factory=dict, init=False)
    # Rounds that ended with this event.
    _left: list[Round] = attrs.field(factory=list, init=False)
    _entered: int = attrs.field(default=0, init=False)

    def __len__(self) -> int:
        return len(self._agents) + len(self._destinations) + len(self._rounds)

    def agent(self, agent_id: AgentId) -> Agent[Round]:
        """The agent of this name; known from now on."""
        agent = self._agents.get(agent_id)
        if agent is None:
            agent = self._agents[agent_id] = Agent(agent_id)
        return agent

    def known_agent(self, agent_id: AgentId) -> Agent[Round] | None:
        return self._agents.get(agent_id)

    def rounds(self, measurement: MeasurementId) -> tuple[Round, ...]:
        return tuple(self._rounds.get(measurement, {}).values())

    def round_of(self, run: RunKey) -> Round | None:
        """The round under way that the run belongs to."""
        return self._rounds.get(run.measurement, {}).get(run.round)

    def enter(self, event: RoundAdmitted) -> Round:
        """Make the round, behind all of its priority, and let it be wanted by whom it names.

        Raises:
            ValueError: for a round that is under way already, or whose `pairs` do not fit it.
        """
        if event.round in self._rounds.get(event.measurement, {}):
            raise ValueError(f"round {event.round} of {event.measurement} is under way already")
        members = {agent: member for member, agent in enumerate(dict.fromkeys(event.agents))}
        rows = rows_of(event, members)
        self._entered += 1
        round_ = Round(
            event=event,
            rank=(-event.priority, self._entered),
            members=members,
            agents=tuple(self.agent(agent) for agent in members),
            destinations=tuple(self._destination(key) for key in event.destinations),
            rows=rows,
        )
        self._rounds.setdefault(event.measurement, {})[event.round] = round_
        for member, agent in enumerate(round_.agents):
            agent.join(round_, member)
        for index, destination in enumerate(round_.destinations):
            destination.join(round_, index)
        return round_

    def leave(self, round_: Round) -> None:
        """The round is over."""
        of_measurement = self._rounds[round_.event.measurement]
        del of_measurement[round_.event.round]
        if not of_measurement:
            del self._rounds[round_.event.measurement]
        for agent in round_.agents:
            agent.leave(round_)
        for destination in dict.fromkeys(round_.destinations):
            destination.leave(round_)
        self._left.append(round_)

    def forget(
        self, agents: Iterable[Agent[Round]], destinations: Iterable[Destination[Round]]
    ) -> None:
        """Let go of those among them, and of rounds that are over, that nothing concerns any more.

        Once an event is dealt with, not before: an agent that joins anew may be wanted by nobody
        for a moment in between.
        """
        left, self._left = self._left, []
        for agent in chain(agents, *(round_.agents for round_ in left)):
            if agent.forgettable:
                self._agents.pop(agent.id, None)
        for destination in chain(destinations, *(round_.destinations for round_ in left)):
            if destination.forgettable:
                self._destinations.pop(destination.key, None)

    def _destination(self, key: DestinationKey) -> Destination[Round]:
        destination = self._destinations.get(key)
        if destination is None:
            destination = self._destinations[key] = Destination(key)
        return destination
