"""The side of a plan that only this host can measure: the ways out of it, towards landmarks.

The master is asked where its agents are, if nobody named landmarks, and for nothing else: what
this host finds stays here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address

import attrs

from emodis.client import service
from emodis.client.desk import Desk, Prober
from emodis.client.exits import Exit, Trouble
from emodis.client.finish import Way
from emodis.client.report import Report
from emodis.client.request import Wishes
from emodis.client.upstream import Upstream, targets_of
from emodis.packets.model import Address
from emodis.techniques import registry
from emodis.techniques.base import (
    Answer,
    Child,
    Measured,
    Outward,
    Pair,
    Scene,
    Technique,
    Vantage,
    is_outward,
)
from emodis.topology import special
from emodis.topology.families import pick
from emodis.wire.v1.client_pb2 import AgentEntry, Choice, Selected, ToClient
from emodis.wire.v1.common_pb2 import Body, Cost, Outcome, RunKey, Target

# What `-o direction` is called where the user says `--direction`, or measures without a master.
_NAMES = {"upstream": "source", "both": "both"}
HERE = "this host"


def directed(technique: Technique, options: Mapping[str, str], direction: str) -> Mapping[str, str]:
    """The technique's options with its direction made the command's, where it has one.

    Raises:
        Trouble: (usage) if the two contradict each other.
    """
    wanted = _NAMES.get(direction)
    if not is_outward(technique) or wanted is None:
        return options
    said = options.get("direction", wanted)
    if said != wanted:
        raise Trouble(
            f"-o direction={said} needs agents and this does not ask any: "
            f"use `request --tech {technique.NAME} -o direction={said}`",
            Exit.USAGE,
        )
    return {**options, "direction": wanted}


def direction_of(technique: Technique, call: Body, direction: str) -> str:
    """Who has to measure: `downstream`, `upstream` or `both`."""
    if not is_outward(technique):
        return direction
    sides = technique.sides(call)
    if sides.here and sides.there:
        return "both"
    return "upstream" if sides.here else "downstream"


@attrs.frozen(kw_only=True)
class Landmarks:
    """Where to look: targets by the names of the vantage points that they are."""

    targets: tuple[Target, ...]
    vantages: tuple[Vantage, ...] = ()

    @classmethod
    def named(cls, targets: Iterable[Target]) -> Landmarks:
        """Those that the user named, each once."""
        return cls(targets=tuple({target.name: target for target in targets}.values()))

    @classmethod
    def of_agents(cls, agents: Iterable[AgentEntry], family: int) -> Landmarks:
        """Those agents that are here and say where, at an address that may be probed."""
        found = {agent.id: place for agent in agents if (place := _place(agent, family))}
        known = {agent.id: agent for agent in agents}
        return cls(
            targets=tuple(Target(address=a.packed, name=name) for name, a in found.items()),
            vantages=tuple(
                Vantage(id=name, place=known[name].place, asn=known[name].asn) for name in found
            ),
        )

    def without(self, address: Address) -> Landmarks:
        """There is no way out to oneself."""
        targets = tuple(one for one in self.targets if one.address != address.packed)
        names = {one.name for one in targets}
        return attrs.evolve(
            self,
            targets=targets,
            vantages=tuple(one for one in self.vantages if one.id in names),
        )


async def places(desk: Desk, wishes: Wishes, direction: str) -> Landmarks | Report:
    """The landmarks that the user named for this host alone, else the master's agents.

    Raises:
        Trouble: if there is none that could be used.
    """
    if direction == "upstream" and wishes.destinations:
        return Landmarks.named(await targets_of(desk, wishes.destinations, wishes.family))
    return await _agents(desk, wishes.agents, wishes.family)


async def _agents(desk: Desk, wanted: str, family: int) -> Landmarks | Report:
    """Those that a master knows; a report that says why, if it does not answer.

    `wanted` is what `--agents` says: ids or their beginnings, or one of the words for all.
    """
    directory = await service.known_agents(desk, "")
    if directory.finish.way is not Way.COMPLETE:
        return Report(upstream=True, finish=directory.finish)
    agents = [agent for agent in directory.agents if agent.online and _is_wanted(agent, wanted)]
    found = Landmarks.of_agents(agents, family)
    if found.targets:
        return found
    if agents and not any(agent.addresses for agent in agents):
        raise Trouble(
            "the master does not tell this client where its agents are; name landmarks: "
            "`emodis-client measure --tech broute HOST…`",
            Exit.REFUSED,
        )
    which = f"IPv{family} " if family else ""
    raise Trouble(f"no agent is here whose {which}address could be a landmark", Exit.NO_AGENT)


@attrs.define
class OwnSide(Upstream):
    """One look at the ways out of this host."""

    landmarks: Landmarks = attrs.field(kw_only=True)
    _outcomes: list[Outcome] = attrs.field(factory=list, init=False)

    @property
    def plan(self) -> Outward:
        """The technique, which is known to be one."""
        assert is_outward(self.technique)
        return self.technique

    def join(self, others: Sequence[Report]) -> None:
        """Let what agents found at other ends have its say, too."""
        answers = [answer for report in others for answer in _answers(report)]
        for result in self._report.done if answers else ():
            measured = self.plan.joined(self.call, result.outcome.observations, answers)
            _fill(result.outcome, measured, self.plan)

    def _estimate(self) -> Selected:
        spend = self.plan.outward_spend(self.call, len(self.targets))
        return Selected(runs_total=1, estimate_s=spend.duration_s, estimate_bytes=spend.sent_bytes)

    async def _run_all(self, prober: Prober) -> None:
        own = self.desk.own_address(ip_address(self.targets[0].address))
        places = self.landmarks if own is None else self.landmarks.without(own)
        self._report.choices = {
            one.id: Choice(agent_id=one.id, place=one.place, asn=one.asn, why="a landmark")
            for one in places.vantages
        }
        self._report.targets = [Target(name=HERE, address=b"" if own is None else own.packed)]
        plan = self.plan.outward(self.call, self._scene(own, places))
        run = RunKey()
        measured = None
        try:
            child = next(plan)
            while not self._interrupts:
                child = plan.send(await self._child(prober, child, places.targets))
        except StopIteration as end:
            measured = end.value
        finally:
            plan.close()
        outcome = _summed(self._outcomes)
        if measured is not None:
            _fill(outcome, measured, self.plan)
            self._take(ToClient(result=self._result(0, run, outcome)))

    def _scene(self, own: Address | None, places: Landmarks) -> Scene:
        as_map = self.as_map
        return Scene(
            targets=places.targets,
            agents=(Vantage(id="", address=own), *places.vantages),
            pairs=frozenset(("", index) for index in range(len(places.targets))),
            policy=self.plan.POLICY,
            now_unix_ns=0,
            owner=None if as_map is None else lambda one: getattr(as_map.owner(one), "asn", 0),
        )

    async def _child(
        self, prober: Prober, child: Child, targets: Sequence[Target]
    ) -> Mapping[Pair, Outcome]:
        """One destination after the other."""
        found: dict[Pair, Outcome] = {}
        technique = registry.get(child.call.technique)
        for index in child.destinations:
            if self._interrupts:
                break
            run = RunKey(destination=index)
            outcome = await self._run(prober, run, targets[index], technique, child.call)
            found["", index] = outcome
            self._outcomes.append(outcome)
        return found


def _place(agent: AgentEntry, family: int) -> Address | None:
    texts = [str(ip_address(packed)) for packed in agent.addresses if len(packed) in {4, 16}]
    address = pick(texts, family)
    return address if address is not None and special.refusal(address) is None else None


def _is_wanted(agent: AgentEntry, wanted: str) -> bool:
    if wanted.upper() in {"AUTO", "ALL", "ANY"}:
        return True
    names = [part.strip() for part in wanted.split(",")]
    return any(name and agent.id.startswith(name) for name in names)


def _answers(report: Report) -> Iterable[Answer]:
    for result in () if report.to_me else report.done:
        if result.outcome.HasField("result"):
            yield Answer(report.target(result.run.destination), result.outcome.result)


def _summed(outcomes: Sequence[Outcome]) -> Outcome:
    """What the children took, together."""
    cost = Cost()
    for one in outcomes:
        cost.sent_packets += one.cost.sent_packets
        cost.recv_packets += one.cost.recv_packets
        cost.sent_bytes += one.cost.sent_bytes
        cost.recv_bytes += one.cost.recv_bytes
    begun = [one for one in outcomes if one.started_unix_ns]
    start_ns = min((one.started_unix_ns for one in begun), default=0)
    end_ns = max((one.started_unix_ns + one.duration_ns for one in begun), default=0)
    outcome = Outcome(
        cost=cost,
        started_unix_ns=start_ns,
        duration_ns=end_ns - start_ns,
    )
    if begun:
        outcome.transport = begun[0].transport
    return outcome


def _fill(outcome: Outcome, measured: Measured, technique: Technique) -> None:
    outcome.ending.CopyFrom(measured.ending)
    outcome.quality.CopyFrom(measured.quality)
    outcome.observations = measured.observations.SerializeToString()
    if measured.result is not None:
        outcome.result.CopyFrom(
            Body(
                technique=technique.NAME,
                schema=technique.SCHEMA,
                body=measured.result.SerializeToString(),
            )
        )
