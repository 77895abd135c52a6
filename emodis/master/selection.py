"""Who measures: agents by name, ALL, ANY, and who would be eligible for AUTO. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import attrs

from emodis.master.keys import Pair
from emodis.master.membership import Member
from emodis.master.words import counted
from emodis.scheduling.model import AgentId
from emodis.techniques.base import Technique, is_plan
from emodis.techniques.kinds import NOTHING, Kinds, lacking, words
from emodis.topology.families import IPV6
from emodis.wire.v1.client_pb2 import Choice, Refused
from emodis.wire.v1.common_pb2 import CODE_BAD_REQUEST, CODE_NO_AGENT

LIST_HINT = "`emodis-client agents` lists the agents that are here and what they can do"


@attrs.frozen(kw_only=True)
class Chosen:
    """The agents in the order in which they stand in the ring, and why each."""

    members: tuple[Member, ...]
    why: tuple[str, ...]
    # None: every agent measures every destination.
    pairs: frozenset[Pair] | None = None
    # AUTO: what is known about the routes, and what nobody chosen sees of it.
    uncovered: tuple[str, ...] = ()
    new_branches: Mapping[AgentId, tuple[str, ...]] = attrs.field(factory=dict)
    branches_known: int = 0
    branches_covered: int = 0

    def runs(self, destinations: int) -> frozenset[Pair]:
        """Who measures what, of so many destinations."""
        if self.pairs is not None:
            return self.pairs
        return frozenset((member.id, i) for member in self.members for i in range(destinations))

    def runs_total(self, destinations: int) -> int:
        """How many that are, before anybody lists them."""
        return len(self.members) * destinations if self.pairs is None else len(self.pairs)

    def choices(self) -> list[Choice]:
        """For a person."""
        return [
            Choice(
                agent_id=member.id,
                place=member.hello.place,
                asn=member.asn,
                why=why,
                new_branches=self.new_branches.get(member.id, ()),
            )
            for member, why in zip(self.members, self.why, strict=True)
        ]


def no_agent(text: str, hint: str = LIST_HINT) -> Refused:
    """Nobody can do it."""
    return Refused(code=CODE_NO_AGENT, text=text, hint=hint)


def can_do(
    member: Member, technique: Technique, families: frozenset[int], kinds: Kinds = NOTHING
) -> bool:
    """Whether this agent has the technique, at our schema, for these families, with what it needs.

    A plan's agents need the techniques that it is made of. `kinds` are the packets that the call
    needs sent.
    """
    if is_plan(technique):
        return all(can_do(member, needed, families, kinds) for needed in technique.NEEDS)
    for family in families:
        capability = member.capability(technique.NAME, technique.SCHEMA, family)
        if capability is None or (technique.NEEDS_RAW and not capability.raw):
            return False
        if lacking(capability.kinds, kinds):
            return False
    return True


def eligible(
    members: Iterable[Member],
    technique: Technique,
    families: frozenset[int],
    kinds: Kinds = NOTHING,
) -> tuple[Member, ...] | Refused:
    """Everybody who can do it; a refusal when that is nobody."""
    present = tuple(members)
    if not present:
        return no_agent("no agent is connected", "start one with `emodis-agent run`")
    able = tuple(member for member in present if can_do(member, technique, families, kinds))
    if not able and any(can_do(member, technique, families) for member in present):
        return no_agent(
            f"none of the connected agents that offer {_wanted(technique, families)} can send "
            f"what this needs: {words(kinds)}",
            _other_packets(technique),
        )
    if not able:
        return no_agent(
            f"none of the {len(present)} connected agents offers {_wanted(technique, families)}",
            _hint(families),
        )
    return able


def _wanted(technique: Technique, families: frozenset[int]) -> str:
    versions = " and ".join(f"IPv{family}" for family in sorted(families))
    return f"{technique.NAME} over {versions}"


def _other_packets(technique: Technique) -> str:
    """What to do when the kind of packets is in the way."""
    remedy = "ask an agent with raw sockets (root or CAP_NET_RAW; its `doctor` lists its packets)"
    if any(option.name == "proto" for option in technique.options()):
        return f"use another -o proto, or {remedy}"
    return remedy


def _hint(families: frozenset[int]) -> str:
    if IPV6 in families:
        return f"choose IPv4 destinations, without -6; {LIST_HINT}"
    return LIST_HINT


def enough(chosen: Sequence[Member], min_agents: int) -> Refused | None:
    """The requester's own lower bound."""
    if len(chosen) >= max(1, min_agents):
        return None
    return no_agent(
        f"{counted(len(chosen), 'matching agent')}, the request wants at least {min_agents}"
    )


def by_names(
    names: Sequence[str],
    members: Iterable[Member],
    technique: Technique,
    families: frozenset[int],
    kinds: Kinds = NOTHING,
) -> Chosen | Refused:
    """Ids, unique prefixes of ids, or addresses; each agent once, in the order asked."""
    present = {member.id: member for member in members}
    found: dict[AgentId, str] = {}
    for name in names:
        member = _named(name, present)
        if isinstance(member, Refused):
            return member
        if not can_do(member, technique, families):
            return no_agent(
                f"agent {member.id} does not offer {_wanted(technique, families)}", _hint(families)
            )
        if not can_do(member, technique, families, kinds):
            return no_agent(
                f"agent {member.id} cannot send what this needs: {words(kinds)}",
                _other_packets(technique),
            )
        found.setdefault(member.id, name)
    if not found:
        return Refused(
            code=CODE_BAD_REQUEST,
            text="the list of agents is empty",
            hint="name agents, or use ALL, ANY or AUTO",
        )
    return Chosen(
        members=tuple(present[agent] for agent in found), why=("named in the request",) * len(found)
    )


def _named(name: str, present: dict[AgentId, Member]) -> Member | Refused:
    exact = present.get(AgentId(name))
    if exact is not None:
        return exact
    if not name:
        return Refused(code=CODE_BAD_REQUEST, text="an agent's name is empty", hint=LIST_HINT)
    fitting = [member for agent, member in present.items() if agent.startswith(name)] or [
        member for member in present.values() if name in member.addresses
    ]
    if not fitting:
        return no_agent(f"no agent {name[:80]!r} is connected")
    if len(fitting) > 1:
        some = ", ".join(sorted(member.id for member in fitting)[:5])
        return Refused(
            code=CODE_BAD_REQUEST,
            text=f"{name!r} means more than one agent: {some}",
            hint="write more of the id",
        )
    return fitting[0]


def everybody(able: Sequence[Member]) -> Chosen:
    """ALL."""
    return Chosen(members=tuple(able), why=("all were asked for",) * len(able))


def least_loaded(
    able: Sequence[Member],
    destinations: int,
    *,
    load: Callable[[AgentId], int],
    random: Callable[[], float],
) -> Chosen:
    """ANY: one agent per destination, the least loaded then, ties at random."""
    burden = {member.id: load(member.id) for member in able}
    given: dict[AgentId, int] = {}
    pairs: set[Pair] = set()
    for destination in range(destinations):
        # A key drawn anew for each destination: no agent wins all ties.
        agent = min(burden, key=lambda agent: (burden[agent], random()))
        burden[agent] += 1
        given[agent] = given.get(agent, 0) + 1
        pairs.add((agent, destination))
    chosen = tuple(member for member in able if member.id in given)
    return Chosen(
        members=chosen,
        why=tuple(
            f"least loaded; takes {given[member.id]} of {destinations} destinations"
            if destinations > 1
            else "least loaded"
            for member in chosen
        ),
        pairs=frozenset(pairs),
    )
