"""The sink side of BRoute: the ways into destinations, measured by agents (TECHNIQUES.md 5)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from emodis.techniques import edge_routes, records
from emodis.techniques.base import Pair, Plan, Scene, Stored
from emodis.techniques.broute_estimator import edge_of
from emodis.techniques.broute_gathering import (
    PATHNECK,
    TRACEROUTE,
    Room,
    asn_of,
    child_of,
    failure_of,
    measure_of,
    note_landmarks,
    pathneck_call,
    result_of,
    route_of,
)
from emodis.techniques.broute_parameters import Parameters
from emodis.techniques.discovery import LIGHT_TRACEROUTE, Candidate, is_route, lookers
from emodis.topology.landmarks import Landmark
from emodis.wire.v1.broute_pb2 import BrouteMiss, BrouteObservations
from emodis.wire.v1.client_pb2 import Policy
from emodis.wire.v1.common_pb2 import Outcome

# What may travel with a result is limited; no more stored ones are used than fit in, newest first.
_ROUTES_BYTES = 512 << 10
_MEASURES_BYTES = 128 << 10


def inward(chosen: Parameters, scene: Scene) -> Plan[Mapping[int, BrouteObservations]]:
    """Trace what is not known, choose landmarks, have them measure what is not known."""
    seen = {index: _start(scene, index) for index in sorted({index for _, index in scene.pairs})}
    missing = _without_route(scene, seen)
    if missing:
        outcomes = yield child_of(LIGHT_TRACEROUTE, missing, Policy.POLICY_LOCK)
        for pair in sorted(missing):
            _take_route(seen[pair[1]], pair[0], outcomes.get(pair), scene)
    wanted = frozenset(
        (agent, index)
        for index, observations in seen.items()
        for agent in _landmarks(chosen, observations, scene)
        if agent not in {measure.agent_id for measure in observations.measures}
    )
    if wanted:
        outcomes = yield child_of(pathneck_call(chosen.trains), wanted, scene.policy)
        for agent, index in sorted(wanted):
            seen[index].measures.append(measure_of(agent, outcomes.get((agent, index))))
    return seen


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
        target_asn=asn_of(scene, target),
        as_map=scene.owner is not None,
        asked=sorted(agent for agent, where in scene.pairs if where == index),
    )
    asked = frozenset(observations.asked)
    vantages = {one.id: one for one in scene.agents}
    room = Room(_ROUTES_BYTES)
    for agent, stored in _known(scene, TRACEROUTE.NAME, index, asked):
        if is_route(stored.body) and not _has_moved(scene, agent, index, stored):
            route = route_of(agent, stored, scene, vantages.get(agent))
            if room.takes(route):
                observations.routes.append(route)
            else:
                observations.routes_left_out += 1
    room = Room(_MEASURES_BYTES)
    for agent, stored in _known(scene, PATHNECK.NAME, index, asked):
        measure = result_of(agent, stored.body, stored.started_unix_ns)
        if measure.HasField("result") and room.takes(measure):
            measure.reused = True
            observations.measures.append(measure)
    return observations


def _has_moved(scene: Scene, agent: str, index: int, route: Stored) -> bool:
    """The agent's own trains have gone another way since."""
    trains = scene.known.get(PATHNECK.NAME, {}).get((agent, index))
    if trains is None or trains.started_unix_ns <= route.started_unix_ns:
        return False
    return edge_routes.has_moved(route.body, trains.body)


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
        observations.routes.append(route_of(agent, stored, scene, vantage))
    else:
        observations.misses.append(BrouteMiss(agent_id=agent, failure=failure_of(outcome)))


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
    return note_landmarks(
        able,
        observations,
        max_agents=chosen.max_agents,
        coverage_ratio=chosen.coverage_ratio,
    )
