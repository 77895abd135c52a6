"""What the loss technique sends: a look at the path, then blocks of evenly mixed questions.

Every router on the way is asked gently; one that answers rarely is asked more rarely still, because
its rationing would look like loss.
"""

from __future__ import annotations

import math
import random
from collections.abc import Generator, Iterator, Sequence, Set
from typing import Protocol

from emodis.packets.model import Kind, Probe, ReplyKind, Train, TrainOutcome
from emodis.techniques import records
from emodis.techniques.loss_estimator import TARGET_TTL, distance, is_echo, rarely_answering
from emodis.techniques.stats import NS_PER_S
from emodis.wire.v1.loss_pb2 import LossBlock, LossObservations

# Time to find out who answers rarely: a Linux router gives 6 answers at once and then one a second.
FIRST_BLOCK_S = 5.0
BLOCK_S = 20.0
QUICK_PACE_S = 0.25
SLOW_PACE_S = 1.1
# In a whole series. Hops that never answered are asked no more after the first block.
MOST_HOP_PROBES = 6000
# Nobody is there if all of so many probes are lost.
_ENOUGH_SILENCE = 10
# A block is over when nothing more came for this long, beyond two round trips.
SETTLE_S = 0.5
PERIODIC_SPREAD = 0.1

LOOK_WAIT_S = 1.0
_LOOK_SETTLE_S = 0.5
_FIRST_LOOK = 4
_GAP_LIMIT = 5


class Wishes(Protocol):
    """What the series needs of the technique's parameters."""

    @property
    def count(self) -> int: ...
    @property
    def interval_s(self) -> float: ...
    @property
    def spacing(self) -> str: ...
    @property
    def timeout_s(self) -> float: ...
    @property
    def locate(self) -> bool: ...
    @property
    def max_ttl(self) -> int: ...


Steps = Generator[Train, TrainOutcome, None]


def look(wishes: Wishes, observations: LossObservations, size_bytes: int) -> Steps:
    """Find the hops, a few at a time, with the same flow as the series."""
    for ttls in look_chunks(wishes.max_ttl):
        train = Train(
            kind=Kind.ICMP_ECHO,
            probes=tuple(Probe(ttl=ttl, size_bytes=size_bytes) for ttl in ttls),
            wait_ns=round(LOOK_WAIT_S * NS_PER_S),
            settle_ns=round(_LOOK_SETTLE_S * NS_PER_S),
        )
        outcome = yield train
        observations.look.append(records.to_record(train, outcome))
        if outcome.cut_short or distance(observations) is not None or _refused(outcome):
            return
        if ttls[-1] - _farthest_answer(observations) >= _GAP_LIMIT:
            return


def series(
    wishes: Wishes, observations: LossObservations, size_bytes: int, chance: random.Random
) -> Steps:
    """Send all blocks; stop when nobody has answered the whole first one."""
    slow: Set[int] = frozenset()
    done, begun_s = 0, 0.0
    lengths_s = block_lengths(wishes)
    total_s = sum(lengths_s)
    for number, length_s in enumerate(lengths_s, start=1):
        upto = round(wishes.count * (begun_s + length_s) / total_s)
        hops = _worth_asking(wishes, observations)
        known = slow
        slow = rarely_answering(observations, timeout_s=wishes.timeout_s) & hops
        quick_s = max(QUICK_PACE_S, len(hops) * total_s / MOST_HOP_PROBES)
        target_times = _target_times(wishes, upto - done, length_s, chance)
        hop_times = _hop_times(sorted(hops), slow, slow - known, length_s, quick_s)
        times = sorted([*((at_s, TARGET_TTL) for at_s in target_times), *hop_times])
        done, begun_s = upto, begun_s + length_s
        if not times:
            continue
        train = _train(wishes, times, observations, size_bytes, (number, len(lengths_s)))
        outcome = yield train
        record = records.to_record(train, outcome)
        observations.blocks.append(LossBlock(train=record, slow_ttls=sorted(slow)))
        if outcome.cut_short or (done >= _ENOUGH_SILENCE and not _heard(observations)):
            return


def _refused(outcome: TrainOutcome) -> bool:
    """A router said that there is no way on: nobody behind it will ever answer."""
    replies = [echo.reply for echo in outcome.echoes if echo.reply is not None]
    return any(reply.kind is ReplyKind.UNREACHABLE for reply in replies)


def look_chunks(max_ttl: int) -> Iterator[range]:
    """1 to 4, 5 to 8, 9 to 16, ... as far as wanted."""
    start, width = 1, _FIRST_LOOK
    while start <= max_ttl:
        yield range(start, min(start + width, max_ttl + 1))
        start, width = start + width, start + width - 1


def block_lengths(wishes: Wishes) -> list[float]:
    """Seconds: a short first one, and the rest in equal parts."""
    total_s = wishes.count * wishes.interval_s
    first_s = min(FIRST_BLOCK_S, total_s)
    rest_s = total_s - first_s
    parts = math.ceil(rest_s / BLOCK_S)
    return [first_s, *(rest_s / parts for _ in range(parts))]


def _target_times(
    wishes: Wishes, count: int, length_s: float, chance: random.Random
) -> Iterator[float]:
    """Within a block. Given their number, the times of a Poisson process are uniform in it."""
    for index in range(count):
        if wishes.spacing == "poisson":
            yield chance.random() * length_s
        else:
            spread = PERIODIC_SPREAD * (2 * chance.random() - 1)
            yield (index + 0.5 + spread) * length_s / count


def _hop_times(
    hops: Sequence[int], slow: Set[int], fresh: Set[int], length_s: float, quick_s: float
) -> Iterator[tuple[float, int]]:
    """Hops in turn. One that was just found to answer rarely gets time to recover first."""
    for index, ttl in enumerate(hops):
        pace_s = SLOW_PACE_S if ttl in slow else quick_s
        phase_s = pace_s * (index + 0.5) / len(hops)
        for turn in range(1 if ttl in fresh else 0, int(length_s / pace_s)):
            yield phase_s + turn * pace_s, ttl


def _train(
    wishes: Wishes,
    times: Sequence[tuple[float, int]],
    observations: LossObservations,
    size_bytes: int,
    progress: tuple[int, int],
) -> Train:
    befores = [times[0][0], *(at_s for at_s, _ in times)]
    settle_s = SETTLE_S + 2 * _longest_rtt_ns(observations) / NS_PER_S
    return Train(
        kind=Kind.ICMP_ECHO,
        probes=tuple(
            Probe(ttl=ttl, size_bytes=size_bytes, after_ns=round((at_s - before_s) * NS_PER_S))
            for (at_s, ttl), before_s in zip(times, befores, strict=False)
        ),
        wait_ns=round(wishes.timeout_s * NS_PER_S),
        settle_ns=round(min(settle_s, wishes.timeout_s) * NS_PER_S),
        progress=progress,
    )


def _worth_asking(wishes: Wishes, observations: LossObservations) -> Set[int]:
    if not wishes.locate:
        return frozenset()
    farthest = _farthest_answer(observations)
    hops = distance(observations)
    asked = frozenset(range(1, farthest + 1 if hops is None else hops))
    if not observations.blocks:
        return asked
    return asked & _answering(observations)


def _heard(observations: LossObservations) -> bool:
    return any(is_echo(probe) for block in observations.blocks for probe in block.train.probes)


def _answering(observations: LossObservations) -> Set[int]:
    trains = [*observations.look, *(block.train for block in observations.blocks)]
    return {p.ttl for train in trains for p in train.probes if p.HasField("received_ns")}


def _farthest_answer(observations: LossObservations) -> int:
    return max((ttl for ttl in _answering(observations) if ttl < TARGET_TTL), default=0)


def _longest_rtt_ns(observations: LossObservations) -> int:
    trains = [*observations.look, *(block.train for block in observations.blocks)]
    rtts_ns = [records.rtt_ns(probe) for train in trains for probe in train.probes]
    return max((rtt_ns for rtt_ns in rtts_ns if rtt_ns is not None), default=0)
