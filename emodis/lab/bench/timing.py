"""`emodis-lab bench timing`: is Emodis as fast and as exact as the usual tools and C loops?

Everything is measured by turns in one run, because only what the same machine did in the same
minute can be compared. What cannot be compared here, for want of a tool, is said in a line.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from emodis.lab.bench import flights, tools
from emodis.lab.bench.comparison import Comparison, table

SCHEMA = "emodis.timing/1"

Part = Callable[[int, Path], Iterator[Comparison | str]]
# What it is, and how many rounds or trains make a figure.
PARTS: Mapping[str, tuple[Part, int]] = {
    "ping": (tools.ping, 10),
    "traceroute": (tools.traceroute, 10),
    "trains": (flights.train_time, 30),
    "pacing": (flights.pace, 10),
}


def run(
    parts: Sequence[str],
    *,
    rounds: int | None,
    say: Callable[[str], None],
    keep: Callable[[Sequence[Comparison], Sequence[str]], None],
) -> list[Comparison]:
    """Measure these parts; the table comes last. `rounds` instead of the usual ones, if given.

    Raises:
        LabError: if something could not be measured at all.
    """
    rows: list[Comparison] = []
    left_out: list[str] = []
    with tempfile.TemporaryDirectory(prefix="emodis-bench-") as directory:
        for name in parts:
            part, usual = PARTS[name]
            for found in part(rounds or usual, Path(directory)):
                if isinstance(found, Comparison):
                    rows.append(found)
                else:
                    left_out.append(found)
                    say(found)
            keep(rows, left_out)
    say("")
    for row in table(rows):
        say(row)
    return rows


def content(rows: Sequence[Comparison], left_out: Sequence[str]) -> dict[str, Any]:
    """Everything, for machines."""
    return {
        "schema": SCHEMA,
        "rows": [row.as_json() for row in rows],
        "left_out": list(left_out),
    }
