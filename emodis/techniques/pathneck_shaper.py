"""A token bucket larger than the usual trains, which all of them pass at once. Pure.

A bucket of b bytes lets that much through as fast as it comes and shapes what follows, so trains
need several times b to see the rate that transfers get (TECHNIQUES.md 3.8).
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from emodis.techniques import pathneck_gaps as gaps
from emodis.techniques.pathneck_estimator import Profile
from emodis.techniques.pathneck_gaps import Readings
from emodis.techniques.stats import NS_PER_S
from emodis.wire.v1.techniques_pb2 import PathneckObservations, PathneckTrain

# One may have met other traffic, two are enough.
LONG_TRAINS = 2
# How much longer per byte they must be.
_LEAST_STRETCH = 1.5


@attrs.frozen
class Shaper:
    """Behind hop `from_ttl`; what long trains get there, in IP bits, is at most `rate_bps`."""

    from_ttl: int
    ttl: int
    rate_bps: int


def shaper(
    observations: PathneckObservations, readings: Readings, found: Profile, *, trains: int
) -> Shaper | None:
    """The first place from which on all of so many long trains are slower; None without one."""
    long = _long(observations, readings)
    if len(long) < trains:
        return None
    usual_bytes = gaps.spanned_bytes(readings.kept[0], 1)
    first: Shaper | None = None
    for position in range(len(readings.ttls) - 1, 0, -1):
        before, ttl = readings.ttls[position - 1 : position + 1]
        per_byte = [ns for train in long if (ns := _per_byte_ns(train, ttl))]
        if len(per_byte) < trains:
            continue
        if min(per_byte) < _LEAST_STRETCH * found.level_ns[position] / usual_bytes:
            break
        first = Shaper(before, ttl, round(8 * NS_PER_S / min(per_byte)))
    return first


def _long(observations: PathneckObservations, readings: Readings) -> Sequence[PathneckTrain]:
    return [
        train
        for train in observations.trains
        if train.discarded == gaps.LONG
        and gaps.is_well_formed(train)
        and not train.train.cut_short
        and not gaps.held_up(train)
        and train.hops == readings.hops
    ]


def _per_byte_ns(train: PathneckTrain, ttl: int) -> float:
    """0 where it has no gap."""
    gap_ns = gaps.gap_ns(train, ttl)
    return 0.0 if gap_ns is None else gap_ns / gaps.spanned_bytes(train, ttl)
