"""The edge bandwidth summary from routes and Pathneck runs (BRoute, IMC 2005; TECHNIQUES.md 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from emodis.techniques import records
from emodis.techniques.broute_bounds import Bounds, Finding, combined, finding, finding_out
from emodis.techniques.broute_query import query
from emodis.techniques.edge_routes import Responder, Seen, seen
from emodis.topology.segments import Branch, merged
from emodis.topology.trees import tree
from emodis.wire.v1.broute_pb2 import (
    BrouteBranch,
    BrouteEdge,
    BrouteLandmark,
    BrouteLink,
    BrouteMeasure,
    BrouteNode,
    BrouteObservations,
    BrouteResult,
    BrouteRoute,
)

NOBODY_ASKED = "no agent that was asked comes this way"
LEFT_OUT = "no landmark comes this way: max_agents or coverage_ratio was reached before"


@attrs.frozen(kw_only=True)
class Edge:
    """The routes that count, by agent, and which branch each comes by."""

    seen: Mapping[str, Seen]
    branches: Mapping[str, Branch]

    def by_branch(self) -> list[tuple[Branch, list[str]]]:
        """Branches with their agents, those with more agents first."""
        agents: dict[Branch, list[str]] = {}
        for agent, name in self.branches.items():
            agents.setdefault(name, []).append(agent)
        return sorted(
            ((name, sorted(found)) for name, found in agents.items()),
            key=lambda entry: (-len(entry[1]), str(entry[0]), entry[0].upstream_asn),
        )


def edge_of(observations: BrouteObservations, links: int) -> Edge:
    """Which branch each agent's route comes by; routes that say nothing are left out."""
    found = {
        route.agent_id: one
        for route in observations.routes
        if (one := _seen(route, observations, links)) is not None
    }
    # A branch is named after a route whose ASes are known, where there is one.
    order = sorted(found, key=lambda agent: (found[agent].branch.upstream_asn == 0, agent))
    return Edge(seen=found, branches=merged({agent: found[agent].branch for agent in order}))


def estimate(observations: BrouteObservations, *, links: int) -> BrouteResult:
    """Every known way into the destination (or out of the source), and what is known of it.

    Args:
        observations: routes and runs to one destination, or from one source.
        links: links in an edge segment (E).
    """
    edge = edge_of(observations, links)
    measures = {measure.agent_id: measure for measure in observations.measures}
    result = BrouteResult(
        routes=len(edge.seen),
        routes_discarded=len(observations.routes) - len(edge.seen),
        unmapped_hops=sum(one.path.unmapped for one in edge.seen.values()),
        as_map=observations.as_map,
        source=observations.source,
        root_asn=observations.target_asn,
        destination_silent=bool(observations.routes)
        and not observations.source
        and not any(route.reached for route in observations.routes),
    )
    covered = 0
    ways = edge.by_branch()
    for name, agents in ways:
        branch = _branch(name, agents, edge, measures, links, observations)
        covered += 0 if branch.uncovered else len(agents)
        result.branches.append(branch)
    result.coverage_ratio = covered / len(edge.seen) if edge.seen else 0.0
    _describe_tree(result, edge)
    _describe_landmarks(result, [name for name, _ in ways], edge, observations.landmarks)
    if result.source:
        result.estimates.extend(query(result, sink) for sink in observations.sinks)
    return result


def _seen(route: BrouteRoute, observations: BrouteObservations, links: int) -> Seen | None:
    hops = [
        Responder(address=records.to_address(hop.address), asn=hop.asn, exchange=hop.exchange)
        for hop in route.hops
    ]
    if observations.source:
        return _seen_out(route, observations, links, hops)
    return seen(
        hops,
        links=links,
        start_asn=route.asn if observations.as_map else 0,
        end_asn=observations.target_asn,
        complete=route.reached,
    )


def _seen_out(
    route: BrouteRoute, observations: BrouteObservations, links: int, hops: Sequence[Responder]
) -> Seen | None:
    start = Responder(address=records.to_address(observations.target), asn=observations.target_asn)
    return seen(
        [start, *hops],
        links=links,
        start_asn=observations.target_asn,
        end_asn=route.asn if observations.as_map else 0,
        complete=route.reached,
        source=True,
    )


def _branch(
    name: Branch,
    agents: Sequence[str],
    edge: Edge,
    measures: Mapping[str, BrouteMeasure],
    links: int,
    observations: BrouteObservations,
) -> BrouteBranch:
    mine = [measures[agent] for agent in agents if agent in measures]
    findings = [
        found
        for measure in mine
        if measure.HasField("result")
        and (found := _finding(measure, links, observations)) is not None
    ]
    branch = BrouteBranch(
        entry_asn=next((edge.seen[a].entry_asn for a in agents if edge.seen[a].entry_asn), 0),
        upstream_asn=name.upstream_asn,
        links=[BrouteLink(from_address=a.packed, to_address=b.packed) for a, b in name.links],
        agents=agents,
        measured_by=[found.measure.agent_id for found in findings],
    )
    bounds = combined(findings)
    if bounds is None:
        branch.uncovered = _why_not(mine, agents, observations)
    else:
        _bound(branch, bounds, findings)
    return branch


def _finding(
    measure: BrouteMeasure, links: int, observations: BrouteObservations
) -> Finding | None:
    if observations.source:
        return finding_out(measure, links, observations.target)
    return finding(measure, links)


def _bound(branch: BrouteBranch, bounds: Bounds, findings: Sequence[Finding]) -> None:
    if bounds.upper is not None and bounds.upper.upper_bps is not None:
        branch.upper_bps = bounds.upper.upper_bps
        branch.confidence = bounds.upper.confidence
        if bounds.upper.bottleneck is not None:
            branch.bottleneck.CopyFrom(bounds.upper.bottleneck)
    if bounds.lower_bps is not None:
        branch.lower_bps = bounds.lower_bps
    branch.inconsistent = bounds.inconsistent
    branch.measured_unix_ns = max(found.measure.measured_unix_ns for found in findings)


def _why_not(
    measures: Sequence[BrouteMeasure], agents: Sequence[str], observations: BrouteObservations
) -> str:
    failure = next((measure for measure in measures if measure.failure), None)
    if failure is not None:
        return f"{failure.agent_id}: {failure.failure}"
    if measures:
        return "no train was measured as far as these links"
    asked = set(observations.asked)
    return LEFT_OUT if asked & set(agents) else NOBODY_ASKED


def _describe_tree(result: BrouteResult, edge: Edge) -> None:
    if not result.root_asn:
        return
    paths = (one.path for one in edge.seen.values())
    found = tree(paths, result.root_asn, sink=not result.source)
    result.nodes.extend(
        BrouteNode(asn=asn, agents=agents) for asn, agents in sorted(found.nodes.items())
    )
    result.edges.extend(
        BrouteEdge(from_asn=start, to_asn=end, agents=agents)
        for (start, end), agents in sorted(found.edges.items())
    )


def _describe_landmarks(
    result: BrouteResult, names: Sequence[Branch], edge: Edge, landmarks: Sequence[str]
) -> None:
    taken: set[int] = set()
    for agent in landmarks:
        index = names.index(edge.branches[agent]) if agent in edge.branches else None
        new = [index] if index is not None and index not in taken else []
        taken.update(new)
        result.landmarks.append(BrouteLandmark(agent_id=agent, branches=new))
