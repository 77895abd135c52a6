"""The source side of BRoute: the ways out of this very host, measured by itself (TECHNIQUES.md 5).

Its routes to many landmarks show where they part; a few of those, chosen so that the routes to them
cover all ways out, are what Pathneck is then run towards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from emodis.techniques import records
from emodis.techniques.base import Pair, Plan, Scene, Stored, Vantage
from emodis.techniques.broute_estimator import edge_of
from emodis.techniques.broute_gathering import (
    asn_of,
    child_of,
    failure_of,
    measure_of,
    note_landmarks,
    pathneck_call,
    route_of,
)
from emodis.techniques.broute_parameters import Parameters
from emodis.techniques.discovery import LIGHT_TRACEROUTE, Candidate, is_route, lookers
from emodis.topology.aspath import believable
from emodis.topology.landmarks import Landmark
from emodis.wire.v1.broute_pb2 import BrouteMiss, BrouteObservations
from emodis.wire.v1.client_pb2 import Policy
from emodis.wire.v1.common_pb2 import Outcome, Target

# This host among agents.
HERE = ""


def outward(chosen: Parameters, scene: Scene) -> Plan[BrouteObservations]:
    """Trace landmarks, choose those that cover the ways out, run trains towards them."""
    places = {one.id: one for one in scene.agents if one.id != HERE}
    observations = _start(scene)
    wanted = _looked_at(scene.targets, places)
    if wanted:
        outcomes = yield child_of(LIGHT_TRACEROUTE, wanted, Policy.POLICY_LOCK)
        for pair in sorted(wanted):
            _take_route(observations, scene, pair, outcomes.get(pair), places)
    numbers = {target.name: index for index, target in enumerate(scene.targets)}
    chosen_names = _landmarks(chosen, observations, places)
    trains = frozenset((HERE, numbers[name]) for name in chosen_names)
    if trains:
        outcomes = yield child_of(pathneck_call(chosen.trains), trains, Policy.POLICY_LOCK)
        for name in chosen_names:
            observations.measures.append(measure_of(name, outcomes.get((HERE, numbers[name]))))
    return observations


def _start(scene: Scene) -> BrouteObservations:
    here = next(one for one in scene.agents if one.id == HERE)
    return BrouteObservations(
        source=True,
        target=b"" if here.address is None else here.address.packed,
        target_asn=asn_of(scene, here.address) or believable(here.asn),
        as_map=scene.owner is not None,
        asked=sorted(target.name for target in scene.targets),
    )


def _looked_at(targets: Sequence[Target], places: Mapping[str, Vantage]) -> frozenset[Pair]:
    """Fifty landmarks at most, one of each AS first."""
    chosen = lookers(
        [
            Candidate(id=target.name, asn=places[target.name].asn if target.name in places else 0)
            for target in targets
        ]
    )
    names = {candidate.id for candidate in chosen}
    return frozenset((HERE, index) for index, one in enumerate(targets) if one.name in names)


def _take_route(
    observations: BrouteObservations,
    scene: Scene,
    pair: Pair,
    outcome: Outcome | None,
    places: Mapping[str, Vantage],
) -> None:
    target = scene.targets[pair[1]]
    if outcome is None or not is_route(outcome.result):
        observations.misses.append(BrouteMiss(agent_id=target.name, failure=failure_of(outcome)))
        return
    stored = Stored(body=outcome.result, started_unix_ns=outcome.started_unix_ns)
    route = route_of(target.name, stored, scene, places.get(target.name))
    # The map's word on the landmark, by which its last hop is named, too.
    route.asn = asn_of(scene, records.to_address(target.address)) or route.asn
    observations.routes.append(route)


def _landmarks(
    chosen: Parameters, observations: BrouteObservations, places: Mapping[str, Vantage]
) -> list[str]:
    """Towards whom trains shall be sent, noted in the observations."""
    edge = edge_of(observations, chosen.links)
    able = [
        Landmark(
            id=name,
            asn=places[name].asn if name in places else 0,
            place=places[name].place if name in places else "",
            branches=(branch,),
        )
        for name, branch in sorted(edge.branches.items())
    ]
    return note_landmarks(
        able,
        observations,
        max_agents=chosen.max_agents,
        coverage_ratio=chosen.coverage_ratio,
    )
