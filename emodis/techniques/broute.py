"""BRoute: the available bandwidth of all edge route branches of an end node (IMC 2005).

Most bottlenecks are near the edges of the network, and many paths share an edge: so a few agents,
chosen so that their routes cover all ways into the destination, can speak for all (emodis.txt 5;
TECHNIQUES.md 5). A plan: routes of all agents first, then Pathneck by the landmarks among them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

import attrs
from google.protobuf.message import Message

from emodis.packets.model import Address
from emodis.techniques import edge_routes, records
from emodis.techniques.base import (
    Child,
    Measured,
    Pair,
    Plan,
    Scene,
    Spend,
    Stored,
    Technique,
    Vantage,
)
from emodis.techniques.broute_estimator import edge_of, estimate
from emodis.techniques.discovery import LIGHT_TRACEROUTE, Candidate, is_route, lookers
from emodis.techniques.parameters import real, whole
from emodis.techniques.pathneck import Pathneck
from emodis.techniques.skeleton import DONE, PlanSkeleton, failed, grade
from emodis.techniques.traceroute import Traceroute
from emodis.topology.aspath import believable
from emodis.topology.landmarks import Landmark, cover
from emodis.wire.v1.broute_pb2 import (
    BrouteHop,
    BrouteMeasure,
    BrouteMiss,
    BrouteObservations,
    BrouteParameters,
    BrouteResult,
    BrouteRoute,
)
from emodis.wire.v1.client_pb2 import Policy
from emodis.wire.v1.common_pb2 import Blame, Body, Ending, Outcome, Quality

_TRACEROUTE = Traceroute()
_PATHNECK = Pathneck()
_DAY_S = 86_400.0
# What may travel with a result is limited; no more stored ones are used than fit in, newest first.
_ROUTES_BYTES = 512 << 10
_MEASURES_BYTES = 128 << 10

NO_MAP = (
    "no address-to-AS map: branches are told apart by their addresses alone, and there is no tree "
    "of ASes (give the master a map: as_map in its configuration, or --as-map)"
)


@attrs.frozen(kw_only=True)
class Parameters:
    """Everything that a requester may choose."""

    links: int = whole(4, 1, 8, unit="links", text="last links of a route that make a branch")
    max_agents: int = whole(5, 1, 50, unit="agents", text="most landmarks, which measure bandwidth")
    coverage_ratio: float = real(
        0.95, 0.0, 1.0, unit="", text="share of the branches that shall be covered"
    )
    trace_max_age_s: float = real(
        _DAY_S, 0.0, 7 * _DAY_S, unit="s", text="routes older than this are measured anew"
    )
    bandwidth_max_age_s: float = real(
        1800.0, 0.0, _DAY_S, unit="s", text="Pathneck runs older than this are done anew"
    )
    trains: int = whole(5, 3, 10, unit="", text="trains of each Pathneck run")


class Broute(PlanSkeleton[Parameters, BrouteObservations, BrouteResult]):
    """Routes of all, bandwidth by a few."""

    NAME: ClassVar[str] = "broute"
    POLICY: ClassVar[Policy.ValueType] = Policy.POLICY_RING
    SUMMARY: ClassVar[str] = "bandwidth of all ways into the destination (routes and trains)"
    NEEDS: ClassVar[tuple[Technique, ...]] = (_TRACEROUTE, _PATHNECK)
    EACH_AGENT: ClassVar[bool] = False
    PARAMETERS = Parameters
    CALL = BrouteParameters
    OBSERVATIONS = BrouteObservations
    RESULT = BrouteResult

    def usual(self, chosen: Parameters) -> Spend:
        """A light traceroute and a Pathneck run."""
        trace = _TRACEROUTE.expected(LIGHT_TRACEROUTE)
        trains = _PATHNECK.expected(_pathneck(chosen))
        return Spend(
            duration_s=trace.duration_s + trains.duration_s,
            sent_bytes=trace.sent_bytes + trains.sent_bytes,
        )

    def worst(self, chosen: Parameters) -> Spend:
        """Its longest run: Pathneck."""
        return _PATHNECK.worst_case(_pathneck(chosen))

    def ages(self, chosen: Parameters) -> Mapping[str, float]:
        """Routes keep for a day, bandwidth for half an hour."""
        return {
            _TRACEROUTE.NAME: chosen.trace_max_age_s,
            _PATHNECK.NAME: chosen.bandwidth_max_age_s,
        }

    def steps(self, chosen: Parameters, scene: Scene) -> Plan[Mapping[Pair, Measured]]:
        """Trace what is not known, choose landmarks, have them measure what is not known."""
        seen = {
            index: _start(scene, index) for index in sorted({index for _, index in scene.pairs})
        }
        missing = _without_route(scene, seen)
        if missing:
            outcomes = yield _child(LIGHT_TRACEROUTE, missing, Policy.POLICY_LOCK)
            for pair in sorted(missing):
                _take_route(seen[pair[1]], pair[0], outcomes.get(pair), scene)
        wanted = frozenset(
            (agent, index)
            for index, observations in seen.items()
            for agent in _landmarks(chosen, observations, scene)
            if agent not in {measure.agent_id for measure in observations.measures}
        )
        if wanted:
            outcomes = yield _child(_pathneck(chosen), wanted, scene.policy)
            for agent, index in sorted(wanted):
                seen[index].measures.append(_measure(agent, outcomes.get((agent, index))))
        return {("", index): self.evaluate(chosen, found) for index, found in seen.items()}

    def evaluate(self, chosen: Parameters, observations: BrouteObservations) -> Measured:
        """The edge bandwidth summary."""
        result = estimate(observations, links=chosen.links)
        return Measured(
            ending=_ending(observations, result),
            result=result if result.branches else None,
            observations=observations,
            quality=_quality(chosen, observations, result),
        )

    def addresses(self, body: Body) -> Sequence[Address]:
        """Both ends of every link."""
        found = {
            end: None
            for branch in self.result(body).branches
            for link in branch.links
            for end in (link.from_address, link.to_address)
        }
        return tuple(a for a in map(records.to_address, found) if a is not None)


def _pathneck(chosen: Parameters) -> Body:
    return _PATHNECK.call({"trains": str(chosen.trains)})


def _child(call: Body, pairs: frozenset[Pair], policy: Policy.ValueType) -> Child:
    return Child(
        call=call,
        agents=tuple(sorted({agent for agent, _ in pairs})),
        destinations=tuple(sorted({index for _, index in pairs})),
        policy=policy,
        pairs=pairs,
    )


def _tracing(scene: Scene) -> Iterable[Pair]:
    """Who looks at the routes: fifty at most, one of each AS first."""
    looking = lookers([Candidate(id=one.id, place=one.place, asn=one.asn) for one in scene.agents])
    chosen = {one.id for one in looking}
    return (pair for pair in scene.pairs if pair[0] in chosen)


def _start(scene: Scene, index: int) -> BrouteObservations:
    """What is known already of one destination."""
    target = records.to_address(scene.targets[index].address)
    observations = BrouteObservations(
        target=scene.targets[index].address,
        target_asn=_asn(scene, target),
        as_map=scene.owner is not None,
        asked=sorted(agent for agent, where in scene.pairs if where == index),
    )
    asked = frozenset(observations.asked)
    vantages = {one.id: one for one in scene.agents}
    room = _Room(_ROUTES_BYTES)
    for agent, stored in _known(scene, _TRACEROUTE.NAME, index, asked):
        if is_route(stored.body):
            route = _route(agent, stored, scene, vantages.get(agent))
            if room.takes(route):
                observations.routes.append(route)
            else:
                observations.routes_left_out += 1
    room = _Room(_MEASURES_BYTES)
    for agent, stored in _known(scene, _PATHNECK.NAME, index, asked):
        measure = _result(agent, stored.body, stored.started_unix_ns)
        if measure.HasField("result") and room.takes(measure):
            measure.reused = True
            observations.measures.append(measure)
    return observations


def _known(
    scene: Scene, technique: str, index: int, asked: frozenset[str]
) -> list[tuple[str, Stored]]:
    """Stored results to one destination: those of the agents that are asked, then the newest."""
    mine = [
        (agent, stored)
        for (agent, where), stored in scene.known.get(technique, {}).items()
        if where == index
    ]
    return sorted(
        mine, key=lambda entry: (entry[0] not in asked, -entry[1].started_unix_ns, entry[0])
    )


@attrs.define
class _Room:
    """Takes messages as long as they fit into so many bytes."""

    left_bytes: int

    def takes(self, message: Message) -> bool:
        size_bytes = message.ByteSize()
        if size_bytes > self.left_bytes:
            return False
        self.left_bytes -= size_bytes
        return True


def _without_route(scene: Scene, seen: Mapping[int, BrouteObservations]) -> frozenset[Pair]:
    """Of those who look, who does not know the way to which destination."""
    has = {(route.agent_id, index) for index, found in seen.items() for route in found.routes}
    return frozenset(pair for pair in _tracing(scene) if pair not in has)


def _take_route(
    observations: BrouteObservations, agent: str, outcome: Outcome | None, scene: Scene
) -> None:
    if outcome is not None and is_route(outcome.result):
        stored = Stored(body=outcome.result, started_unix_ns=outcome.started_unix_ns)
        vantage = next((one for one in scene.agents if one.id == agent), None)
        observations.routes.append(_route(agent, stored, scene, vantage))
    else:
        observations.misses.append(BrouteMiss(agent_id=agent, failure=_failure(outcome)))


def _route(agent: str, stored: Stored, scene: Scene, vantage: Vantage | None) -> BrouteRoute:
    route = BrouteRoute(
        agent_id=agent,
        asn=believable(vantage.asn) if vantage is not None else 0,
        place=vantage.place if vantage is not None else "",
        reached=edge_routes.reached(stored.body),
        measured_unix_ns=stored.started_unix_ns,
    )
    for address in edge_routes.responders(stored.body):
        hop = BrouteHop()
        if address is not None:
            hop.address = address.packed
            hop.exchange = scene.is_exchange(address)
            hop.asn = 0 if hop.exchange else _asn(scene, address)
        route.hops.append(hop)
    return route


def _asn(scene: Scene, address: Address | None) -> int:
    """0 without a map, or where it says nothing that can be."""
    if scene.owner is None or address is None:
        return 0
    return believable(scene.owner(address))


def _landmarks(chosen: Parameters, observations: BrouteObservations, scene: Scene) -> list[str]:
    """Who shall measure bandwidth, noted in the observations; nobody without a usable route.

    Of equals the one whose bandwidth is known already.
    """
    edge = edge_of(observations, chosen.links)
    measured = {measure.agent_id for measure in observations.measures}
    vantages = {one.id: one for one in scene.agents}
    able = [
        Landmark(
            id=agent,
            load=0.0 if agent in measured else 1.0,
            asn=vantages[agent].asn if agent in vantages else 0,
            place=vantages[agent].place if agent in vantages else "",
            branches=(edge.branches[agent],),
        )
        for agent in observations.asked
        if agent in edge.branches
    ]
    if able:
        found = cover(
            able,
            max_agents=chosen.max_agents,
            coverage_ratio=chosen.coverage_ratio,
            at_least=1,
        )
        observations.landmarks.extend(pick.landmark.id for pick in found.picks)
    return list(observations.landmarks)


def _measure(agent: str, outcome: Outcome | None) -> BrouteMeasure:
    if outcome is None or not outcome.HasField("result"):
        return BrouteMeasure(agent_id=agent, failure=_failure(outcome))
    return _result(agent, outcome.result, outcome.started_unix_ns)


def _result(agent: str, body: Body, started_unix_ns: int) -> BrouteMeasure:
    measure = BrouteMeasure(agent_id=agent, measured_unix_ns=started_unix_ns)
    try:
        measure.result.CopyFrom(_PATHNECK.result(body))
    except ValueError as error:
        measure.failure = f"its Pathneck result cannot be read: {error}"
    return measure


def _failure(outcome: Outcome | None) -> str:
    if outcome is None:
        return "it did not come to an end"
    return outcome.ending.hint or outcome.ending.reason or "it brought no result"


def _ending(observations: BrouteObservations, result: BrouteResult) -> Ending:
    if not result.branches:
        missed = next((f": {m.agent_id}: {m.failure}" for m in observations.misses), "")
        return failed(
            "too_few_routes",
            f"no agent has a route that shows the destination's edge{missed}",
            Blame.BLAME_NETWORK,
        )
    if all(branch.uncovered for branch in result.branches):
        return failed(
            "no_bandwidth",
            f"ways in were found, and none could be measured: {result.branches[0].uncovered}",
            Blame.BLAME_NETWORK,
        )
    return DONE


def _quality(chosen: Parameters, observations: BrouteObservations, result: BrouteResult) -> Quality:
    fair, poor = [], []
    if not observations.as_map:
        fair.append(NO_MAP)
    if result.destination_silent:
        fair.append("the destination answered no traceroute: its last links may be missing")
    if result.branches and result.coverage_ratio < chosen.coverage_ratio:
        fair.append(f"the ways in of {1 - result.coverage_ratio:.0%} of the agents have no bound")
    if observations.routes_left_out:
        fair.append(f"{observations.routes_left_out} older routes of other agents were left out")
    if any(branch.inconsistent for branch in result.branches):
        fair.append("agents contradict each other on a branch: its load changed meanwhile")
    if not result.branches or all(branch.uncovered for branch in result.branches):
        poor.append("nothing could be bounded")
    return grade(fair, poor)
