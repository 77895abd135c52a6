"""How fast Pathneck's trains may follow each other, and how large they should be.

Trains never queue behind each other, and routers that answer rarely get time to: the pause
doubles when a hop that used to answer goes quiet (TECHNIQUES.md section 0, "adaptive").
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import attrs

from emodis.techniques import pathneck_gaps as gaps
from emodis.techniques import records
from emodis.techniques.pathneck_batches import scatter_ns as batched_ns
from emodis.techniques.pathneck_estimator import WISHED_DROP
from emodis.techniques.segmentation import STEP_MIN_NS
from emodis.techniques.stats import NS_PER_MS, NS_PER_S, median, scaled_mad
from emodis.wire.v1.techniques_pb2 import PathneckTrain

# No path is assumed to be slower than this (TECHNIQUES.md section 0).
FLOOR_BPS = 500_000
# The adaptive load grows no further.
MOST_LOAD_PACKETS = 200
MOST_LOAD_BYTES = 1400
# Packets in a run; records of more would not fit into a result.
MOST_PACKETS = 30_000
# How far a WISHED_DROP should stand out of the scatter of one train's gap.
_SIGMAS = 4.0
_MARGIN_NS = 200 * NS_PER_MS
# Head and tail of a train need two answers.
_HOST_PAUSE_NS = 2 * NS_PER_S


@attrs.define(kw_only=True)
class Pacing:
    """Pauses and patience, learned from the trains so far."""

    floor_ns: int
    # How far the pause may grow beyond the train's own length.
    ceiling_ns: int
    drain_ns: int
    rtt_ns: int
    slowest_bps: float | None = None
    limiting_ttl: int = 0
    longest_ns: int = 0
    _patience_ns: int = 0

    def interval_ns(self, train_bytes: int) -> int:
        """From the first packet of a train to that of the next."""
        length_ns = self._length_ns(train_bytes)
        patience_ns = min(self._patience_ns, self.ceiling_ns + length_ns)
        return max(self.shortest_ns(train_bytes), patience_ns)

    def shortest_ns(self, train_bytes: int) -> int:
        """The same where nobody is waited for: the next one must only not meet this one."""
        return max(self.floor_ns, 2 * self.rtt_ns + 3 * self._length_ns(train_bytes) // 2)

    def wait_ns(self, train_bytes: int) -> int:
        """How long to wait for answers that should come, after the last packet has left."""
        length_ns = self._length_ns(train_bytes)
        return min(2 * self.rtt_ns + 3 * length_ns + _MARGIN_NS, self.drain_ns + length_ns)

    def settle_ns(self, train_bytes: int) -> int:
        """The longest silence between two answers: heads are heard, tails are under way."""
        return 3 * self._length_ns(train_bytes) // 2 + _MARGIN_NS

    def learn(self, train: PathneckTrain) -> None:
        """Take round trips and the slowest rate from a train."""
        for ttl in range(1, train.hops + 1):
            self.rtt_ns = max(self.rtt_ns, records.rtt_ns(gaps.head(train, ttl)) or 0)
            gap_ns = gaps.gap_ns(train, ttl)
            if gap_ns is not None:
                rate_bps = 8 * gaps.spanned_bytes(train, ttl) * NS_PER_S / gap_ns
                self.slowest_bps = min(self.slowest_bps or rate_bps, rate_bps)

    @property
    def exhausted(self) -> bool:
        """True if the pause may not grow any more."""
        return self._patience_ns >= self.ceiling_ns

    def slow_down(self, ttl: int, train_bytes: int, *, is_host: bool) -> bool:
        """Double the pause for the sake of a hop; False if it is as long as it may be.

        For an end host it is two seconds at once: most answer one UDP probe a second.
        """
        if self.exhausted:
            return False
        wished_ns = max(2 * self.interval_ns(train_bytes), _HOST_PAUSE_NS if is_host else 0)
        self._patience_ns = min(wished_ns, self.ceiling_ns)
        self.limiting_ttl = ttl
        return True

    def relax(self) -> None:
        """Back to the usual pause: the silence had another cause."""
        self._patience_ns = 0
        self.limiting_ttl = 0

    def _length_ns(self, train_bytes: int) -> int:
        return round(8 * train_bytes * NS_PER_S / (self.slowest_bps or FLOOR_BPS))


@attrs.define
class Watch:
    """Which hops should answer, and which of them have fallen silent."""

    expected: set[int]
    given_up: set[int] = attrs.field(factory=set)
    _lately: dict[int, deque[bool]] = attrs.field(factory=dict)

    def starving(self, train: PathneckTrain) -> list[int]:
        """The hops without a whole answer in this train and in one of the two before it."""
        found = []
        for ttl in range(1, train.hops + 1):
            answers = (gaps.head(train, ttl), gaps.tail(train, ttl))
            heard = any(answer.HasField("received_ns") for answer in answers)
            if heard and ttl not in self.given_up:
                self.expected.add(ttl)
            complete = gaps.is_answered(train, ttl)
            if ttl in self.expected and self._is_starving(ttl, complete=complete):
                found.append(ttl)
        return found

    def give_up(self, ttl: int) -> None:
        """Do not wait for this hop any more."""
        self.expected.discard(ttl)
        self.given_up.add(ttl)

    def _is_starving(self, ttl: int, *, complete: bool) -> bool:
        lately = self._lately.setdefault(ttl, deque(maxlen=3))
        before = not all(list(lately)[-2:])
        lately.append(complete)
        return not complete and before


def grown_load(
    trains: Sequence[PathneckTrain], packets: int, size_bytes: int
) -> tuple[int, int] | None:
    """A load whose growth at a WISHED_DROP stands out of the noise; None if this one does.

    First larger packets, then more of them.
    """
    rows = [gaps.normalised(train)[1:] for train in trains]
    columns = [[gap for gap in column if gap is not None] for column in zip(*rows, strict=True)]
    columns = [column for column in columns if len(column) > 1]
    if not columns:
        return None
    scatter_ns = max(median([scaled_mad(column) for column in columns]), batched_ns(columns))
    step_ns = median([median(column) for column in columns]) * (1 / (1 - WISHED_DROP) - 1)
    needed_ns = max(_SIGMAS * scatter_ns, STEP_MIN_NS)
    if step_ns >= needed_ns:
        return None
    wished_bytes = packets * size_bytes * needed_ns / step_ns
    size = max(size_bytes, MOST_LOAD_BYTES)
    count = max(packets, min(MOST_LOAD_PACKETS, math.ceil(wished_bytes / size)))
    return None if (count, size) == (packets, size_bytes) else (count, size)
