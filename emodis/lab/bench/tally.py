"""Trials counted: shares with their Wilson intervals, errors and cost. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from emodis.lab.bench.trial import Trial
from emodis.techniques.stats import median, nearest_rank, wilson

# What an error is counted in: its suffix in JSON, how it is written, and the factor to that.
UNITS = {"ratio": ("%", 100.0), "ns": ("µs", 1e-3), "points": ("pp", 100.0)}


@attrs.frozen(kw_only=True)
class Share:
    """So many of so many, with the 95 % interval of the share behind them.

    Errors are absolute values: of those trials that have one. `error_unit` is a key of `UNITS`:
    a share of the truth, nanoseconds, or a difference of two shares.
    """

    technique: str
    label: str
    hits: int
    trials: int
    # Trials without any result; they are no hits.
    failed: int
    error_unit: str
    median_error: float | None
    p90_error: float | None
    median_s: float | None
    p90_s: float | None
    median_packets: float | None
    median_bytes: float | None

    @property
    def ratio(self) -> float:
        return self.hits / self.trials

    @property
    def interval(self) -> tuple[float, float]:
        return wilson(self.hits, self.trials)

    def as_json(self) -> dict[str, Any]:
        low, high = self.interval
        return {**attrs.asdict(self), "low_ratio": low, "high_ratio": high}

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Share:
        return cls(**{field.name: row[field.name] for field in attrs.fields(cls)})

    def cells(self) -> tuple[str, ...]:
        """The columns of `COLUMNS`, in words."""
        low, high = self.interval
        unit, factor = UNITS[self.error_unit]
        errors = [_word(error, factor) for error in (self.median_error, self.p90_error)]
        return (
            self.label,
            f"{self.hits}/{self.trials}",
            f"{low:.0%} to {high:.0%}",
            f"{errors[0]} / {errors[1]} {unit}" if self.median_error is not None else "-",
            f"{_word(self.median_s)} / {_word(self.p90_s)}" if self.median_s is not None else "-",
            _word(self.median_packets, 1, 0),
            _word(self.median_bytes, 1e-3, 0),
        )

    def row(self) -> str:
        """A line of the table."""
        return _aligned(self.cells())


def share(
    label: str,
    trials: Sequence[Trial],
    hits: Sequence[bool],
    errors: Sequence[float | None],
    *,
    error_unit: str = "ratio",
) -> Iterator[Share]:
    """One group of one technique's trials; nothing for an empty one.

    There may be another number of hits than of trials, where a trial has many answers or none.
    """
    if not hits:
        return
    known = [abs(error) for error in errors if error is not None]
    done = [trial for trial in trials if trial.done]
    times = [trial.duration_s for trial in done]
    yield Share(
        technique=trials[0].TECHNIQUE,
        label=label,
        hits=sum(hits),
        trials=len(hits),
        failed=len(trials) - len(done),
        error_unit=error_unit,
        median_error=median(known) if known else None,
        p90_error=nearest_rank(known, 0.9) if known else None,
        median_s=median(times) if times else None,
        p90_s=nearest_rank(times, 0.9) if times else None,
        median_packets=median([trial.sent_packets for trial in done]) if done else None,
        median_bytes=median([trial.sent_bytes for trial in done]) if done else None,
    )


COLUMNS = ("", "k/n", "95 % interval", "error 50 / 90 %", "s 50 / 90 %", "packets", "kB")
WIDTHS = (44, 9, 15, 20, 14, 9, 8)


def _aligned(cells: Sequence[str]) -> str:
    first, *others = zip(cells, WIDTHS, strict=True)
    return f"{first[0]:<{first[1]}}" + "".join(f"{cell:>{width}}" for cell, width in others)


def table(shares: Sequence[Share]) -> Iterator[str]:
    """All of them, with a heading for each technique."""
    for technique, rows in itertools.groupby(shares, key=lambda share: share.technique):
        yield _aligned((technique, *COLUMNS[1:]))
        for row in rows:
            yield row.row()


def _word(value: float | None, factor: float = 1.0, digits: int = 1) -> str:
    return "-" if value is None else f"{value * factor:.{digits}f}"
