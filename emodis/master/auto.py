"""AUTO: discovery's plan, and what it found as agents."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from emodis.master.estimate import estimate
from emodis.master.known_routes import TRACEROUTE, KnownRoutes
from emodis.master.membership import Member, Membership
from emodis.master.owners import Address
from emodis.master.plans import RunChild, drive
from emodis.master.selection import Chosen, can_do
from emodis.scheduling.model import AgentId
from emodis.techniques import registry
from emodis.techniques.base import Child, Plan
from emodis.techniques.discovery import (
    Candidate,
    Selection,
    children,
    discovery,
    usable,
)
from emodis.techniques.edge_routes import Owner
from emodis.wire.v1.client_pb2 import Auto
from emodis.wire.v1.common_pb2 import Target

MAX_AGENTS = 5
COVERAGE_RATIO = 0.95
AT_LEAST = 2


@attrs.frozen(kw_only=True, eq=False)
class AutoPlan:
    """Discovery for one request, ready to be carried out."""

    plan: Plan[Selection]
    # The longest that finding out may take on an idle system; 0 when all is known.
    bound_s: float

    @classmethod
    def make(
        cls,
        able: Sequence[Member],
        targets: Sequence[Target],
        known: KnownRoutes,
        *,
        families: frozenset[int],
        auto: Auto,
        min_agents: int,
        load: Callable[[AgentId], int],
        owner: Owner | None = None,
        is_exchange: Callable[[Address], bool] = lambda address: False,
    ) -> AutoPlan:
        """Choose among the agents that are able to do the technique itself."""
        most = auto.max_agents or max(MAX_AGENTS, min_agents)
        tracer = registry.get(TRACEROUTE)
        candidates = [
            Candidate(
                id=member.id,
                place=member.hello.place,
                asn=member.asn,
                load=load(member.id),
                can_trace=can_do(member, tracer, families),
            )
            for member in able
        ]
        borrowed = usable(candidates, targets, known.borrowed, owner=owner, is_exchange=is_exchange)
        plan = discovery(
            candidates,
            targets,
            known=known.own,
            borrowed=borrowed,
            max_agents=most,
            coverage_ratio=auto.coverage_ratio or COVERAGE_RATIO,
            at_least=min(max(AT_LEAST, min_agents), most),
            owner=owner,
            is_exchange=is_exchange,
        )
        asked = children(candidates, len(targets), known.own, borrowed)
        bound_s = sum(_bound_s(child) for child in asked)
        return cls(plan=plan, bound_s=bound_s)

    async def choose(self, run_child: RunChild) -> Selection:
        """Do what must be done, and say who it shall be."""
        return await drive(self.plan, run_child)


def _bound_s(child: Child) -> float:
    pairs = [
        (AgentId(agent), destination)
        for agent in child.agents
        for destination in child.destinations
    ]
    worst = registry.get(child.call.technique).worst_case(child.call)
    return estimate(pairs, worst).duration_s


def chosen_of(selection: Selection, members: Membership) -> Chosen:
    """The chosen agents that are still here."""
    here = [
        (member, choice)
        for choice in selection.choices
        if (member := members.get(AgentId(choice.agent_id))) is not None
    ]
    return Chosen(
        members=tuple(member for member, _ in here),
        why=tuple(choice.why for _, choice in here),
        new_branches={member.id: tuple(choice.new_branches) for member, choice in here},
        uncovered=selection.uncovered,
        branches_known=selection.branches_known,
        branches_covered=selection.branches_covered,
    )
