"""AS-level source and sink trees: the union of the AS paths from, or towards, an end node.

Trees by name only: an AS with two ways on (multihoming) keeps both, with how many paths took
each, so they are directed acyclic graphs as long as routes agree (BRoute, IMC 2005; TECHNIQUES 5).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable

import attrs

from emodis.topology.aspath import AsPath

Edge = tuple[int, int]


@attrs.frozen(kw_only=True)
class Tree:
    """What paths from or towards `root` have in common. `paths` counts all of them.

    Edges run in the direction of the packets; the numbers are paths that took them.
    """

    root: int
    sink: bool
    paths: int
    nodes: dict[int, int]
    edges: dict[Edge, int]

    @property
    def branches(self) -> dict[Edge, int]:
        """The edges at the root: the ways into (or out of) the end node's AS."""
        end = 1 if self.sink else 0
        return {edge: weight for edge, weight in self.edges.items() if edge[end] == self.root}

    def depths(self) -> dict[int, int]:
        """AS hops between the root and every node."""
        ahead: dict[int, list[int]] = {}
        for start, end in self.edges:
            near, far = (end, start) if self.sink else (start, end)
            ahead.setdefault(near, []).append(far)
        found, todo = {self.root: 0}, deque([self.root])
        while todo:
            node = todo.popleft()
            for far in ahead.get(node, ()):
                if far not in found:
                    found[far] = found[node] + 1
                    todo.append(far)
        return found

    def share(self, asn: int) -> float:
        """Of the paths, how many pass this AS; 0..1."""
        return self.nodes.get(asn, 0) / self.paths if self.paths else 0.0

    def branch_of(self, asn: int) -> Edge | None:
        """The way between this AS and the root: the edge at the root on the shortest of them.

        Of several the one that more paths took. None if there is no way, or it is the root.
        """
        way = self.way(asn)
        if len(way) < 2:
            return None
        return (way[-2], way[-1]) if self.sink else (way[-1], way[-2])

    def way(self, asn: int) -> tuple[int, ...]:
        """The ASes from this one to the root, on the shortest way; empty if there is none.

        Of several the one that more paths took at each step.
        """
        depths = self.depths()
        if asn not in depths:
            return ()
        nodes = [asn]
        while nodes[-1] != self.root:
            nodes.append(self._step(nodes[-1], depths))
        return tuple(nodes)

    def _step(self, node: int, depths: dict[int, int]) -> int:
        """One AS nearer to the root."""
        steps = [
            (-weight, near)
            for edge, weight in self.edges.items()
            for far, near in (edge if self.sink else edge[::-1],)
            if far == node and depths.get(near) == depths[node] - 1
        ]
        return min(steps)[1]


@attrs.frozen(kw_only=True)
class Meeting:
    """Where the way up from a source and the way down to a sink meet.

    `runner_up` is the second best; `ambiguity` how much worse it is, in AS hops (0 = a tie that
    only the lesser rules decided).
    """

    asn: int
    source_branch: Edge | None
    sink_branch: Edge | None
    runner_up: int | None = None
    ambiguity: int | None = None


def tree(paths: Iterable[AsPath], root: int, *, sink: bool) -> Tree:
    """The union of all paths that end (`sink`) or begin at `root`; others are left out."""
    nodes: Counter[int] = Counter()
    edges: Counter[Edge] = Counter()
    used = 0
    for path in paths:
        if path.asns and path.asns[-1 if sink else 0] == root:
            used += 1
            nodes.update(path.asns)
            edges.update(path.edges)
    return Tree(root=root, sink=sink, paths=used, nodes=dict(nodes), edges=dict(edges))


def meeting(
    source: Tree, sink: Tree, *, cone: Callable[[int], int] = lambda asn: 0
) -> Meeting | None:
    """The common AS of a path that nobody has measured; None if the trees share nothing.

    Fewest AS hops on both sides together; then the larger share of paths through it in both
    trees; then the smaller customer cone, because valley-free routes meet at the lowest common
    provider, and tier-1 ASes last; then the smaller number. (The paper's own rule was not at hand:
    TECHNIQUES.md 5 says which of these are decisions of ours.)

    Args:
        cone: how many ASes are customers of one, where that is known.
    """
    up, down = source.depths(), sink.depths()

    def rank(asn: int) -> tuple[int, float, int, int]:
        return up[asn] + down[asn], -source.share(asn) * sink.share(asn), cone(asn), asn

    ranked = sorted(up.keys() & down.keys(), key=rank)
    if not ranked:
        return None
    best, *others = ranked
    return Meeting(
        asn=best,
        source_branch=source.branch_of(best),
        sink_branch=sink.branch_of(best),
        runner_up=others[0] if others else None,
        ambiguity=rank(others[0])[0] - rank(best)[0] if others else None,
    )
