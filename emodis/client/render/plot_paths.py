"""The paths of several vantage points as one tree, seen from the destination. Pure.

A router answers with the address of the interface a probe came in by, so paths that meet from
different sides join one hop later than they do in truth. Silent hops join nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from emodis.client.render.drawing import fitted

SILENT = "*"


@attrs.frozen
class Path:
    """One way: its start in words, and the hops behind it, the destination not among them."""

    start: str
    # Words for each hop; `SILENT` for one that did not answer.
    hops: tuple[str, ...]
    # It got as far as the destination.
    reached: bool = True


@attrs.define
class _Place:
    """A hop, and the places before it."""

    words: str
    before: dict[str, _Place] = attrs.field(factory=dict)
    starts: list[str] = attrs.field(factory=list)

    def enter(self, words: str, path: int) -> _Place:
        # A silent hop may be any router: it is this path's own.
        key = words if words != SILENT else f"{SILENT}{path}"
        return self.before.setdefault(key, _Place(words))


def tree_lines(destination: str, paths: Sequence[Path], width: int) -> list[str]:
    """The destination, and below it, backwards, the ways that lead to it."""
    root = _Place(destination)
    for number, path in enumerate(paths):
        place = root
        if not path.reached:
            place = place.enter("… it was not reached from here", number)
        for words in reversed(path.hops):
            place = place.enter(words, number)
        place.starts.append(path.start)
    return [fitted(line, width).rstrip() for line in [root.words, *_below(root, "")]]


def _below(place: _Place, indent: str) -> list[str]:
    ends = [f"● {start}" for start in place.starts]
    if len(place.before) == 1 and not ends:
        # A way without a branch goes straight down.
        (only,) = place.before.values()
        return [f"{indent}│ {only.words}", *_below(only, indent)]
    lines = []
    branches: list[_Place | str] = [*ends, *place.before.values()]
    for number, branch in enumerate(branches):
        last = number == len(branches) - 1
        corner, beside = ("└─ ", "   ") if last else ("├─ ", "│  ")
        if isinstance(branch, str):
            lines.append(f"{indent}{corner}{branch}")
        else:
            lines.append(f"{indent}{corner}{branch.words}")
            lines += _below(branch, indent + beside)
    return lines
