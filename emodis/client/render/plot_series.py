"""Round-trip times in the order of their probes, and which ones never came back. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs

from emodis.client.render.drawing import fitted
from emodis.client.render.words import time

POINT, SPAN, LOST, SOME_LOST = "●", "┃", "x", "·"
_ROWS = 8
_LABEL_CELLS = 8
# For the time at the end of the axis.
_END_CELLS = 9


@attrs.frozen
class Sent:
    """One probe: when it left, after the first, and its round-trip time; None = lost."""

    at_ns: int
    rtt_ns: int | None


def series_lines(series: Sequence[Sent], width: int) -> list[str]:
    """A chart of RTT over time. Where probes outnumber columns, one column has several: it spans
    their shortest and longest RTT, and x stands where all of them were lost, · where some were."""
    cells = max(1, min(len(series), width - _LABEL_CELLS - 2 - _END_CELLS))
    columns = [
        series[len(series) * at // cells : len(series) * (at + 1) // cells] for at in range(cells)
    ]
    answered = [sent.rtt_ns for sent in series if sent.rtt_ns is not None]
    lines = _chart(columns, min(answered), max(answered)) if answered else []
    lost = "".join(_loss(column) for column in columns).rstrip()
    if lost:
        lines.append(f"{'lost':>{_LABEL_CELLS}}  {lost}")
    last = max((sent.at_ns for sent in series), default=0)
    lines.append(f"{'':{_LABEL_CELLS}} └{'─' * cells} {time(last)}"[:width])
    if lost and answered:
        # The axis belongs between the times and the losses.
        lines[-1], lines[-2] = lines[-2], lines[-1]
    return [fitted(line, width).rstrip() for line in lines]


def _chart(columns: Sequence[Sequence[Sent]], low_ns: int, high_ns: int) -> list[str]:
    rows = _ROWS if high_ns > low_ns else 1
    drawn = [_column(column, low_ns, high_ns, rows) for column in columns]
    lines = []
    for row in reversed(range(rows)):
        label = ""
        if row in {0, rows - 1}:
            label = time(high_ns if row else low_ns)
        lines.append(f"{label:>{_LABEL_CELLS}} ┤{''.join(column[row] for column in drawn)}")
    return [line.rstrip() for line in lines]


def _column(column: Sequence[Sent], low_ns: int, high_ns: int, rows: int) -> str:
    """From the bottom up."""
    rtts = [sent.rtt_ns for sent in column if sent.rtt_ns is not None]
    if not rtts:
        return " " * rows
    step_ns = (high_ns - low_ns) / rows or 1
    first, last = (
        min(rows - 1, math.floor((edge - low_ns) / step_ns)) for edge in (min(rtts), max(rtts))
    )
    if first == last:
        return " " * first + POINT + " " * (rows - first - 1)
    return " " * first + SPAN * (last - first + 1) + " " * (rows - last - 1)


def _loss(column: Sequence[Sent]) -> str:
    lost = sum(1 for sent in column if sent.rtt_ns is None)
    return " " if not lost else LOST if lost == len(column) else SOME_LOST
