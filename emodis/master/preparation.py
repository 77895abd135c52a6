"""From a request to what can be served: may it run, where to, who could do it.

The agents are looked at after the last wait for anything else, so that they are those of now.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from emodis.master.admission import Admitted, admit, too_many
from emodis.master.auto import AutoPlan
from emodis.master.clocks import Clocks
from emodis.master.config import Limits
from emodis.master.known_routes import known_routes
from emodis.master.ledger import Ledger
from emodis.master.measurement import Measurement
from emodis.master.membership import Membership
from emodis.master.owners import Owners
from emodis.master.selection import (
    Chosen,
    by_names,
    eligible,
    enough,
    everybody,
    least_loaded,
    no_agent,
)
from emodis.master.targets import Resolve, families_of, resolve_targets
from emodis.scheduling.model import AgentId
from emodis.techniques.base import Technique, is_plan
from emodis.wire.v1.client_pb2 import Refused, Request
from emodis.wire.v1.common_pb2 import CODE_FULL, Role, Target

FULL_RETRY_AFTER_S = 10.0


@attrs.frozen(kw_only=True)
class Prepared:
    """A request that can be served: what, where to, by whom (AUTO has yet to find out)."""

    admitted: Admitted
    targets: tuple[Target, ...]
    who: Chosen | AutoPlan


@attrs.define(eq=False, kw_only=True)
class Preparer:
    """Asks everybody who has a say before a request becomes a measurement."""

    clocks: Clocks
    ledger: Ledger
    members: Membership
    live: dict[str, Measurement]
    limits: Limits
    resolve: Resolve
    find: Callable[[str], Technique | None]
    load: Callable[[AgentId], int]
    random: Callable[[], float]
    owners: Owners

    async def prepare(
        self, peer_host: str, request: Request, *, role: Role.ValueType
    ) -> Prepared | Refused:
        """Admission, targets, agents; `peer_host` is the client as the master sees it."""
        if len(self.live) >= self.limits.measurements:
            return _full(f"{len(self.live)} measurements are under way, which is the limit")
        admitted = admit(request, find=self.find, limits=self.limits, role=role)
        if isinstance(admitted, Refused):
            return admitted
        targets = await resolve_targets(
            request.destinations,
            peer_host,
            family=request.family,
            resolve=self.resolve,
            clock=self.clocks.reactor,
        )
        if isinstance(targets, Refused):
            return targets
        if request.agents.WhichOneof("how") in {None, "auto"}:
            return await self._prepare_auto(request, admitted, targets)
        chosen = self._choose(request, admitted, targets)
        if isinstance(chosen, Refused):
            return chosen
        refused = enough(chosen.members, request.min_agents) or too_many(
            chosen.runs_total(len(targets)), self.limits
        )
        return refused or Prepared(admitted=admitted, targets=targets, who=chosen)

    def _choose(
        self, request: Request, admitted: Admitted, targets: tuple[Target, ...]
    ) -> Chosen | Refused:
        """Explicit agents, ALL or ANY, from those who are here now."""
        families = families_of(targets)
        if request.agents.WhichOneof("how") == "ids":
            if not len(self.members):
                return no_agent("no agent is connected", "start one with `emodis-agent run`")
            ids = request.agents.ids.ids
            return by_names(ids, self.members, admitted.technique, families, admitted.kinds)
        able = eligible(self.members, admitted.technique, families, admitted.kinds)
        if isinstance(able, Refused):
            return able
        if request.agents.WhichOneof("how") == "all":
            return everybody(able)
        return least_loaded(able, len(targets), load=self.load, random=self.random)

    async def _prepare_auto(
        self, request: Request, admitted: Admitted, targets: tuple[Target, ...]
    ) -> Prepared | Refused:
        families = families_of(targets)
        able = eligible(self.members, admitted.technique, families, admitted.kinds)
        if isinstance(able, Refused):
            return able
        refused = enough(able, request.min_agents)
        if refused is not None:
            return refused
        owner = self.owners.asn_of if self.owners.map is not None else None
        known = await known_routes(
            self.ledger,
            targets,
            now_unix_ns=self.clocks.unix_ns(),
            agents=frozenset(member.id for member in able),
            owner=owner,
            # A plan is about the destination's own routes, and has its agents look.
            borrow=not is_plan(admitted.technique),
        )
        plan = AutoPlan.make(
            able,
            targets,
            known,
            families=families,
            auto=request.agents.auto,
            min_agents=request.min_agents,
            load=self.load,
            owner=owner,
            is_exchange=self.owners.is_exchange,
        )
        return Prepared(admitted=admitted, targets=targets, who=plan)


def _full(text: str) -> Refused:
    return Refused(
        code=CODE_FULL, text=text, hint="try again later", retry_after_s=FULL_RETRY_AFTER_S
    )
