"""Which neighbours of a node lead to which other nodes. Pure.

Routes are shortest paths over the metrics, then fewest links. Where a node does not balance, ties
are broken by adding a distinct power of two per link: no two sets of links then weigh the same, so
the best path is unique, and the way back is the way forth. A node that balances uses all its equal
first links; as every step comes nearer, nodes that balance and nodes that do not make no loops.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping

from emodis.lab.topology import Balance, Topology

# Metric, links, and the tie-breaker.
Cost = tuple[int, int, int]
Costs = Mapping[str, Mapping[str, Cost]]


def first_hops(topology: Topology, source: str) -> dict[str, tuple[str, ...]]:
    """For every other node the neighbours of `source` that lead to it, the usual one first."""
    costs = _costs(topology)
    nearest = _nearest(costs, source)
    usual = {node: first for node, (_, first) in nearest.items() if node != source}
    if topology.nodes[source].balance is Balance.NONE:
        return {node: (first,) for node, first in usual.items()}
    beyond = {peer: _nearest(costs, peer) for peer in costs[source]}
    found = {}
    for node, first in usual.items():
        lengths = {
            peer: _sum(step, beyond[peer][node][0])[:2] for peer, step in costs[source].items()
        }
        equal = sorted(peer for peer, length in lengths.items() if length == lengths[first])
        found[node] = (first, *(peer for peer in equal if peer != first))
    return found


def _costs(topology: Topology) -> Costs:
    costs: dict[str, dict[str, Cost]] = {name: {} for name in topology.nodes}
    ranked = sorted(topology.links, key=lambda link: sorted(link.ends))
    for rank, link in enumerate(ranked):
        costs[link.a][link.b] = costs[link.b][link.a] = (link.metric, 1, 1 << rank)
    return costs


def _nearest(costs: Costs, source: str) -> dict[str, tuple[Cost, str]]:
    """Dijkstra: for every node how far it is, and the neighbour of `source` that leads to it."""
    done: dict[str, tuple[Cost, str]] = {}
    queue: list[tuple[Cost, str, str]] = [((0, 0, 0), source, "")]
    while queue:
        cost, node, first = heapq.heappop(queue)
        if node in done:
            continue
        done[node] = cost, first
        for peer, step in costs[node].items():
            heapq.heappush(queue, (_sum(cost, step), peer, first or peer))
    return done


def _sum(one: Cost, other: Cost) -> Cost:
    return one[0] + other[0], one[1] + other[1], one[2] + other[2]
