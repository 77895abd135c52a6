"""BRoute: the available bandwidth of all edge route branches of an end node (IMC 2005).

Most bottlenecks are near the edges of the network, and many paths share an edge: so a few agents,
chosen so that their routes cover all ways into the destination, can speak for all (emodis.txt 5;
TECHNIQUES.md 5). A plan: routes of all agents first, then Pathneck by the landmarks among them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from emodis.packets.model import Address
from emodis.techniques import broute_verdict, records
from emodis.techniques.base import (
    Answer,
    Measured,
    Pair,
    Plan,
    Scene,
    Sides,
    Spend,
    Technique,
)
from emodis.techniques.broute_estimator import estimate
from emodis.techniques.broute_gathering import PATHNECK, TRACEROUTE, pathneck_call
from emodis.techniques.broute_parameters import Parameters
from emodis.techniques.broute_sink import inward
from emodis.techniques.broute_source import outward
from emodis.techniques.discovery import LIGHT_TRACEROUTE, MOST_LOOKING
from emodis.techniques.skeleton import PlanSkeleton, failed
from emodis.wire.v1.broute_pb2 import BrouteObservations, BrouteParameters, BrouteResult
from emodis.wire.v1.client_pb2 import Policy
from emodis.wire.v1.common_pb2 import Blame, Body, Quality


class Broute(PlanSkeleton[Parameters, BrouteObservations, BrouteResult]):
    """Routes of all, bandwidth by a few."""

    NAME: ClassVar[str] = "broute"
    POLICY: ClassVar[Policy.ValueType] = Policy.POLICY_RING
    SUMMARY: ClassVar[str] = "bandwidth of all ways into the destination (routes and trains)"
    NEEDS: ClassVar[tuple[Technique, ...]] = (TRACEROUTE, PATHNECK)
    EACH_AGENT: ClassVar[bool] = False
    PARAMETERS = Parameters
    CALL = BrouteParameters
    OBSERVATIONS = BrouteObservations
    RESULT = BrouteResult

    def usual(self, chosen: Parameters) -> Spend:
        """A light traceroute and a Pathneck run."""
        trace = TRACEROUTE.expected(LIGHT_TRACEROUTE)
        trains = PATHNECK.expected(pathneck_call(chosen.trains))
        return Spend(
            duration_s=trace.duration_s + trains.duration_s,
            sent_bytes=trace.sent_bytes + trains.sent_bytes,
        )

    def worst(self, chosen: Parameters) -> Spend:
        """Its longest run: Pathneck."""
        return PATHNECK.worst_case(pathneck_call(chosen.trains))

    def ages(self, chosen: Parameters) -> Mapping[str, float]:
        """Routes keep for a day, bandwidth for half an hour."""
        return {
            TRACEROUTE.NAME: chosen.trace_max_age_s,
            PATHNECK.NAME: chosen.bandwidth_max_age_s,
        }

    def steps(self, chosen: Parameters, scene: Scene) -> Plan[Mapping[Pair, Measured]]:
        """The ways into every destination, by agents."""
        if chosen.direction == "source":
            # Whoever asks agents for that has not read what it means.
            return {("", index): _not_by_agents() for index in {index for _, index in scene.pairs}}
        seen = yield from inward(chosen, scene)
        return {("", index): self.evaluate(chosen, found) for index, found in seen.items()}

    def sides(self, call: Body) -> Sides:
        """This host measures its own ways out, agents the ways into destinations."""
        direction = self._chosen(call).direction
        return Sides(here=direction != "sink", there=direction != "source")

    def outward_spend(self, call: Body, landmarks: int) -> Spend:
        """A route to each, one after the other, and trains towards a few."""
        chosen = self._chosen(call)
        looks, trains = min(landmarks, MOST_LOOKING), min(landmarks, chosen.max_agents)
        trace = TRACEROUTE.expected(LIGHT_TRACEROUTE)
        train = PATHNECK.expected(pathneck_call(chosen.trains))
        return Spend(
            duration_s=looks * trace.duration_s + trains * train.duration_s,
            sent_bytes=looks * trace.sent_bytes + trains * train.sent_bytes,
        )

    def outward(self, call: Body, scene: Scene) -> Plan[Measured]:
        """The ways out of this host."""
        chosen = self._chosen(call)
        observations = yield from outward(chosen, scene)
        return self.evaluate(chosen, observations)

    def joined(self, call: Body, observations: bytes, others: Sequence[Answer]) -> Measured:
        """The ways out of this host, and what follows for paths to where agents found ways in."""
        known: BrouteObservations = self._decode(BrouteObservations, observations)
        for other in others:
            known.sinks.add(
                name=other.target.name,
                address=other.target.address,
                result=self.result(other.result),
            )
        return self.evaluate(self._chosen(call), known)

    def evaluate(self, chosen: Parameters, observations: BrouteObservations) -> Measured:
        """The edge bandwidth summary."""
        result = estimate(observations, links=chosen.links)
        return Measured(
            ending=broute_verdict.ending(observations, result),
            result=result if result.branches else None,
            observations=observations,
            quality=broute_verdict.quality(chosen, observations, result),
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


def _not_by_agents() -> Measured:
    hint = (
        "Ways out of a host are measured by that host, not by agents; ask with emodis-client, or "
        "for direction=sink."
    )
    return Measured(
        ending=failed("bad_params", hint, Blame.BLAME_US),
        result=None,
        observations=BrouteObservations(),
        quality=Quality(),
    )
