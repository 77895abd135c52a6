"""What both sides of BRoute do alike: ask for routes and trains, and keep what they brought."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from google.protobuf.message import Message

from emodis.packets.model import Address
from emodis.techniques import edge_routes
from emodis.techniques.base import Child, Pair, Scene, Stored, Vantage
from emodis.techniques.pathneck import Pathneck
from emodis.techniques.traceroute import Traceroute
from emodis.topology.aspath import believable
from emodis.topology.landmarks import Landmark, cover
from emodis.wire.v1.broute_pb2 import (
    BrouteHop,
    BrouteMeasure,
    BrouteObservations,
    BrouteRoute,
)
from emodis.wire.v1.client_pb2 import Policy
from emodis.wire.v1.common_pb2 import Body, Outcome

TRACEROUTE = Traceroute()
PATHNECK = Pathneck()


def pathneck_call(trains: int) -> Body:
    """Pathneck with so many trains."""
    return PATHNECK.call({"trains": str(trains)})


def child_of(call: Body, pairs: frozenset[Pair], policy: Policy.ValueType) -> Child:
    """What asks for exactly these pairs."""
    return Child(
        call=call,
        agents=tuple(sorted({agent for agent, _ in pairs})),
        destinations=tuple(sorted({index for _, index in pairs})),
        policy=policy,
        pairs=pairs,
    )


def note_landmarks(
    able: Sequence[Landmark],
    observations: BrouteObservations,
    *,
    max_agents: int,
    coverage_ratio: float,
) -> list[str]:
    """The fewest that cover what can be covered, noted in the observations."""
    if able:
        found = cover(
            able,
            max_agents=max_agents,
            coverage_ratio=coverage_ratio,
            at_least=1,
        )
        observations.landmarks.extend(pick.landmark.id for pick in found.picks)
    return list(observations.landmarks)


@attrs.define
class Room:
    """Takes messages as long as they fit into so many bytes."""

    left_bytes: int

    def takes(self, message: Message) -> bool:
        """Whether it fits; then there is so much less room."""
        size_bytes = message.ByteSize()
        if size_bytes > self.left_bytes:
            return False
        self.left_bytes -= size_bytes
        return True


def route_of(agent: str, stored: Stored, scene: Scene, vantage: Vantage | None) -> BrouteRoute:
    """The route of an agent, or of this host to it, as observations keep it."""
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
            hop.asn = 0 if hop.exchange else asn_of(scene, address)
        route.hops.append(hop)
    return route


def asn_of(scene: Scene, address: Address | None) -> int:
    """0 without a map, or where it says nothing that can be."""
    if scene.owner is None or address is None:
        return 0
    return believable(scene.owner(address))


def measure_of(agent: str, outcome: Outcome | None) -> BrouteMeasure:
    """What came of a Pathneck run."""
    if outcome is None or not outcome.HasField("result"):
        return BrouteMeasure(agent_id=agent, failure=failure_of(outcome))
    return result_of(agent, outcome.result, outcome.started_unix_ns)


def result_of(agent: str, body: Body, started_unix_ns: int) -> BrouteMeasure:
    """The same from its result."""
    measure = BrouteMeasure(agent_id=agent, measured_unix_ns=started_unix_ns)
    try:
        measure.result.CopyFrom(PATHNECK.result(body))
    except ValueError as error:
        measure.failure = f"its Pathneck result cannot be read: {error}"
    return measure


def failure_of(outcome: Outcome | None) -> str:
    """Why a child brought nothing, for a person."""
    if outcome is None:
        return "it did not come to an end"
    return outcome.ending.hint or outcome.ending.reason or "it brought no result"
