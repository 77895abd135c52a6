"""Where the trains grow longer: choke points from gaps (TECHNIQUES.md 3.5). Pure arrays.

A position is a place on the path at which the train's length is known: position 0 is hop 0 (the
train as the sender queued it) or the first hop that could be measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs

from emodis.techniques.pathneck_batches import scatter_ns
from emodis.techniques.segmentation import Threshold, segment_levels, smooth, split
from emodis.techniques.stats import median, median_error, scaled_mad

# A hop counts with so many valid gaps, and in at least half of the trains.
LEAST_VALID = 3
# A train votes for a step if its own gaps grow by more than this.
VOTE_RATIO = 1.1
# It wins with this share of the votes.
VOTE_SHARE = 0.5
# Hops on either side that a vote looks at.
VOTE_WINDOW = 3
# A jump of so many noises is beyond doubt.
SURE_JUMP = 6.0
# One of fewer standard errors of the very places on its two sides is none. More would cost true
# steps at busy links, whose gaps scatter for the same reason that they grow.
OWN_ERRORS = 2.0
# The drop of the rate that should be visible.
WISHED_DROP = 0.30

Gaps = Sequence[float | None]


@attrs.frozen(kw_only=True)
class Step:
    """A choke point: the train grows on the link that ends at `position`."""

    position: int
    detection_ratio: float
    jump_ns: float
    level_ns: float
    confidence: float


@attrs.frozen(kw_only=True)
class Profile:
    """What the trains look like along the path. All lists have one entry a position.

    `resolution_ratio` is the smallest relative drop of the rate that would have been seen.
    """

    gap_ns: list[float]
    mad_ns: list[float]
    level_ns: list[float]
    steps: tuple[Step, ...]
    noise_ns: float
    resolution_ratio: float
    # Splits that the medians suggest and the trains do not bear out, as (position, share).
    outvoted: tuple[tuple[int, float], ...]

    @property
    def bottleneck(self) -> Step | None:
        """The step up to the highest level: the train leaves no link slower than that one."""
        return max(self.steps, key=lambda step: step.level_ns, default=None)


def usable(trains: Sequence[Gaps]) -> list[int]:
    """Positions with enough valid gaps: at least three, and in half of the trains."""
    width = max((len(train) for train in trains), default=0)
    counts = [sum(_valid(train, at) is not None for train in trains) for at in range(width)]
    least = max(LEAST_VALID, math.ceil(len(trains) / 2))
    return [at for at, count in enumerate(counts) if count >= least]


def profile(trains: Sequence[Gaps], *, threshold: Threshold | None = None) -> Profile:
    """Find the choke points.

    Args:
        trains: shape (trains, positions); normalised gaps in ns, None or a number that is no
            positive finite length where there is none. Only usable positions belong in here.
        threshold: other limits than the defaults; its noise is replaced by what is measured.
    """
    width = max((len(train) for train in trains), default=0)
    columns = _columns(trains, width)
    gap_ns = [median(column) if column else 0.0 for column in columns]
    errors = [median_error(column) if column else 0.0 for column in columns]
    known = [error for error, column in zip(errors, columns, strict=True) if column]
    noise_ns = max(median(known) if known else 0.0, scatter_ns(columns))
    limits = attrs.evolve(threshold or Threshold(noise_ns=0.0), noise_ns=noise_ns)
    flat = smooth(gap_ns)
    candidates = split(flat, limits)
    shares = _votes(trains, candidates, width)
    wins = [at for at in candidates if shares[at] >= VOTE_SHARE]
    splits = _standing_out(flat, wins, errors)
    levels = segment_levels(flat, splits)
    return Profile(
        gap_ns=gap_ns,
        mad_ns=[scaled_mad(column) if column else 0.0 for column in columns],
        level_ns=levels,
        steps=tuple(
            _step(at, levels, shares[at], noise_ns) for at in splits if levels[at] > levels[at - 1]
        ),
        noise_ns=noise_ns,
        resolution_ratio=_resolution(levels, limits),
        outvoted=tuple((at, shares[at]) for at in candidates if at not in splits),
    )


def settled(trains: Sequence[Gaps], *, planned: int, from_sender: bool = False) -> bool:
    """True if the trains still to come can hardly change the answer.

    That is: all votes agree and decide whatever the rest say, every jump is beyond doubt, a drop
    of WISHED_DROP would show, and leaving out any one train names the same links. Whether the
    first link is a choke point before a greater one does not hold a set up (`from_sender`: position
    0 is the sender's): it depends on how busy this host is, and changes nothing else.
    """
    whole = profile(trains)
    if whole.resolution_ratio > WISHED_DROP:
        return False
    open_votes = planned - len(trains)
    first = _undecided_first(whole) if from_sender else 0
    for step in (step for step in whole.steps if step.position > first):
        if step.detection_ratio < 1 or len(trains) < VOTE_SHARE * planned:
            return False
        if step.jump_ns < SURE_JUMP * whole.noise_ns:
            return False
    for position, share in whole.outvoted:
        if position > first and share * len(trains) + open_votes >= VOTE_SHARE * planned:
            return False
    places = _places(whole, first)
    return all(
        _places(profile([*trains[:i], *trains[i + 1 :]]), first) == places
        for i in range(len(trains))
    )


def _undecided_first(whole: Profile) -> int:
    """1 where the first link is not the bottleneck, so that it need not be decided; else 0."""
    return 1 if whole.bottleneck is not None and whole.bottleneck.position > 1 else 0


def _places(whole: Profile, first: int) -> list[int]:
    return [step.position for step in whole.steps if step.position > first]


def _columns(trains: Sequence[Gaps], width: int) -> list[list[float]]:
    """The gaps of each position, from trains that have all of them if these are enough.

    Trains differ under load; medians of neighbours over different trains would differ for no
    other reason.
    """
    complete = [
        train for train in trains if all(_valid(train, at) is not None for at in range(width))
    ]
    chosen = complete if len(complete) >= max(LEAST_VALID, 0.6 * len(trains)) else trains
    return [
        [gap for train in chosen if (gap := _valid(train, at)) is not None] for at in range(width)
    ]


def _valid(train: Gaps, at: int) -> float | None:
    gap = train[at] if at < len(train) else None
    if gap is None or not math.isfinite(gap) or gap <= 0:
        return None
    return float(gap)


def _votes(trains: Sequence[Gaps], candidates: Sequence[int], width: int) -> dict[int, float]:
    """For each candidate the share of the trains, of those that can tell, that step up there."""
    shares: dict[int, float] = {}
    bounds = [0, *candidates, width]
    for before, at, after in zip(bounds, bounds[1:], bounds[2:], strict=False):
        votes = [
            _steps_up(
                train,
                range(max(before, at - VOTE_WINDOW), at),
                range(at, min(after, at + VOTE_WINDOW)),
            )
            for train in trains
        ]
        cast = [vote for vote in votes if vote is not None]
        shares[at] = sum(cast) / len(cast) if len(cast) >= LEAST_VALID else 0.0
    return shares


def _standing_out(
    levels_ns: Sequence[float], splits: Sequence[int], errors_ns: Sequence[float]
) -> list[int]:
    """The splits whose jump is not what their own places scatter by.

    The noise of the whole path is that of its middle place; answers of a few places, the last one
    above all, may queue on the way back where the others' do not pass.
    """
    found = []
    bounds = [0, *splits, len(levels_ns)]
    for start, at, end in zip(bounds, bounds[1:], bounds[2:], strict=False):
        low, high = slice(start, at), slice(at, end)
        jump_ns = median(levels_ns[high]) - median(levels_ns[low])
        error_ns = math.hypot(median(errors_ns[low]), median(errors_ns[high]))
        if jump_ns >= OWN_ERRORS * error_ns:
            found.append(at)
    return found


def _steps_up(train: Gaps, low: range, high: range) -> bool | None:
    before = [gap for at in low if (gap := _valid(train, at)) is not None]
    after = [gap for at in high if (gap := _valid(train, at)) is not None]
    if not before or not after:
        return None
    return median(after) > VOTE_RATIO * median(before)


def _step(at: int, levels: Sequence[float], share: float, noise_ns: float) -> Step:
    jump_ns = levels[at] - levels[at - 1]
    certainty = min(1.0, jump_ns / (SURE_JUMP * noise_ns)) if noise_ns > 0 else 1.0
    return Step(
        position=at,
        detection_ratio=share,
        jump_ns=jump_ns,
        level_ns=levels[at],
        confidence=share * max(0.0, certainty),
    )


def _resolution(levels: Sequence[float], limits: Threshold) -> float:
    """The smallest drop of the rate visible on the last link, behind which is only one hop."""
    if not levels or levels[-1] <= 0:
        return 1.0
    return 1 - 1 / (1 + limits.step_ns(levels[-1], 1) / levels[-1])
