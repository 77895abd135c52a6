"""The graph of parallel routes, from what flows met (TECHNIQUES.md 2, MDA). Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator

from emodis.techniques import stopping
from emodis.techniques.traceroute_survey import Survey
from emodis.wire.v1.techniques_pb2 import RouteEdge, RouteGraph, RouteHop, RouteNode, RoutePath


def graph(survey: Survey) -> RouteGraph:
    """Everything that the search has shown, and how sure it is that there is no more."""
    hops = [_hop(survey, ttl) for ttl in survey.span()]
    return RouteGraph(
        hops=hops,
        nodes=_nodes(survey),
        edges=_edges(survey),
        paths=_paths(survey),
        eps_ratio=survey.limits.eps_ratio,
        confidence_ratio=math.prod(
            1 - hop.miss_ratio for hop in hops if hop.HasField("miss_ratio")
        ),
        flows=survey.flows,
        stopped=_stopped(survey),
    )


def _hop(survey: Survey, ttl: int) -> RouteHop:
    answers = len(survey.answers(ttl))
    ways = len(survey.addresses(ttl))
    hop = RouteHop(
        ttl=ttl,
        branches=ways,
        answers=answers,
        silent_flows=len(survey.unanswered(ttl, silent=True)) if answers else 0,
        per_packet=survey.is_per_packet(ttl),
    )
    if ways and survey.required(ttl):
        hop.miss_ratio = stopping.miss_ratio(ways, answers)
    return hop


def _nodes(survey: Survey) -> Iterator[RouteNode]:
    for ttl in survey.span():
        answers = list(survey.answers(ttl).values())
        for address in survey.addresses(ttl):
            yield RouteNode(ttl=ttl, address=address, flows=answers.count(address))


def _edges(survey: Survey) -> Iterator[RouteEdge]:
    """What flows have passed; and, where one of two hops has a single address, what must be."""
    for ttl in survey.span()[:-1]:
        links = survey.links(ttl)
        here, there = survey.addresses(ttl), survey.addresses(ttl + 1)
        implied = min(len(here), len(there)) == 1
        mixed = survey.is_per_packet(ttl) or survey.is_per_packet(ttl + 1)
        for start in here:
            ways = {} if mixed else links.get(start, {})
            # The destination itself may be nearer by one way than by another.
            goes_on = mixed or bool(survey.through(ttl, start))
            for end in there:
                if end in ways or (implied and goes_on):
                    flows = len(ways.get(end, ()))
                    yield RouteEdge(ttl=ttl + 1, from_address=start, to_address=end, flows=flows)


def _paths(survey: Survey) -> Iterator[RoutePath]:
    """The different ways of the flows that are known at every hop that branches."""
    span = survey.span()
    answers = {ttl: survey.answers(ttl) for ttl in span}
    places = {ttl: survey.addresses(ttl) for ttl in span}
    found: dict[tuple[bytes, ...], list[int]] = {}
    for flow in sorted({flow for met in answers.values() for flow in met}):
        ttls = [ttl for ttl in span if ttl <= survey.end(flow)]
        if any(survey.is_per_packet(ttl) for ttl in ttls):
            continue
        if all(flow in answers[ttl] for ttl in ttls if len(places[ttl]) > 1):
            way = tuple(
                answers[ttl].get(flow, places[ttl][0] if places[ttl] else b"") for ttl in ttls
            )
            found.setdefault(way, []).append(flow)
    return (RoutePath(addresses=way, flows=flows) for way, flows in found.items())


def _stopped(survey: Survey) -> str:
    """Why the search ended early; empty when it did not."""
    span = survey.span()
    for ttl in span:
        if len(survey.addresses(ttl)) > survey.limits.max_branches:
            return f"too_many_branches({ttl})"
    short = [ttl for ttl in span if survey.counted(ttl) < survey.required(ttl)]
    parted = [
        ttl
        for ttl in span[:-1]
        if survey.must_be_parted(ttl)
        and any(
            survey.through(ttl, place) and survey.lacks_ways(ttl, place)
            for place in survey.addresses(ttl)
        )
    ]
    if not short and not parted:
        return ""
    exhausted = all(survey.new_flow(ttl) is None for ttl in (*short, *parted))
    return "max_flows" if exhausted else "max_time"
