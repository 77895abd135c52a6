"""The ways into a host, or out of it, as a tree with what each has to give. Pure."""

from __future__ import annotations

from emodis.client.render.drawing import FULL, bar, fitted, widest
from emodis.client.render.edges import UNCOVERED, bound, name_of
from emodis.client.render.plot_gaps import Line
from emodis.client.render.plot_paths import Path, tree_lines
from emodis.client.render.words import address, count
from emodis.wire.v1.broute_pb2 import BrouteBranch, BrouteResult

AT_LEAST = "░"
LEGEND = f"{FULL} at most, {AT_LEAST} at least so many Mbit/s are available"
_LONGEST_NAME = 30
_NUMBER_CELLS = 14
_LEAST_CELLS = 8


def branch_lines(root: str, result: BrouteResult, width: int) -> list[Line]:
    """A tree with the end node on top, then a bar for each branch."""
    ways = [_path(number, branch, result) for number, branch in enumerate(result.branches, start=1)]
    lines = [Line(line) for line in tree_lines(root, ways, width)]
    most_bps = max(
        (max(branch.upper_bps, branch.lower_bps) for branch in result.branches), default=0
    )
    if not most_bps:
        return lines
    names = [name_of(branch) for branch in result.branches]
    name_cells = widest(names, most=min(_LONGEST_NAME, width // 3))
    cells = max(_LEAST_CELLS, width - 3 - 2 - name_cells - 2 - _NUMBER_CELLS - 2)
    lines.append(Line(LEGEND))
    for number, branch in enumerate(result.branches, start=1):
        name, said = fitted(names[number - 1], name_cells), bound(branch) or UNCOVERED
        drawn = _bar(branch, most_bps, cells)
        text = f"{number:>3}  {name}  {said:>{_NUMBER_CELLS}} {drawn}"
        marked = branch.HasField("upper_bps")
        lines.append(Line(fitted(text, width).rstrip(), marked=marked))
    return lines


def _path(number: int, branch: BrouteBranch, result: BrouteResult) -> Path:
    ends = [address(link.to_address) for link in branch.links]
    starts = [address(link.from_address) for link in branch.links]
    hops = list(reversed(ends)) if result.source else starts
    noun = "landmark" if result.source else "agent"
    said = bound(branch) or UNCOVERED
    start = f"{number}: {name_of(branch)}, {count(len(branch.agents), noun)}: {said}"
    slow = address(branch.bottleneck.to_address) if branch.HasField("bottleneck") else ""
    # The link is drawn at its end that is farther from the root.
    mark = {
        far: f"{far}  ◀ the slowest link begins here"
        for far, near in zip(starts, ends, strict=True)
        if near == slow and not result.source
    } or {slow: f"{slow}  ◀ the slowest link ends here"}
    return Path(start, tuple(mark.get(hop, hop) for hop in hops))


def _bar(branch: BrouteBranch, most_bps: int, cells: int) -> str:
    if branch.HasField("upper_bps"):
        return bar(branch.upper_bps / most_bps, cells)
    return AT_LEAST * max(1, round(branch.lower_bps / most_bps * cells)) if branch.lower_bps else ""
