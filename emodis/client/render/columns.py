"""Tables of plain columns that keep their numbers whole on a narrow terminal.

(rich's tables take from every column alike, so that an 80-column terminal showed "9.6 Mb…".)
Only columns declared `gives` are shortened, and only as far as needed. A last column of sentences
goes on below itself.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

import attrs
from rich.cells import cell_len, set_cell_size

from emodis.client.render.words import printable

BETWEEN = "  "
LEAST_CELLS = 8
# A sentence in a narrower column is no pleasure to read: rather shorten the others.
LEAST_SENTENCE_CELLS = 40


@attrs.frozen
class Column:
    """One column; `right` for numbers, `gives` for what may be cut.

    `wraps` is for sentences, in the last column: nothing of them is left out.
    """

    heading: str
    right: bool = False
    gives: bool = False
    wraps: bool = False


@attrs.frozen
class Row:
    """One line of cells; a `marked` one stands out."""

    cells: Sequence[str]
    marked: bool = False


@attrs.define
class Grid:
    """Headings and rows. Columns in which nothing stands are left out."""

    columns: Sequence[Column]
    rows: list[Row] = attrs.field(factory=list)

    def add(self, *cells: str, marked: bool = False) -> None:
        """One more line; a cell for every column."""
        assert len(cells) == len(self.columns)
        self.rows.append(Row([printable(cell) for cell in cells], marked))

    def lines(self, width: int) -> list[Row]:
        """The heading and the rows, each as one laid-out cell, none longer than `width` if the
        columns that give allow it."""
        shown = [n for n in range(len(self.columns)) if any(row.cells[n] for row in self.rows)]
        widths = self._widths(shown, width)
        heading = Row([column.heading for column in self.columns])
        return [
            Row([self._laid_out(part, shown, widths)], row.marked)
            for row in (heading, *self.rows)
            for part in self._parts(row, shown, widths)
        ]

    def _parts(self, row: Row, shown: Sequence[int], widths: dict[int, int]) -> Iterator[Row]:
        """The row, and what of its last cell needs lines of its own."""
        last = shown[-1] if shown else -1
        if last < 0 or not self.columns[last].wraps:
            yield row
            return
        first, *others = textwrap.wrap(row.cells[last], widths[last]) or [""]
        yield Row([*row.cells[:last], first])
        for other in others:
            yield Row([*("" for _ in row.cells[:last]), other])

    def _widths(self, shown: Sequence[int], width: int) -> dict[int, int]:
        widths = {
            n: max(
                cell_len(self.columns[n].heading), *(cell_len(row.cells[n]) for row in self.rows)
            )
            for n in shown
        }
        over = sum(widths.values()) + len(BETWEEN) * (len(shown) - 1) - width
        for n in shown:
            if self.columns[n].wraps and over > 0:
                narrower = max(widths[n] - over, min(widths[n], LEAST_SENTENCE_CELLS))
                over -= widths[n] - narrower
                widths[n] = narrower
        giving = [n for n in shown if self.columns[n].gives]
        while over > 0 and giving:
            widest = max(giving, key=lambda n: widths[n])
            if widths[widest] <= LEAST_CELLS:
                break
            widths[widest] -= 1
            over -= 1
        return widths

    def _laid_out(self, row: Row, shown: Sequence[int], widths: dict[int, int]) -> str:
        cells = [_fit(row.cells[n], widths[n], right=self.columns[n].right) for n in shown]
        return BETWEEN.join(cells).rstrip()


def _fit(text: str, width: int, *, right: bool) -> str:
    length = cell_len(text)
    if length > width:
        return set_cell_size(text, width - 1) + "…"
    blank = " " * (width - length)
    return blank + text if right else text + blank
