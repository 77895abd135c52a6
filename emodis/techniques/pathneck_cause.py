"""Why the bottleneck is one: a slow link, or a busy one; and what a token bucket hides. Pure.

A link of capacity C with cross traffic X makes trains of B bytes that arrive g_in long leave
g_out = B/C + (X/C) g_in long, as long as they queue there: trains of another spacing tell X/C from
B/C, which one length alone cannot (TECHNIQUES.md 3.8). A token bucket lets its first b bytes pass
at once, g_out = (B - b)/C: trains of another size tell b, by which the rate seems too high.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs

from emodis.techniques import pathneck_gaps as gaps
from emodis.techniques.pathneck_estimator import Profile, Step
from emodis.techniques.pathneck_gaps import Readings
from emodis.techniques.stats import NS_PER_S, median, scaled_mad
from emodis.wire.v1.techniques_pb2 import Cause, PathneckObservations, PathneckTrain

# Trains of the other size and of the other spacing.
SHORT_TRAINS, SPACED_TRAINS = 2, 3
# Spaced trains arrive at this multiple of the rate at which unspaced ones leave: they still queue.
SPACED_RATIO = 1.2
# Others' share of a link beyond which it is busy, and below which it is not.
_BUSY, _IDLE = 0.10, 0.25
_SIGMAS = 3.0
# A bucket may be told on less: a wrong one moves rates by no more than the noise of the gaps does.
_BUCKET_SIGMAS = 2.0
# No gap is known better than this, whatever a few trains say of their scatter.
_LEAST_SCATTER = 0.005
# Nor do trains of two spacings meet the same hosts: paced packets find processors asleep, and wait.
_UNLIKE = 0.05
# Buckets outside these shares of a train are noise, or more than such trains can tell.
_LEAST_BUCKET, _MOST_BUCKET = 0.01, 0.75
# Spaced trains must arrive longer than the others by this share of what leaves.
_LEAST_STRETCH = 0.25
_LEAST_LENGTHS = 2
# Standard error of a median, in those of a mean.
_MEDIAN = 1.25


@attrs.frozen(kw_only=True)
class Reason:
    """What is known beyond the bottleneck's place and bound.

    `utilisation_ratio` is others' share of its capacity; None where nothing can be said.
    """

    bucket_bytes: int = 0
    cause: Cause.ValueType = Cause.CAUSE_UNSPECIFIED
    utilisation_ratio: float | None = None
    capacity_bps: float | None = None

    @property
    def avail_bps(self) -> float | None:
        """What others leave."""
        if self.capacity_bps is None or self.utilisation_ratio is None:
            return None
        return self.capacity_bps * (1 - self.utilisation_ratio)


@attrs.frozen(kw_only=True)
class _Bottleneck:
    """Levels before and behind it, of the trains that found it, and the noise of one of them."""

    before: tuple[int, ...]
    behind: tuple[int, ...]
    in_ns: float
    out_ns: float
    scatter_ns: float
    # How far apart the places behind it see trains that cannot change any more.
    spread_ns: float
    trains: int
    bytes: int

    def with_scatter(self, scatter_ns: float) -> _Bottleneck:
        """The same, if other trains scatter more."""
        return attrs.evolve(self, scatter_ns=max(self.scatter_ns, scatter_ns))

    def error_ns(self, trains: int) -> float:
        """Of a median over so many trains."""
        return _MEDIAN * self.scatter_ns / math.sqrt(trains)


def reason(observations: PathneckObservations, readings: Readings, found: Profile) -> Reason:
    """Why the bottleneck of this profile is one; an empty reason without evidence."""
    if found.bottleneck is None or not readings.kept:
        return Reason()
    place = _place(readings, found, found.bottleneck)
    bucket_bytes = _bucket_bytes(place, _like(observations, readings, gaps.SHORT))
    known = Reason(bucket_bytes=bucket_bytes)
    spaced = _like(observations, readings, gaps.SPACED)
    lengths_in, lengths_out = _lengths_ns(spaced, place.before), _lengths_ns(spaced, place.behind)
    if min(len(lengths_in), len(lengths_out)) < _LEAST_LENGTHS:
        return known
    in_ns, out_ns = median(lengths_in), median(lengths_out)
    if in_ns - place.in_ns < _LEAST_STRETCH * place.out_ns:
        return known
    if in_ns >= place.out_ns:
        # They need not have queued there: the sender was too slow.
        return known
    place = place.with_scatter(scaled_mad(lengths_out))
    share = (out_ns - place.out_ns) / (in_ns - place.in_ns)
    error_ns = math.hypot(place.error_ns(place.trains), place.error_ns(len(lengths_out)))
    unlike_ns = max(_UNLIKE * place.out_ns, place.spread_ns)
    error = (_SIGMAS * error_ns + unlike_ns) / (in_ns - place.in_ns)
    if share + error < _IDLE:
        rate_bps = _rate_bps(place.bytes - bucket_bytes, place.out_ns)
        return attrs.evolve(known, cause=Cause.CAUSE_CAPACITY, capacity_bps=rate_bps)
    alone_ns = place.out_ns - share * place.in_ns
    if share - error < _BUSY or share >= 1 or alone_ns <= 0:
        return known
    return attrs.evolve(
        known,
        cause=Cause.CAUSE_LOAD,
        utilisation_ratio=share,
        capacity_bps=_rate_bps(place.bytes - bucket_bytes, alone_ns),
    )


def _bucket_bytes(place: _Bottleneck, short: Sequence[PathneckTrain]) -> int:
    """What passes at once after a rest; 0 where that does not stand out of the noise."""
    lengths = _lengths_ns(short, place.behind)
    if len(lengths) < _LEAST_LENGTHS:
        return 0
    out_ns, place = median(lengths), place.with_scatter(scaled_mad(lengths))
    fewer_bytes = place.bytes - gaps.spanned_bytes(short[0], 1)
    ns_per_byte = (place.out_ns - out_ns) / fewer_bytes if fewer_bytes > 0 else 0.0
    if ns_per_byte <= 0:
        return 0
    bucket_bytes = place.bytes - place.out_ns / ns_per_byte
    # d(bucket) by the two levels, at a level of about `bytes` times `ns_per_byte`.
    lever = place.bytes / fewer_bytes
    error_ns = math.hypot(
        (lever - 1) * place.error_ns(place.trains), lever * place.error_ns(len(lengths))
    )
    least_bytes = max(_LEAST_BUCKET * place.bytes, _BUCKET_SIGMAS * error_ns / ns_per_byte)
    if not least_bytes < bucket_bytes < _MOST_BUCKET * place.bytes:
        return 0
    return round(bucket_bytes)


def _place(readings: Readings, found: Profile, step: Step) -> _Bottleneck:
    at, ttls = step.position, readings.ttls
    starts = [0, *sorted(other.position for other in found.steps)]
    before = max(start for start in starts if start < at)
    # It has the highest level, so it is the last.
    return _Bottleneck(
        before=ttls[before:at],
        behind=ttls[at:],
        in_ns=found.level_ns[at - 1],
        out_ns=found.level_ns[at],
        scatter_ns=max(median(found.mad_ns[at:]), _LEAST_SCATTER * found.level_ns[at]),
        spread_ns=max(found.gap_ns[at:]) - min(found.gap_ns[at:]),
        trains=len(readings.kept),
        bytes=gaps.spanned_bytes(readings.kept[0], 1),
    )


def _like(observations: PathneckObservations, readings: Readings, word: str) -> list[PathneckTrain]:
    """The trains of that kind whose other properties are those of the trains that count."""
    shape = readings.kept[0]
    return [
        train
        for train in observations.trains
        if train.discarded == word
        and gaps.is_well_formed(train)
        and not train.train.cut_short
        and not train.train.receive_drops
        and (train.hops, gaps.is_muted(train)) == (shape.hops, gaps.is_muted(shape))
        and train.load_size_bytes == shape.load_size_bytes
        and (word == gaps.SHORT or train.load_packets == shape.load_packets)
    ]


def _lengths_ns(trains: Sequence[PathneckTrain], ttls: Sequence[int]) -> list[float]:
    """Of each train its median length at these hops, if any of them measured it."""
    lengths = []
    for train in trains:
        row = gaps.normalised(train)
        valid = [gap for ttl in ttls if (gap := row[ttl]) is not None]
        if valid:
            lengths.append(median(valid))
    return lengths


def _rate_bps(size_bytes: float, gap_ns: float) -> float:
    return 8 * size_bytes * NS_PER_S / gap_ns
