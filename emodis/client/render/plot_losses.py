"""Loss per hop with its interval: it begins where the intervals leave zero for good. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from emodis.client.render.decoded import Decoded
from emodis.client.render.drawing import fitted, span, widest
from emodis.client.render.loss import shows, starts_here
from emodis.client.render.plot_gaps import Line
from emodis.client.render.words import address, percent
from emodis.wire.v1.loss_pb2 import LossResult

LEGEND = "● share of the probes lost on the way there and back, ├┤ its 95 % interval"
_LONGEST_NAME = 39
_NUMBER_CELLS = 6
_LEAST_CELLS = 12


def loss_lines(run: Decoded, destination: str, width: int) -> list[Line]:
    """The legend, a line for each hop that was asked, and one for the destination."""
    result: LossResult = run.value
    most_ratio = max(result.loss_high_ratio, *(h.loss_high_ratio for h in result.hops), 1e-6)
    end = f"→ {destination}"
    name_cells = widest(
        [end, *(address(hop.address) for hop in result.hops)], most=min(_LONGEST_NAME, width // 3)
    )
    words = {hop.ttl: shows(hop) for hop in result.hops}
    # hop, name and number before, the words behind
    fixed = 3 + 2 + name_cells + 2 + _NUMBER_CELLS + 1
    tail = max((len(text) + 2 for text in words.values() if text), default=0)
    cells = max(_LEAST_CELLS, width - fixed - tail - 1)
    lines = [Line(LEGEND), Line(f"{'hop':>3}  {'':{name_cells}}  {'lost':>{_NUMBER_CELLS}}")]

    def line(ttl: str, name: str, ratios: Sequence[float], said: str, *, marked: bool) -> Line:
        number = percent(ratios[1]) if ratios else ""
        low, middle, high = (ratio / most_ratio for ratio in ratios) if ratios else (0.0, 0.0, 0.0)
        drawn = span(low, middle, high, cells) if ratios else ""
        text = f"{ttl:>3}  {fitted(name, name_cells)}  {number:>{_NUMBER_CELLS}} {drawn}"
        text += f"  {said}" if said else ""
        return Line(fitted(text, width).rstrip(), marked=marked)

    for hop in result.hops:
        ratios = (hop.loss_low_ratio, hop.loss_ratio, hop.loss_high_ratio) if hop.answered else ()
        first = starts_here(hop, result)
        said = f"◀ {words[hop.ttl]}" if first and words[hop.ttl] else words[hop.ttl]
        lines.append(line(str(hop.ttl), address(hop.address), ratios, said, marked=first))
    whole = (result.loss_low_ratio, result.loss_ratio, result.loss_high_ratio)
    lines.append(line("", end, whole, "", marked=False))
    scale = f"0{percent(most_ratio):>{cells - 1}}"
    lines.append(Line(fitted(" " * fixed + scale, width).rstrip()))
    return lines
