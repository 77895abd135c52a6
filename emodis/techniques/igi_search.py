"""Which train to send next: the search for the turning point (TECHNIQUES.md 4.3).

Trains go out in phases of equal gaps, from faster than the path to as slow as it needs. What came
of a phase is asked of the same functions that estimate the result afterwards.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Generator

import attrs

from emodis.packets.paced import PacedOutcome, PacedTrain, headers_bytes
from emodis.techniques.igi_estimator import Phase, known_capacity_bps, phases_of
from emodis.techniques.igi_fit import Fit, fit, growths_of
from emodis.techniques.igi_gaps import record, spoiled
from emodis.techniques.igi_precise import next_rate_bps
from emodis.techniques.parameters import choice, flag, real, whole
from emodis.techniques.stats import NS_PER_S
from emodis.wire.v1.igi_pb2 import IgiObservations, IgiTrain

# Times the gap of a burst as it arrives: where the search starts, how it goes on.
START = 0.75
STEP = 0.25
# This host's pace has an end, too: no faster than this, nor than half as fast as its bursts leave.
SMALLEST_GAP_NS = 10_000
SLOWER_THAN_BURST = 2
# A phase that arrived stretched says where the turning point may be: go there at once, but for so
# much, and never slower than by this factor.
JUMP_SHARE = 0.92
MOST_JUMP = 3.0
# Once the turning point is known: longer trains which are too fast by these shares of the capacity
# in turn, until the run has taken so much, and at least so many.
SETTLE_ABOVE = (0.14, 0.24)
SETTLE_LONGER = 4
SETTLE_BYTES = 950_000
SETTLE_NS = 4_500_000_000
SETTLE_TRAINS = 3
# Good enough: a standard error of this share, of as many trains.
GOOD_ERROR = 0.01
GOOD_TRAINS = 6
# Spoiled by this host so often in a row: it is too busy to measure.
MOST_SPOILED = 10
MOST_LOST = 3
# A train that loses more is taken for a sign of overload, unless a slower one loses as much.
MOST_LOSS_RATIO = 0.1
# The same for the precise stage: totals of the run, and the longest train.
PRECISE_BYTES = 2_950_000
PRECISE_NS = 18_000_000_000
PRECISE_TRAINS = 3
PRECISE_PACKETS = 360
PRECISE_TRAIN_NS = 1_000_000_000
# Larger and longer trains for fast paths.
SHORT_GAP_NS = 100_000
MORE_PACKETS = 120
FAST_BPS = 50_000_000
LARGER_PAYLOAD_BYTES = 1400
# Where the receiver shows probes in groups, a train has to last many of them.
QUANTA = 20
MOST_PACKETS = 512
# What a train takes beside its probes: the words of both ends about it.
WORDS_NS = 100_000_000
USUAL_PHASES = 8


@attrs.frozen(kw_only=True)
class Parameters:
    """Everything that a requester may choose."""

    packets: int = whole(60, 20, MOST_PACKETS, unit="packets", text="probes in a train")
    payload_bytes: int = whole(500, 64, 1472, unit="bytes", text="UDP payload of a probe")
    adaptive: bool = flag(True, text="more and larger probes where the path is fast")
    repeats: int = whole(3, 1, 10, unit="trains", text="trains with the same gap")
    epsilon_ratio: float = real(
        0.05, 0.01, 0.2, unit="", text="a train that grows by less arrived as it was sent"
    )
    confirm: int = whole(2, 1, 3, unit="phases", text="phases in a row that have to do so")
    max_phases: int = whole(40, 5, 100, unit="phases", text="gaps to try at most")
    max_time_s: float = real(30.0, 5.0, 110.0, unit="s", text="time to search at most")
    max_bytes: int = whole(
        8_000_000, 1_000_000, 100_000_000, unit="bytes", text="bytes to send at most"
    )
    min_rate_bps: int = whole(
        100_000, 10_000, 10_000_000, unit="bit/s", text="slower is not searched"
    )
    precise: bool = flag(False, text="go on with long trains around the answer, up to 3 MB or 18 s")
    direction: str = choice(
        "downstream", "downstream", "upstream", "both", text="towards this host, from it, or both"
    )


Trains = Generator[PacedTrain, PacedOutcome, IgiObservations]


@attrs.define
class Search:
    """One run. `observations` grow with every train; `stopped` in them says why it ended."""

    chosen: Parameters
    # IP version of the path.
    version: int = 4
    observations: IgiObservations = attrs.field(factory=IgiObservations, init=False)
    _packets: int = attrs.field(init=False)
    _size_bytes: int = attrs.field(init=False)
    _elapsed_ns: int = attrs.field(default=0, init=False)
    _sent_bytes: int = attrs.field(default=0, init=False)
    # The path loses probes at any rate, so loss is no sign of overload.
    _lossy: bool = attrs.field(default=False, init=False)
    # The stage behind PTR's answer.
    _precise: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._packets = self.chosen.packets
        self._size_bytes = self.chosen.payload_bytes + headers_bytes(self.version)

    def trains(self) -> Trains:
        """Say what to send, be told what became of it."""
        burst = yield from self._burst()
        if burst is not None:
            last = yield from self._slow_down(burst)
            if last is not None:
                yield from self._settle(last + 1)
            if last is not None and self.chosen.precise:
                yield from self._narrow()
        return self.observations

    def _burst(self) -> Generator[PacedTrain, PacedOutcome, Phase | None]:
        """How fast it can be at most; again with other probes where these are too small."""
        burst = yield from self._phase(0, 0)
        if burst is None or not self.chosen.adaptive:
            return burst
        before_bytes = self._size_bytes
        if burst.rate_bps(burst.gap_out_ns) > FAST_BPS:
            larger_bytes = LARGER_PAYLOAD_BYTES + headers_bytes(self.version)
            self._size_bytes = max(self._size_bytes, larger_bytes)
        if burst.gap_out_ns * self._size_bytes / before_bytes < SHORT_GAP_NS:
            self._packets = max(self._packets, MORE_PACKETS)
        if self._size_bytes == before_bytes:
            return burst
        return (yield from self._phase(0, 0))

    def _slow_down(self, burst: Phase) -> Generator[PacedTrain, PacedOutcome, int | None]:
        """Phase by phase; the last one's number if they found the turning point."""
        own_pace_ns = max(SMALLEST_GAP_NS, SLOWER_THAN_BURST * burst.gap_in_ns)
        gap_ns, row = max(START * burst.gap_out_ns, own_pace_ns), 0
        for number in range(1, self.chosen.max_phases + 1):
            if self._size_bytes * 8 * NS_PER_S / gap_ns < self.chosen.min_rate_bps:
                self.observations.stopped = "min_rate"
                return None
            phase = yield from self._phase(number, round(gap_ns))
            if self.observations.stopped:
                return None
            if phase is not None and phase.arrived_as_sent(self.chosen.epsilon_ratio):
                row += 1
                if row == self.chosen.confirm:
                    return number
            else:
                row = 0
            gap_ns = self._next_gap_ns(gap_ns, STEP * max(burst.gap_out_ns, own_pace_ns), row)
            self._lengthen(phase, gap_ns)
        self.observations.stopped = "max_phases"
        return None

    def _next_gap_ns(self, gap_ns: float, step_ns: float, row: int) -> float:
        guess = None if row else self._guess()
        if guess is None or guess.bps <= 0:
            return gap_ns + step_ns
        there_ns = JUMP_SHARE * self._gap_ns(guess.bps)
        return max(gap_ns + step_ns, min(there_ns, MOST_JUMP * gap_ns))

    def _settle(self, number: int) -> Generator[PacedTrain, PacedOutcome, None]:
        """Longer trains, a little too fast, for a steadier answer."""
        if self.chosen.adaptive:
            self._packets = min(MOST_PACKETS, SETTLE_LONGER * self._packets)
        for count in itertools.count():
            guess = self._guess()
            if guess is None or guess.bps <= 0 or _is_good(guess):
                return
            above = SETTLE_ABOVE[count % len(SETTLE_ABOVE)]
            gap_ns = round(self._gap_ns(guess.bps + above * guess.capacity_bps))
            if count >= SETTLE_TRAINS and not self._fits(gap_ns, SETTLE_BYTES, SETTLE_NS):
                return
            if not self._fits(gap_ns, self.chosen.max_bytes, self._most_ns):
                return
            yield from self._phase(number + count, gap_ns, repeats=1)
            if self.observations.stopped:
                return

    def _narrow(self) -> Generator[PacedTrain, PacedOutcome, None]:
        """Trains as long as may be, around the answer."""
        before, self._precise = self._packets, True
        start = 1 + max(train.phase for train in self.observations.trains)
        for number in itertools.count():
            rate_bps = next_rate_bps(self.observations.trains, number)
            if rate_bps is None or self.observations.stopped:
                return
            gap_ns = self._gap_ns(rate_bps)
            longest = int(PRECISE_TRAIN_NS / gap_ns)
            self._packets = max(before, min(PRECISE_PACKETS, longest))
            if not self._is_affordable(round(gap_ns)):
                return
            if not self._fits(round(gap_ns), self.chosen.max_bytes, self._most_ns):
                return
            yield from self._phase(start + number, round(gap_ns), repeats=1)

    def _guess(self) -> Fit | None:
        """Where the turning point is, from all trains so far."""
        phases = phases_of(self.observations.trains)
        return fit(growths_of(phases), known_capacity_bps(phases))

    def _gap_ns(self, rate_bps: float) -> float:
        return self._size_bytes * 8 * NS_PER_S / rate_bps

    def _phase(
        self, number: int, gap_ns: int, repeats: int | None = None
    ) -> Generator[PacedTrain, PacedOutcome, Phase | None]:
        """Good trains with one gap; None where it lost too much, or the search is over."""
        good = spoilt = lost = 0
        while good < (repeats or self.chosen.repeats):
            train = yield from self._train(number, gap_ns)
            if train is None:
                return None
            loss_ratio = 1 - len(train.received) / train.packets
            if not train.received:
                train.discarded, lost = "lost", lost + 1
                if lost == MOST_LOST:
                    self.observations.stopped = self._silence()
                    return None
            elif spoiled(train):
                train.discarded, spoilt = "sender", spoilt + 1
                if spoilt == MOST_SPOILED:
                    self.observations.stopped = "self_congested"
                    return None
                if self._precise and not self._is_affordable(gap_ns):
                    return None
            elif gap_ns and loss_ratio > MOST_LOSS_RATIO and not self._lossy:
                train.discarded = "loss"
                if not (yield from self._loses_anyway(number, gap_ns)):
                    return None
            else:
                good, spoilt, lost = good + 1, 0, 0
        size_bytes = self._size_bytes
        phases = phases_of([t for t in self.observations.trains if t.size_bytes == size_bytes])
        return next((phase for phase in phases if phase.number == number), None)

    def _loses_anyway(self, number: int, gap_ns: int) -> Generator[PacedTrain, PacedOutcome, bool]:
        """Whether a train at half the rate loses as much: then the path is lossy, not full."""
        train = yield from self._train(number, 2 * gap_ns)
        if train is None:
            return False
        train.discarded = "loss"
        self._lossy = len(train.received) < (1 - MOST_LOSS_RATIO) * train.packets
        return self._lossy

    def _train(
        self, number: int, gap_ns: int
    ) -> Generator[PacedTrain, PacedOutcome, IgiTrain | None]:
        """Send one if time and bytes allow it."""
        train = PacedTrain(
            packets=self._packets,
            size_bytes=self._size_bytes,
            gap_ns=gap_ns,
            progress=(min(number, USUAL_PHASES - 1), USUAL_PHASES),
        )
        if not self._fits(gap_ns, self.chosen.max_bytes, 1 << 62):
            self.observations.stopped = "max_bytes"
            return None
        if not self._fits(gap_ns, self.chosen.max_bytes, self._most_ns):
            self.observations.stopped = "max_time"
            return None
        outcome = yield train
        self._sent_bytes += train.packets * train.size_bytes
        self._elapsed_ns = outcome.elapsed_ns
        self.observations.trains.append(record(number, train, outcome))
        self.observations.trains[-1].precise = self._precise
        return self.observations.trains[-1]

    def _is_affordable(self, gap_ns: int) -> bool:
        """Whether one more long train is worth it: some always are, the others up to a budget."""
        if sum(train.precise for train in self.observations.trains) < PRECISE_TRAINS:
            return True
        most_bytes = min(PRECISE_BYTES, self.chosen.max_bytes)
        return self._fits(gap_ns, most_bytes, min(PRECISE_NS, self._most_ns))

    def _fits(self, gap_ns: int, most_bytes: int, most_ns: int) -> bool:
        """Whether one more train is within these totals of the run."""
        ends_ns = self._elapsed_ns + (self._packets - 1) * gap_ns + WORDS_NS
        sent_bytes = self._sent_bytes + self._packets * self._size_bytes
        return sent_bytes <= most_bytes and ends_ns <= most_ns

    @property
    def _most_ns(self) -> int:
        return round(self.chosen.max_time_s * NS_PER_S)

    def _silence(self) -> str:
        """Nothing arrived, train after train."""
        heard = any(train.received for train in self.observations.trains)
        return "all_lost" if heard else "udp_blocked"

    def _lengthen(self, phase: Phase | None, gap_ns: float) -> None:
        """More probes, where the receiver shows them in groups."""
        quanta = [] if phase is None else [g.quantum_ns for g in phase.gaps if g.quantum_ns]
        if quanta:
            needed = math.ceil(QUANTA * max(quanta) / gap_ns) + 1
            self._packets = min(MOST_PACKETS, max(self._packets, needed))


def _is_good(guess: Fit) -> bool:
    return (
        guess.trains >= GOOD_TRAINS
        and guess.error_bps is not None
        and guess.error_bps <= GOOD_ERROR * guess.bps
    )
