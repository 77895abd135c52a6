"""Bars and marks made of characters. Pure; all widths are terminal cells."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size

from emodis.client.render.words import printable

# A cell in eighths, from the left.
_EIGHTHS = " ▏▎▍▌▋▊▉"
FULL = "█"
MARK = "┃"


def bar(share: float, cells: int, marks: Sequence[float] = ()) -> str:
    """A bar over that share (0..1) of so many cells, with marks at other shares of them."""
    eighths = round(max(0.0, min(1.0, share)) * cells * 8)
    whole, rest = divmod(eighths, 8)
    line = list(FULL * whole + (_EIGHTHS[rest] if rest else ""))
    line += " " * (cells - len(line))
    for mark in marks:
        if 0 <= mark <= 1 and cells:
            line[min(cells - 1, int(mark * cells))] = MARK
    return "".join(line).rstrip()


def span(low: float, middle: float, high: float, cells: int) -> str:
    """An interval of shares (0..1) of so many cells, with a point in it."""

    def at(share: float) -> int:
        return min(cells - 1, max(0, round(share * (cells - 1))))

    first, point, last = at(low), at(middle), at(high)
    line = [" "] * first + ["─"] * (last - first + 1)
    line[first], line[last] = "├", "┤"
    line[min(max(point, first), last)] = "●"
    return "".join(line)


def fitted(text: str, cells: int) -> str:
    """The text in exactly so many cells."""
    clean = printable(text)
    if cell_len(clean) > cells:
        return set_cell_size(clean, max(0, cells - 1)) + "…"[: max(0, cells)]
    return clean + " " * (cells - cell_len(clean))


def widest(texts: Sequence[str], *, most: int) -> int:
    """Cells that the longest needs, up to `most`."""
    return min(most, max((cell_len(printable(text)) for text in texts), default=0))
