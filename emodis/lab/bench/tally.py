"""Trials counted: shares with their Wilson intervals, errors and cost. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import attrs

from emodis.lab.bench.trial import Trial
from emodis.techniques.stats import median, nearest_rank, wilson


@attrs.frozen(kw_only=True)
class Share:
    """So many of so many, with the 95 % interval of the share behind them."""

    label: str
    hits: int
    trials: int
    # Trials without any result; they are no hits.
    failed: int
    median_bound_error_ratio: float | None
    median_s: float | None
    p90_s: float | None
    median_packets: float | None
    median_bytes: float | None

    @property
    def interval(self) -> tuple[float, float]:
        return wilson(self.hits, self.trials)

    def as_json(self) -> dict[str, Any]:
        low, high = self.interval
        return {**attrs.asdict(self), "low_ratio": low, "high_ratio": high}

    def row(self) -> str:
        """A line of the table that `HEADING` begins."""
        low, high = self.interval
        share = f"{self.hits}/{self.trials}"
        times = f"{_word(self.median_s)} / {_word(self.p90_s)}"
        return (
            f"{self.label:<44}{share:>9}  {low:4.0%} to {high:4.0%}"
            f"{_word(self.median_bound_error_ratio, 100):>9}{times:>15}"
            f"{_word(self.median_packets, 1, 0):>9}{_word(self.median_bytes, 1e-3, 0):>7}"
        )


HEADING = (
    f"{'':<44}{'k/n':>9}  {'95 % interval':<12}{'error %':>8}{'s, 50 / 90 %':>15}"
    f"{'packets':>9}{'kB':>7}"
)


def tally(trials: Sequence[Trial]) -> list[Share]:
    """Every group that has a trial in it, the ones with targets first."""
    found = [trial for trial in trials if trial.kind != "flat"]
    open_hops = [trial for trial in found if trial.kind not in {"quiet", "lossy"}]
    clear = [trial for trial in open_hops if trial.clear]
    groups: list[tuple[str, Iterable[Trial], Callable[[Trial], bool]]] = [
        ("right link, clear, idle", [t for t in clear if not t.cross_ratio], _right),
        ("right link, clear, 30 to 70 % load", [t for t in clear if _medium(t)], _right),
        ("right link, clear, other loads", [t for t in clear if _other_load(t)], _right),
        (
            "  of those, bottleneck on the first link",
            [t for t in clear if t.choke_ttl == 1],
            _right,
        ),
        ("  bottleneck on the last link", [t for t in clear if t.choke_ttl == t.links], _right),
        ("right link, not clear", [t for t in open_hops if not t.clear], _right),
        ("right link, silent or limited routers", _of(trials, "quiet"), _right),
        ("right link, loss on the way", _of(trials, "lossy"), _right),
        ("false bottleneck on a flat path", _of(trials, "flat"), _false),
    ]
    return [_share(label, list(group), hit) for label, group, hit in groups if list(group)]


def _of(trials: Sequence[Trial], kind: str) -> list[Trial]:
    return [trial for trial in trials if trial.kind == kind]


def _right(trial: Trial) -> bool:
    return trial.right


def _false(trial: Trial) -> bool:
    return trial.false


def _medium(trial: Trial) -> bool:
    return 0.3 <= trial.cross_ratio <= 0.7


def _other_load(trial: Trial) -> bool:
    return trial.cross_ratio > 0 and not _medium(trial)


def _share(label: str, trials: Sequence[Trial], hit: Callable[[Trial], bool]) -> Share:
    measured = [trial for trial in trials if trial.named_ttl >= 0]
    errors = [e for trial in trials if (e := trial.bound_error_ratio) is not None]
    times = [trial.duration_s for trial in measured]
    return Share(
        label=label,
        hits=sum(map(hit, trials)),
        trials=len(trials),
        failed=len(trials) - len(measured),
        median_bound_error_ratio=median(errors) if errors else None,
        median_s=median(times) if times else None,
        p90_s=nearest_rank(times, 0.9) if times else None,
        median_packets=median([t.sent_packets for t in measured]) if measured else None,
        median_bytes=median([t.sent_bytes for t in measured]) if measured else None,
    )


def _word(value: float | None, factor: float = 1.0, digits: int = 1) -> str:
    return "-" if value is None else f"{value * factor:.{digits}f}"
