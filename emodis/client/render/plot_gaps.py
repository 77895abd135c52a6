"""Pathneck's gaps as bars, one a hop: where a bar grows and stays long, a link is slow. Pure."""

from __future__ import annotations

import attrs

from emodis.client.render.decoded import Decoded
from emodis.client.render.drawing import bar, fitted, widest
from emodis.client.render.words import address, milliseconds, rate
from emodis.wire.v1.techniques_pb2 import PathneckHop, PathneckResult

LEGEND = "█ gap of the trains as they reached the hop, ┃ the level it belongs to"
_LONGEST_NAME = 39
_NUMBER_CELLS = 6
_LEAST_BAR_CELLS = 8


@attrs.frozen
class Line:
    """One line; a marked one stands out."""

    text: str
    marked: bool = False


def gap_lines(run: Decoded, width: int, host: str) -> list[Line]:
    """The legend and a line a hop, hop 0 being the measuring host itself."""
    result: PathneckResult = run.value
    most_ns = max(
        [result.hop0_gap_ns, *(max(hop.gap_ns, hop.level_ns) for hop in result.hops)], default=0
    )
    if not most_ns:
        return []
    words = {hop.ttl: _words(hop, result) for hop in result.hops}
    names = [host, *(address(hop.address) for hop in result.hops)]
    name_cells = widest(names, most=min(_LONGEST_NAME, width // 3))
    # hop, name, number, and what stands behind the longest bar
    fixed = 3 + 2 + name_cells + 2 + _NUMBER_CELLS + 1
    tail = max((len(text) + 2 for text in words.values() if text), default=0)
    cells = max(_LEAST_BAR_CELLS, width - fixed - tail - 1)
    lines = [Line(LEGEND), Line(f"{'hop':>3}  {'':{name_cells}}  {'gap ms':>{_NUMBER_CELLS}}")]
    if result.HasField("hop0_gap_ns"):
        drawn = bar(result.hop0_gap_ns / most_ns, cells)
        lines.append(_line(0, host, name_cells, result.hop0_gap_ns, drawn, "", width))
    for hop in result.hops:
        gap_ns = hop.gap_ns if hop.HasField("gap_ns") else None
        marks = [hop.level_ns / most_ns] if hop.HasField("level_ns") else []
        drawn = "" if gap_ns is None else bar(gap_ns / most_ns, cells, marks)
        name, said = address(hop.address), words[hop.ttl]
        lines.append(_line(hop.ttl, name, name_cells, gap_ns, drawn, said, width))
    return lines


def _line(
    ttl: int, name: str, name_cells: int, gap_ns: int | None, drawn: str, said: str, width: int
) -> Line:
    number = "" if gap_ns is None else milliseconds(gap_ns)
    text = f"{ttl:>3}  {fitted(name, name_cells)}  {number:>{_NUMBER_CELLS}} {drawn}"
    if said:
        text = f"{text}  {said}"
    return Line(fitted(text, width).rstrip(), marked=said.startswith("◀"))


def _words(hop: PathneckHop, result: PathneckResult) -> str:
    bound = f" ≤ {rate(hop.bound_bps)}" if hop.HasField("bound_bps") else ""
    if result.HasField("bottleneck") and hop.ttl == result.bottleneck.ttl:
        return f"◀ bottleneck{bound}"
    return f"◁ choke{bound}" if hop.choke_point else ""
