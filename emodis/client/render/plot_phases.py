"""IGI's phases as bars: how far apart probes left and arrived, and where that is the same. Pure."""

from __future__ import annotations

from emodis.client.render.bandwidth import answer_bps
from emodis.client.render.drawing import bar, fitted
from emodis.client.render.plot_gaps import Line
from emodis.client.render.words import megabits, percent, rate
from emodis.techniques.stats import NS_PER_S, NS_PER_US
from emodis.wire.v1.igi_pb2 import IgiPhase, IgiResult

LEGEND = "█ gap between probes as they arrived, ┃ as they left; fastest first"
BURST = "burst"
# Below, a phase arrived as it was sent for all that one can see.
LEAST_GROWTH = 0.005
_NUMBER_CELLS = 7
_LEAST_BAR_CELLS = 8
# "  +100 %"
_GROWTH_CELLS = 8


def phase_lines(result: IgiResult, width: int) -> list[Line]:
    """The legend, a line a phase by the gap that left, and the turning point where it is."""
    # The search begins with it, and nothing else is as fast.
    burst = min(result.phases, key=lambda phase: phase.gap_in_ns, default=None)
    phases = sorted(result.phases, key=lambda phase: phase.gap_in_ns)
    most_ns = max((max(phase.gap_in_ns, phase.gap_out_ns) for phase in phases), default=0)
    if not most_ns:
        return []
    cells = max(_LEAST_BAR_CELLS, width - 2 * (_NUMBER_CELLS + 2) - _GROWTH_CELLS - 1)
    head = f"{'Mbit/s':>{_NUMBER_CELLS}}  {'gap µs':>{_NUMBER_CELLS}}"
    lines = [Line(fitted(LEGEND, width).rstrip()), Line(head)]
    turning = _turning(result, width)
    for phase in phases:
        if turning is not None and phase.gap_in_ns >= _turning_gap_ns(result, phase.size_bytes):
            lines.append(turning)
            turning = None
        sent = BURST if phase is burst else megabits(_rate_bps(phase))
        lines.append(_line(sent, phase, most_ns, cells, width))
    return lines if turning is None else [*lines, turning]


def _line(sent: str, phase: IgiPhase, most_ns: int, cells: int, width: int) -> Line:
    gap_us = round(phase.gap_out_ns / NS_PER_US)
    drawn = bar(phase.gap_out_ns / most_ns, cells, [phase.gap_in_ns / most_ns])
    text = f"{sent:>{_NUMBER_CELLS}}  {gap_us:>{_NUMBER_CELLS}}  {drawn}"
    growth = phase.gap_out_ns / max(1, phase.gap_in_ns) - 1
    if growth >= LEAST_GROWTH and sent != BURST:
        text += f"  +{percent(growth)}"
    return Line(fitted(text, width).rstrip())


def _rate_bps(phase: IgiPhase) -> float:
    return phase.size_bytes * 8 * NS_PER_S / max(1, phase.gap_in_ns)


def _turning(result: IgiResult, width: int) -> Line | None:
    bps = answer_bps(result)
    if not bps:
        return None
    text = f"{megabits(bps):>{_NUMBER_CELLS}}  ◀ turning point: {rate(bps)} are available"
    return Line(fitted(text, width).rstrip(), marked=True)


def _turning_gap_ns(result: IgiResult, size_bytes: int) -> float:
    return size_bytes * 8 * NS_PER_S / answer_bps(result)
