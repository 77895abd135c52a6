"""What the figures should come to, and whether they do. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import attrs

from emodis.lab.bench.tally import Share

KB, MB = 1e3, 1e6


@attrs.frozen
class Target:
    """One demand on a row of the table, in words and as a question to it."""

    words: str
    met: Callable[[Share], bool]


def _samples(least: int) -> Target:
    return Target(f"n at least {least}", lambda share: share.trials >= least)


def _at_least(ratio: float) -> Target:
    return Target(f"at least {ratio:.0%}", lambda share: share.ratio >= ratio)


def _at_most(ratio: float) -> Target:
    return Target(f"at most {ratio:.0%}", lambda share: share.ratio <= ratio)


def _median_error(ratio: float) -> Target:
    return Target(
        f"median error at most {ratio:.0%}", lambda share: _within(share.median_error, ratio)
    )


def _p90_error(ratio: float) -> Target:
    return Target(f"90 % at most {ratio:.0%}", lambda share: _within(share.p90_error, ratio))


def _seconds(limit: float) -> Target:
    return Target(f"median at most {limit:g} s", lambda share: _within(share.median_s, limit))


def _bytes(limit: float) -> Target:
    words = f"{limit / MB:g} MB" if limit >= MB else f"{limit / KB:g} kB"
    return Target(f"at most {words}", lambda share: _within(share.median_bytes, limit))


def _within(value: float | None, limit: float) -> bool:
    return value is not None and value <= limit


# By technique and row.
TARGETS: Mapping[tuple[str, str], Sequence[Target]] = {
    ("pathneck", "right link, clear, idle"): (
        _samples(200),
        _at_least(0.97),
        _median_error(0.10),
        _seconds(6),
        _bytes(340 * KB),
    ),
    ("pathneck", "right link, clear, 30 to 70 % load"): (
        _samples(200),
        _at_least(0.90),
        _seconds(6),
        _bytes(340 * KB),
    ),
    ("pathneck", "false bottleneck on a flat path"): (_samples(100), _at_most(0.02)),
    ("igi", "within 20 %, loads 0 to 70 %"): (
        _samples(60),
        _median_error(0.05),
        _p90_error(0.20),
    ),
    ("igi", "  path of at most 40 Mbit/s"): (_seconds(5), _bytes(MB)),
    ("precise", "within 20 %, loads 0 to 70 %"): (
        _samples(60),
        _median_error(0.03),
        _p90_error(0.10),
    ),
    ("precise", "  path of at most 40 Mbit/s"): (_seconds(20), _bytes(3 * MB)),
    ("broute", "all ways in are right"): (_at_least(0.90),),
    ("broute", "bounds of branches within 20 %"): (_median_error(0.20),),
}


def verdict(share: Share) -> str:
    """What is demanded of this row, with yes or no; empty where nothing is."""
    targets = TARGETS.get((share.technique, share.label), ())
    return ", ".join(f"{one.words}: {'yes' if one.met(share) else 'NO'}" for one in targets)
