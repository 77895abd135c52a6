"""AUTO: discovery's plan, the light traceroutes it may skip, and what it found as agents."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import attrs

from emodis.master.clocks import NS
from emodis.master.estimate import estimate
from emodis.master.ledger import Ledger
from emodis.master.membership import Member, Membership
from emodis.master.plans import Drive, RunChild
from emodis.master.selection import Chosen
from emodis.scheduling.model import AgentId
from emodis.techniques.base import Technique
from emodis.techniques.discovery import Selection, discovery
from emodis.wire.v1.client_pb2 import Auto
from emodis.wire.v1.common_pb2 import Outcome, Target

TRACEROUTE = "traceroute"
# A route is taken from the store if it is not older.
CACHE_S = 24 * 3600.0
MAX_AGENTS = 5
COVERAGE_RATIO = 0.95
AT_LEAST = 2

KnownRoutes = Mapping[tuple[str, int], Outcome]


async def known_routes(
    ledger: Ledger, targets: Sequence[Target], *, now_unix_ns: int
) -> KnownRoutes:
    """Traceroutes to these targets that are still fresh, whoever asked for them."""
    since_unix_ns = now_unix_ns - round(CACHE_S * NS)
    found: dict[tuple[str, int], Outcome] = {}
    for index, target in enumerate(targets):
        for result in await ledger.results_towards(
            TRACEROUTE, target.address, since_unix_ns=since_unix_ns
        ):
            found[result.run.agent_id, index] = result.outcome
    return found


@attrs.define(eq=False)
class AutoPlan:
    """Discovery for one request, asked for its first child already."""

    _drive: Drive[Selection]
    _targets: int

    @classmethod
    def make(
        cls,
        able: Sequence[Member],
        targets: Sequence[Target],
        known: KnownRoutes,
        *,
        auto: Auto,
        min_agents: int,
    ) -> AutoPlan:
        """Choose among the agents that are able to do the technique itself."""
        at_least = max(AT_LEAST, min_agents)
        plan = discovery(
            [str(member.id) for member in able],
            targets,
            known=known,
            max_agents=max(auto.max_agents or MAX_AGENTS, at_least),
            coverage_ratio=auto.coverage_ratio or COVERAGE_RATIO,
            at_least=at_least,
        )
        return cls(Drive(plan), len(targets))

    def bound_s(self, find: Callable[[str], Technique | None]) -> float:
        """The longest that finding out may take; 0 when all is known."""
        child = self._drive.first
        technique = find(child.call.technique) if child is not None else None
        if child is None or technique is None:
            return 0.0
        pairs = [
            (AgentId(agent), destination)
            for agent in child.agents
            for destination in child.destinations
        ]
        return estimate(pairs, technique.worst_case(child.call)).duration_s

    async def choose(self, run_child: RunChild) -> Selection:
        """Do what must be done, and say who it shall be."""
        return await self._drive.finish(run_child)


def chosen_of(selection: Selection, members: Membership) -> Chosen:
    """The chosen agents that are still here."""
    here = [
        (member, choice.why)
        for choice in selection.choices
        if (member := members.get(AgentId(choice.agent_id))) is not None
    ]
    return Chosen(members=tuple(m for m, _ in here), why=tuple(why for _, why in here))
