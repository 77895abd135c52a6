"""One link with a queue and Poisson cross traffic, packet by packet: a path for paced trains."""

from __future__ import annotations

import random

import attrs

from emodis.packets.paced import PacedOutcome, PacedTrain
from emodis.techniques.stats import NS_PER_S


@attrs.define
class Link:
    """First come, first served; what leaves it reaches the receiver at once.

    `cross_bps` are IP bits of `cross_bytes` packets. `jitter_ns` is the standard deviation of the
    receiver's stamps, `quantum_ns` how long it may gather packets before it stamps them, and each
    of the last two shares hits a probe by chance.
    """

    capacity_bps: float
    cross_bps: float = 0.0
    cross_bytes: int = 800
    seed: int = 1
    jitter_ns: float = 0.0
    quantum_ns: int = 0
    loss_ratio: float = 0.0
    reorder_ratio: float = 0.0
    # So many bytes of a train pass at once, then the rest at `capacity_bps`.
    bucket_bytes: int = 0
    # The link behind it; its own receiver's traits do not count.
    then: Link | None = None
    # Fastest that the sender can put probes out.
    sender_gap_ns: int = 2_000
    trains: int = attrs.field(default=0, init=False)
    elapsed_ns: int = attrs.field(default=0, init=False)
    chance: random.Random = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.chance = random.Random(self.seed)

    def carry(self, train: PacedTrain) -> PacedOutcome:
        """Send one train through it."""
        gap_ns = max(train.gap_ns, self.sender_gap_ns)
        sent_ns = [index * gap_ns for index in range(train.packets)]
        arrivals = []
        left_ns = self._through([float(time_ns) for time_ns in sent_ns], train.size_bytes)
        if self.then is not None:
            left_ns = self.then._through(left_ns, train.size_bytes)
        for number, time_ns in enumerate(left_ns):
            if self.chance.random() < self.loss_ratio:
                continue
            seen_ns = time_ns + self.chance.gauss(0, self.jitter_ns)
            if self.chance.random() < self.reorder_ratio:
                seen_ns += 2.5 * gap_ns
            if self.quantum_ns:
                seen_ns = (seen_ns // self.quantum_ns + 1) * self.quantum_ns + number
            arrivals.append((number, round(seen_ns)))
        arrivals.sort(key=lambda arrival: arrival[1])
        self.trains += 1
        self.elapsed_ns += sent_ns[-1] + 50_000_000
        return PacedOutcome(
            sent_ns=tuple(sent_ns),
            arrivals=tuple(arrivals),
            kernel_tx=True,
            kernel_rx=True,
            elapsed_ns=self.elapsed_ns,
        )

    def _through(self, sent_ns: list[float], size_bytes: int) -> list[float]:
        """When each probe leaves the link, with cross packets before and between them."""
        own_ns = size_bytes * 8 * NS_PER_S / self.capacity_bps
        other_ns = self.cross_bytes * 8 * NS_PER_S / self.capacity_bps
        mean_ns = self.cross_bytes * 8 * NS_PER_S / self.cross_bps if self.cross_bps else None
        # The queue is what it is after a while of cross traffic alone.
        next_ns = -200 * other_ns + self._wait_ns(mean_ns)
        free_ns = 0.0 if mean_ns is None else next_ns
        left_ns = []
        free_bytes = self.bucket_bytes
        for at_ns in sent_ns:
            if free_bytes >= size_bytes:
                free_bytes -= size_bytes
                left_ns.append(at_ns)
                continue
            while next_ns <= at_ns:
                free_ns = max(free_ns, next_ns) + other_ns
                next_ns += self._wait_ns(mean_ns)
            free_ns = max(free_ns, at_ns) + own_ns
            left_ns.append(free_ns)
        return left_ns

    def _wait_ns(self, mean_ns: float | None) -> float:
        return float("inf") if mean_ns is None else self.chance.expovariate(1 / mean_ns)
