"""Landmarks: the few agents whose routes cover the known branches of the destinations.

Greedy cover (within ln(branches) + 1 of the optimum), explained pick by pick. One agent has one
vote: what it claims is capped, and its weight is shared out over what it claims, so that nobody
can buy its selection with invented branches.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import attrs

MAX_BRANCHES_PER_AGENT = 64
# What a branch counts that only neighbours are known to be reached by (TECHNIQUES.md 5).
DOUBT = 0.5
# Weights are sums of fractions; gains below this are rounding.
_NOTHING = 1e-9


@attrs.frozen(kw_only=True)
class Landmark:
    """An agent that may be picked. `asn` 0 = unknown; `branches` in a stable order.

    `rtt_ns` to what is to be measured, 0 = not known. What is `doubtful` of its branches was seen
    at neighbours only and counts half.
    """

    id: str
    load: float = 0.0
    asn: int = 0
    place: str = ""
    rtt_ns: int = 0
    branches: tuple[Hashable, ...] = ()
    doubtful: frozenset[Hashable] = frozenset()


@attrs.frozen(kw_only=True)
class Pick:
    """One choice: the branches that it adds; none if it was taken for diversity."""

    landmark: Landmark
    new: tuple[Hashable, ...]


@attrs.frozen(kw_only=True)
class Cover:
    """What was picked, in order, and what stays uncovered."""

    picks: tuple[Pick, ...]
    known: tuple[Hashable, ...]
    uncovered: tuple[Hashable, ...]


def cover(
    landmarks: Sequence[Landmark], *, max_agents: int, coverage_ratio: float, at_least: int
) -> Cover:
    """Pick agents until the wished share of the branches' weight is covered.

    Ties go to the lower load, then to an AS not picked yet, a place not picked yet, the shorter
    RTT, the smaller id. Where fewer than `at_least` cover everything, more are added for diversity.
    Without any known branch that is all there is: up to `max_agents` from different ASes.
    """
    weights = _weights(landmarks)
    picks = _without_idle(
        _greedy(landmarks, weights, max_agents=max_agents, coverage_ratio=coverage_ratio)
    )
    wanted = min(at_least, max_agents, len(landmarks))
    if not weights:
        wanted = max(wanted, min(max_agents, _different_ases(landmarks)))
    while len(picks) < wanted:
        picks.append(Pick(landmark=_most_different(landmarks, picks), new=()))
    covered = {branch for pick in picks for branch in _claims(pick.landmark)}
    return Cover(
        picks=tuple(picks),
        known=tuple(weights),
        uncovered=tuple(branch for branch in weights if branch not in covered),
    )


def _claims(landmark: Landmark) -> tuple[Hashable, ...]:
    return tuple(dict.fromkeys(landmark.branches))[:MAX_BRANCHES_PER_AGENT]


def _weights(landmarks: Sequence[Landmark]) -> dict[Hashable, float]:
    """For each branch the agents behind it, each of which has a weight of 1 in all."""
    weights: dict[Hashable, float] = {}
    for landmark in landmarks:
        claims = _claims(landmark)
        for branch in claims:
            trust = DOUBT if branch in landmark.doubtful else 1.0
            weights[branch] = weights.get(branch, 0.0) + trust / len(claims)
    return weights


def _greedy(
    landmarks: Sequence[Landmark],
    weights: dict[Hashable, float],
    *,
    max_agents: int,
    coverage_ratio: float,
) -> list[Pick]:
    open_weights = dict(weights)
    allowed_gap = (1 - coverage_ratio) * sum(weights.values()) + _NOTHING
    left = list(landmarks)
    picks: list[Pick] = []
    while left and len(picks) < max_agents and sum(open_weights.values()) > allowed_gap:
        asns = {pick.landmark.asn for pick in picks} - {0}
        places = {pick.landmark.place for pick in picks} - {""}
        best = min(left, key=lambda landmark: _rank(landmark, open_weights, asns, places))
        new = tuple(branch for branch in _claims(best) if branch in open_weights)
        if not new:
            break
        picks.append(Pick(landmark=best, new=new))
        left.remove(best)
        for branch in new:
            del open_weights[branch]
    return picks


def _without_idle(picks: Sequence[Pick]) -> list[Pick]:
    """Drop what later picks made superfluous, and tell again what each of the others adds."""
    kept = list(picks)
    for pick in picks:
        others = {b for other in kept if other is not pick for b in _claims(other.landmark)}
        if set(_claims(pick.landmark)) <= others:
            kept.remove(pick)
    seen: set[Hashable] = set()
    told = []
    for pick in kept:
        new = tuple(branch for branch in _claims(pick.landmark) if branch not in seen)
        seen.update(new)
        told.append(Pick(landmark=pick.landmark, new=new))
    return told


def _rank(
    landmark: Landmark, open_weights: dict[Hashable, float], asns: set[int], places: set[str]
) -> tuple[float, float, bool, bool, float, str]:
    gain = sum(open_weights.get(branch, 0.0) for branch in _claims(landmark))
    return (
        -round(gain, 9),
        landmark.load,
        landmark.asn in asns,
        landmark.place in places,
        landmark.rtt_ns or math.inf,
        landmark.id,
    )


def _different_ases(landmarks: Sequence[Landmark]) -> int:
    """How many ASes there are; an agent of unknown AS counts as one of its own."""
    known = {landmark.asn for landmark in landmarks} - {0}
    return len(known) + sum(1 for landmark in landmarks if landmark.asn == 0)


def _most_different(landmarks: Sequence[Landmark], picks: Sequence[Pick]) -> Landmark:
    chosen = {pick.landmark.id for pick in picks}
    ases = {pick.landmark.asn for pick in picks} - {0}
    places = {pick.landmark.place for pick in picks} - {""}
    left = [landmark for landmark in landmarks if landmark.id not in chosen]
    return min(left, key=lambda one: (one.asn in ases, one.place in places, one.load, one.id))
