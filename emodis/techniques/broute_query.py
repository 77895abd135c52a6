"""The bandwidth of a path that nobody measured: BRoute's query over two trees (TECHNIQUES.md 5).

The way up from the source meets the way down to the destination in a common AS. That says by which
branch the path leaves the one and enters the other, and the lesser of what these two have is the
estimate: right where the bottleneck is at one of the edges, too much where it is in the core.
"""

from __future__ import annotations

import itertools

import attrs

from emodis.topology.trees import Meeting, Tree, meeting
from emodis.wire.v1.broute_pb2 import BrouteBranch, BrouteEstimate, BrouteResult, BrouteSink


@attrs.frozen
class _Edges:
    """The measured branches that the path goes by: of one end, of both, or of neither."""

    measured: tuple[BrouteBranch, ...]

    @property
    def both(self) -> bool:
        return len(self.measured) == 2

    @property
    def upper_bps(self) -> int | None:
        known = (branch.upper_bps for branch in self.measured if branch.HasField("upper_bps"))
        return min(known, default=None)

    @property
    def lower_bps(self) -> int | None:
        """Of both; an edge with an upper bound alone has none that is known."""
        known = [branch.lower_bps for branch in self.measured if branch.HasField("lower_bps")]
        return min(known) if len(known) == 2 else None


def query(source: BrouteResult, sink: BrouteSink) -> BrouteEstimate:
    """A(s, d) from the source tree of s and the sink tree of d."""
    found = BrouteEstimate(name=sink.name, address=sink.address)
    if not (source.root_asn and sink.result.root_asn):
        found.reason = "asmap_missing"
        return found
    up, down = _tree(source), _tree(sink.result)
    met = meeting(up, down)
    if met is None:
        found.reason = "no_common_as"
        return found
    found.asns.extend((*reversed(up.way(met.asn)), *down.way(met.asn)[1:]))
    _note(found, met)
    if len(found.asns) < 2:
        # Both in one AS: no edge between ASes tells the branches.
        found.reason = "same_as"
        return found
    found.source_upstream_asn, found.sink_upstream_asn = found.asns[1], found.asns[-2]
    _bound(
        found,
        _Edges(
            (
                *_measured(source, found.source_upstream_asn),
                *_measured(sink.result, found.sink_upstream_asn),
            )
        ),
    )
    return found


def _tree(result: BrouteResult) -> Tree:
    nodes = {node.asn: node.agents for node in result.nodes}
    return Tree(
        root=result.root_asn,
        sink=not result.source,
        paths=nodes.get(result.root_asn, 0),
        nodes=nodes,
        edges={(edge.from_asn, edge.to_asn): edge.agents for edge in result.edges},
    )


def _note(found: BrouteEstimate, met: Meeting) -> None:
    found.common_asn = met.asn
    if met.runner_up is not None:
        found.runner_up_asn = met.runner_up
    if met.ambiguity is not None:
        found.ambiguity = met.ambiguity


def _measured(result: BrouteResult, upstream_asn: int) -> tuple[BrouteBranch, ...]:
    """The branch by this neighbour that has a bound; of several the one most routes come by."""
    bounded = (b for b in result.branches if b.upstream_asn == upstream_asn and not b.uncovered)
    return tuple(itertools.islice(bounded, 1))


def _bound(found: BrouteEstimate, edges: _Edges) -> None:
    upper_bps, lower_bps = edges.upper_bps, edges.lower_bps
    if not edges.both and upper_bps is None:
        found.reason = "no_bandwidth"
        return
    found.one_sided = not edges.both
    if upper_bps is not None:
        found.upper_bps = upper_bps
    if lower_bps is not None:
        found.lower_bps = lower_bps
    found.core = upper_bps is None
