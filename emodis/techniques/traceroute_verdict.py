"""How a traceroute ended and how far its route can be trusted, with the reasons for people."""

from __future__ import annotations

from emodis.techniques import records, refusals
from emodis.techniques.skeleton import DONE, failed, grade, nothing_sent
from emodis.wire.v1.common_pb2 import Blame, Ending, Quality
from emodis.wire.v1.techniques_pb2 import (
    ANSWER_MARK_NAT,
    RouteGraph,
    TracerouteHop,
    TracerouteObservations,
    TracerouteResult,
)

# Nothing can be done about it without raw sockets, and on most paths it changes nothing.
_FLOWS_APART = (
    "without raw sockets each SYN has a source port of its own: where routes are parallel, hops "
    "may be of different ones"
)


def ending(observations: TracerouteObservations, result: TracerouteResult) -> Ending:
    """Done if any hop answered."""
    if any(probe.HasField("sent_ns") for train in observations.trains for probe in train.probes):
        if result.hops:
            return DONE
        return failed(
            "no_hop_answered",
            "Not even the first router answered: probes or answers are dropped close by; try "
            "another -o proto, and check the measuring host's firewall.",
            Blame.BLAME_NETWORK,
        )
    return nothing_sent()


def quality(observations: TracerouteObservations, result: TracerouteResult) -> Quality:
    """The quality word with its reasons."""
    poor: list[str] = []
    if any(train.cut_short for train in (*observations.trains, *observations.flow_trains)):
        poor.append("stopped before the last round")
    if result.end_reason == "loop":
        poor.append(f"the route comes back to the same router at hop {result.hops[-1].ttl}")
    doubts = [*_doubts(result), *_doubts_of_search(result.graph)]
    if any(train.by_connect for train in observations.trains):
        doubts.append(_FLOWS_APART)
    return grade(doubts, poor)


def _doubts(result: TracerouteResult) -> list[str]:
    doubts: list[str] = []
    if result.end_reason == refusals.TOO_BIG:
        doubts.append("a link cannot carry probes of this size; give a smaller size_bytes")
    elif result.end_reason.startswith("unreachable"):
        doubts.append(f"hop {result.hops[-1].ttl} says that the destination cannot be reached")
    elif not result.reached and result.end_reason != "loop":
        doubts.append("the destination did not answer")
    if result.dest_alias:
        doubts.append(
            f"{records.to_address(result.dest_alias)} answered in place of the destination: "
            "another address of it, or a firewall before it"
        )
    limited = [str(hop.ttl) for hop in result.hops if hop.rate_limited]
    if limited:
        doubts.append(f"hop {', '.join(limited)} answers rarely: no loss follows from its silence")
    balanced = {hop.ttl for hop in result.graph.hops if hop.per_packet}
    wandering = [str(hop.ttl) for hop in result.hops if _wanders(hop) and hop.ttl not in balanced]
    if wandering:
        doubts.append(f"the route changed at hop {', '.join(wandering)} during the run")
    rewritten = [str(hop.ttl) for hop in result.hops if _is_rewritten(hop)]
    if rewritten:
        doubts.append(f"something rewrites the probes' source before hop {rewritten[0]} (NAT)")
    return doubts


def _doubts_of_search(graph: RouteGraph) -> list[str]:
    doubts: list[str] = []
    if graph.stopped:
        doubts.append(f"the search for parallel routes was not finished: {graph.stopped}")
    mixed = [str(hop.ttl) for hop in graph.hops if hop.per_packet]
    if mixed:
        doubts.append(
            f"one flow met several routers at hop {', '.join(mixed)}: packets are balanced one by "
            "one, or the route changed"
        )
    silent = [str(hop.ttl) for hop in graph.hops if hop.silent_flows]
    if silent:
        doubts.append(
            f"some flows were never answered at hop {', '.join(silent)}: "
            "a router there may be silent"
        )
    return doubts


def _wanders(hop: TracerouteHop) -> bool:
    return len({answer.address for answer in hop.answers if answer.address}) > 1


def _is_rewritten(hop: TracerouteHop) -> bool:
    return any(ANSWER_MARK_NAT in answer.marks for answer in hop.answers)
