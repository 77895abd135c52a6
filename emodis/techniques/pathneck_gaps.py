"""From recorded trains to arrays of gaps: what may be believed, and what not.

The head's probe for hop h is probes[h - 1], the tail's is probes[-h]; the load lies between.
Hop 0 is the sending host: its "gap" is how long it took to hand the train to its own interface.
That, and not the departure from the interface, is what the first link is compared with: a shaper
on this very interface is part of the first link.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence

import attrs

from emodis.techniques.pathneck_estimator import LEAST_VALID, usable
from emodis.techniques.stats import NS_PER_S
from emodis.wire.v1.techniques_pb2 import PathneckObservations, PathneckTrain, ProbeRecord

MAX_HOPS = 64
# No gap is shorter than half of what the train takes at this rate.
_FASTEST_BPS = 10_000_000_000
# A pause of the sender as long as this, while the link was idle, is counted as a stall ...
_STALL_NS = 250_000
# ... and stalls of more than this share of the departure spoil the train.
_STALL_SHARE = 0.5

SENDER, ROUTE, INCOMPLETE, LOAD, CONTROL = "sender", "route", "incomplete", "load", "control"
# Trains of half the load, and trains whose load is paced: see `pathneck_cause`. Trains of several
# times the load: see `pathneck_shaper`.
SHORT, SPACED, LONG = "short", "spaced", "long"


@attrs.frozen(kw_only=True)
class Readings:
    """The trains that count, as arrays.

    `gaps_ns[i][j]` is the normalised gap of train `kept[i]` at the hop with TTL `ttls[j]` (0 = the
    sender), None where it is not valid. `discarded` has a word for each observed train, empty for
    those that count.
    """

    hops: int
    discarded: tuple[str, ...]
    kept: tuple[PathneckTrain, ...]
    addresses: dict[int, bytes]
    valid_trains: dict[int, int]
    ttls: tuple[int, ...]
    gaps_ns: tuple[tuple[float | None, ...], ...]
    # Head and tail answered from different addresses, over all trains and hops.
    flaps: int
    # Fewer than half of the trains took the commonest route.
    unstable: bool


def read(observations: PathneckObservations) -> Readings:
    """Sort the trains, then measure their gaps."""
    trains = list(observations.trains)
    discarded = [_spoilt(train) for train in trains]
    group = _group(trains, discarded)
    for i, train in enumerate(trains):
        if not discarded[i] and _shape(train) != group:
            discarded[i] = LOAD
    candidates = [i for i, word in enumerate(discarded) if not word]
    route = commonest_route([trains[i] for i in candidates])
    for i in candidates:
        if _strays(trains[i], route):
            discarded[i] = ROUTE
    kept = [train for train, word in zip(trains, discarded, strict=True) if not word]
    return _measure(kept, tuple(discarded), route, unstable=2 * len(kept) < len(candidates))


def probe_proto(observations: PathneckObservations) -> str:
    """What the probes were made of: "udp" or "icmp"."""
    return observations.proto or "udp"


def head(train: PathneckTrain, ttl: int) -> ProbeRecord:
    """The measurement packet that expires at a hop before the load has passed."""
    return train.train.probes[ttl - 1]


def tail(train: PathneckTrain, ttl: int) -> ProbeRecord:
    """The one that expires there after the load."""
    return train.train.probes[-ttl]


def spanned_bytes(train: PathneckTrain, ttl: int) -> int:
    """IP bytes that pass a hop between its head and the end of its tail packet (3.2: B_h).

    For hop 0 the train has the span of hop 1.
    """
    hop = max(1, ttl)
    size = train.train.probes[0].size_bytes
    behind = size * (train.hops - hop)
    return behind + train.load_packets * train.load_size_bytes + behind + size


def is_answered(train: PathneckTrain, ttl: int) -> bool:
    """True if a hop answered both head and tail."""
    return head(train, ttl).HasField("received_ns") and tail(train, ttl).HasField("received_ns")


def gap_ns(train: PathneckTrain, ttl: int) -> int | None:
    """Time between the answers to head and tail; None where it cannot be believed."""
    first, last = head(train, ttl), tail(train, ttl)
    if not is_answered(train, ttl):
        return None
    if not first.address or first.address != last.address:
        return None
    gap = last.received_ns - first.received_ns
    if first.HasField("far_ns") and last.HasField("far_ns"):
        # The destination's own kernel saw them arrive; the way back has no part in it.
        gap = last.far_ns - first.far_ns
    least = 0.5 * 8 * spanned_bytes(train, ttl) * NS_PER_S / _FASTEST_BPS
    return gap if gap >= least else None


def queueing_ns(train: PathneckTrain) -> int | None:
    """Hop 0: how long the sender took to queue the train; None without those times."""
    first, last = train.train.probes[0], train.train.probes[-1]
    if not first.HasField("queued_ns") or not last.HasField("queued_ns"):
        return None
    length = last.queued_ns - first.queued_ns
    return length if length > 0 else None


def stall_ns(train: PathneckTrain) -> int | None:
    """How long the first link lay idle because the sender was late; None without kernel times.

    A packet that was queued while others still waited in front of it has delayed nothing.
    """
    probes = train.train.probes
    if not train.train.kernel_tx:
        return None
    stall = 0
    for before, probe in itertools.pairwise(probes):
        if not (before.HasField("sent_ns") and probe.HasField("queued_ns")):
            continue
        idle = probe.queued_ns - max(before.sent_ns, before.queued_ns)
        if idle > _STALL_NS:
            stall += idle
    return stall


def held_up(train: PathneckTrain) -> bool:
    """True if the measuring host spoilt the train: it paused, or lost answers."""
    if train.train.receive_drops:
        return True
    stall = stall_ns(train)
    probes = train.train.probes
    if not stall or not (probes[0].HasField("sent_ns") and probes[-1].HasField("sent_ns")):
        return False
    return stall > _STALL_SHARE * (probes[-1].sent_ns - probes[0].sent_ns)


def is_well_formed(train: PathneckTrain) -> bool:
    """True if head, load and tail are all there."""
    return (
        1 <= train.hops <= MAX_HOPS
        and len(train.train.probes) == 2 * train.hops + train.load_packets
        and train.train.probes[0].size_bytes > 0
    )


def is_muted(train: PathneckTrain) -> bool:
    """True if the destination drops the load silently."""
    return train.load_packets > 0 and train.train.probes[train.hops].muted


def commonest_route(trains: Sequence[PathneckTrain]) -> dict[int, bytes]:
    """For each TTL the address that answered most heads."""
    votes: dict[int, Counter[bytes]] = {}
    for train in trains:
        for ttl in range(1, train.hops + 1):
            address = head(train, ttl).address
            if address:
                votes.setdefault(ttl, Counter())[address] += 1
    return {ttl: counter.most_common(1)[0][0] for ttl, counter in votes.items()}


def normalised(train: PathneckTrain) -> list[float | None]:
    """Gaps of hop 0 to the last, each scaled to the bytes that hop 1 sees."""
    reference = spanned_bytes(train, 1)
    row: list[float | None] = [queueing_ns(train)]
    for ttl in range(1, train.hops + 1):
        gap = gap_ns(train, ttl)
        row.append(None if gap is None else gap * reference / spanned_bytes(train, ttl))
    return row


def _spoilt(train: PathneckTrain) -> str:
    if train.discarded in (INCOMPLETE, CONTROL, SHORT, SPACED, LONG):
        return train.discarded
    if not is_well_formed(train) or train.train.cut_short:
        return INCOMPLETE
    return SENDER if held_up(train) else ""


_Shape = tuple[int, int, int, bool]


def _shape(train: PathneckTrain) -> _Shape:
    return train.hops, train.load_packets, train.load_size_bytes, is_muted(train)


def _group(trains: Sequence[PathneckTrain], discarded: Sequence[str]) -> _Shape | None:
    """The last kind of train of which there are enough, else the commonest."""
    good = [_shape(train) for train, word in zip(trains, discarded, strict=True) if not word]
    counts = Counter(good)
    for shape in reversed(good):
        if counts[shape] >= LEAST_VALID:
            return shape
    return counts.most_common(1)[0][0] if counts else None


def _strays(train: PathneckTrain, route: dict[int, bytes]) -> bool:
    for ttl in range(1, train.hops + 1):
        address = head(train, ttl).address
        if address and address == tail(train, ttl).address and address != route[ttl]:
            return True
    return False


def _measure(
    kept: Sequence[PathneckTrain],
    discarded: tuple[str, ...],
    route: dict[int, bytes],
    *,
    unstable: bool,
) -> Readings:
    hops = kept[0].hops if kept else 0
    rows = [_on_route(train, route) for train in kept]
    ttls = tuple(ttl for ttl in usable(rows) if ttl == 0 or ttl not in _repeats(route))
    return Readings(
        hops=hops,
        discarded=discarded,
        kept=tuple(kept),
        addresses=route,
        valid_trains={ttl: sum(row[ttl] is not None for row in rows) for ttl in range(hops + 1)},
        ttls=ttls,
        gaps_ns=tuple(tuple(row[ttl] for ttl in ttls) for row in rows),
        flaps=sum(_flaps(train) for train in kept),
        unstable=unstable,
    )


def _on_route(train: PathneckTrain, route: dict[int, bytes]) -> list[float | None]:
    row = normalised(train)
    return [
        gap if ttl == 0 or gap is None or head(train, ttl).address == route[ttl] else None
        for ttl, gap in enumerate(row)
    ]


def _repeats(route: dict[int, bytes]) -> set[int]:
    """TTLs at which a router answers that stood earlier on the route: a loop."""
    seen: set[bytes] = set()
    repeats: set[int] = set()
    for ttl in sorted(route):
        if route[ttl] in seen:
            repeats.add(ttl)
        seen.add(route[ttl])
    return repeats


def _flaps(train: PathneckTrain) -> int:
    return sum(
        1
        for ttl in range(1, train.hops + 1)
        if head(train, ttl).address
        and tail(train, ttl).address
        and head(train, ttl).address != tail(train, ttl).address
    )
