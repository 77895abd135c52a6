"""One thing measured beside a reference or a limit, as a row of a table. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import attrs


@attrs.frozen(kw_only=True)
class Comparison:
    """Ours, what it is held against (None: nothing but the limit), and what follows."""

    what: str
    # "C reference", "iputils ping"; empty where there is none.
    against: str
    unit: str
    ours: float
    other: float | None
    # What the limit is about: a difference, a ratio, an error.
    result: float
    result_unit: str
    limit: float
    # Pairs, trains or packets behind it.
    samples: int
    note: str = ""

    @property
    def met(self) -> bool:
        """Whether the target is reached; better than the reference is reached."""
        return self.result <= self.limit

    def as_json(self) -> dict[str, Any]:
        return {**attrs.asdict(self), "met": self.met}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        return cls(**{field.name: row[field.name] for field in attrs.fields(cls)})

    def cells(self) -> tuple[str, ...]:
        """The columns of `COLUMNS`, in words."""
        other = "" if self.other is None else f"{self.other:.2f} {self.unit}"
        return (
            self.what,
            f"{self.ours:.2f} {self.unit}",
            f"{self.against} {other}".strip(),
            f"{self.result:.2f} {self.result_unit}".strip(),
            f"{self.limit:g} {self.result_unit}".strip(),
            "yes" if self.met else "NO",
            str(self.samples),
            self.note,
        )


COLUMNS = ("", "Emodis", "reference", "result", "at most", "met", "samples", "")


def table(rows: Sequence[Comparison]) -> Iterator[str]:
    """Columns as wide as they must be."""
    cells = [COLUMNS, *(row.cells() for row in rows)]
    widths = [max(len(row[k]) for row in cells) for k in range(len(COLUMNS))]
    for row in cells:
        words = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(words).rstrip()
