"""How our tables look: plain columns, no frames, no colour where none is wanted."""

from __future__ import annotations

import sys
from typing import TextIO

from rich.console import Console
from rich.table import Table

# Wide enough for every table of ours: a pipe has no width, and folded lines are hard to grep.
PIPE_COLUMNS = 200


def new_table() -> Table:
    """Columns two spaces apart."""
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="underline")


def console(stream: TextIO | None = None) -> Console:
    """Where to print. rich itself heeds NO_COLOR and leaves pipes uncoloured."""
    out = stream if stream is not None else sys.stdout
    width = None if out.isatty() else PIPE_COLUMNS
    return Console(file=out, width=width, highlight=False, markup=False, emoji=False)
