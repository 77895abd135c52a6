"""Where and how our lines are printed: no colour where none is wanted, pipes not folded."""

from __future__ import annotations

import sys
from typing import TextIO

from rich.console import Console
from rich.text import Text

from emodis.client.render.columns import Grid
from emodis.client.render.words import printable

# Wide enough for every table of ours: a pipe has no width, and folded lines are hard to grep.
PIPE_COLUMNS = 200


def console(stream: TextIO | None = None) -> Console:
    """Where to print. rich itself heeds NO_COLOR and leaves pipes uncoloured."""
    out = stream if stream is not None else sys.stdout
    width = None if out.isatty() else PIPE_COLUMNS
    return Console(file=out, width=width, highlight=False, markup=False, emoji=False)


def show_grid(grid: Grid, out: Console) -> None:
    """A table: heading in its own style, marked rows bold."""
    for number, row in enumerate(grid.lines(out.width)):
        style = "bold" if row.marked else "" if number else "dim"
        # Never folded: a line that is too long all the same stays one line.
        out.print(Text(row.cells[0], style=style), soft_wrap=True)


def show_line(text: str, out: Console, style: str = "") -> None:
    """A sentence, folded at a terminal's edge and nowhere else."""
    out.print(Text(printable(text), style=style), soft_wrap=not out.is_terminal)
