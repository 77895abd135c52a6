"""Where on a path loss begins, from what each hop lost. Pure arithmetic over Wilson bounds.

A probe that reaches a hop has passed all hops before it, so loss cannot shrink along the path. A
hop that loses surely more than one behind it therefore drops its own answers, and shows nothing
(TECHNIQUES.md section 2, ICMP rate limiting). For the same reason what a hop loses is bounded by
what its neighbours lose: from above by hops behind it, from below by those before it. That pools
the few answers of routers that answer rarely.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import attrs

from emodis.techniques.stats import wilson

# Bounds of 95 %; a place found by them was wrong in 3 of 980 simulated runs.
_SURE_Z = 1.96
# Losses before a place that are less than this share of the path's are not its beginning.
_LEAST_SHARE = 0.1
_LEAST_LOST = 2


@attrs.frozen
class Seen:
    """What one hop lost of the probes that asked it; the destination's is the last."""

    ttl: int
    asked: float
    lost: float

    @property
    def ratio(self) -> float:
        return self.lost / self.asked if self.asked else 0.0

    @property
    def bounds(self) -> tuple[float, float]:
        return wilson(self.lost, self.asked, _SURE_Z)


@attrs.frozen
class Place:
    """Loss begins behind hop `after` (0 = the measuring host) and not behind hop `until`.

    Behind hop `more_after` surely more is lost.
    """

    after: int
    until: int
    more_after: int | None


def unreliable(path: Sequence[Seen]) -> frozenset[int]:
    """TTLs of hops that lost surely more than one behind them.

    Args:
        path: hops that answered at all, in path order, the destination last.
    """
    return frozenset(
        hop.ttl
        for index, hop in enumerate(path)
        if any(behind.bounds[1] < hop.bounds[0] for behind in path[index + 1 :])
    )


def locate(path: Sequence[Seen]) -> Place | None:
    """Where the loss begins; None if too little was lost to be found anywhere.

    Args:
        path: as for `unreliable`, without the hops that are.
    """
    *_, destination = path
    if destination.lost < _LEAST_LOST:
        return None
    least_ratio = _LEAST_SHARE * destination.ratio
    lows = list(accumulate((_at_least(path, index) for index in range(len(path))), max))
    highs = list(accumulate((_at_most(path, index) for index in reversed(range(len(path)))), min))
    highs.reverse()
    until = next(
        (i for i, low in enumerate(lows) if low > least_ratio and _lost_so_far(path, i)),
        len(path) - 1,
    )
    before = [hop.ttl for hop, high in zip(path[:until], highs, strict=False) if high < lows[until]]
    more = [path[i].ttl for i in range(until, len(path) - 1) if highs[i] < destination.bounds[0]]
    return Place(
        after=before[-1] if before else 0,
        until=path[until].ttl,
        more_after=more[-1] if more else None,
    )


def _lost_so_far(path: Sequence[Seen], index: int) -> bool:
    return sum(hop.lost for hop in path[: index + 1]) >= _LEAST_LOST


def _at_least(path: Sequence[Seen], index: int) -> float:
    """What this hop loses at least: no less than any run of hops that ends with it."""
    return max(_pooled(path[start : index + 1]).bounds[0] for start in range(index + 1))


def _at_most(path: Sequence[Seen], index: int) -> float:
    """What it loses at most: no more than any run of hops that begins with it."""
    return min(_pooled(path[index:end]).bounds[1] for end in range(index + 1, len(path) + 1))


def _pooled(hops: Sequence[Seen]) -> Seen:
    return Seen(hops[-1].ttl, sum(hop.asked for hop in hops), sum(hop.lost for hop in hops))
