"""Pathneck's conversation: a look at the path, then trains paced by what comes back.

Pure: it learns what time it is from the stamps on its own packets only.
"""

from __future__ import annotations

import math
import random
from collections.abc import Generator
from typing import Protocol

import attrs

from emodis.packets.flow import UDP_PORT
from emodis.packets.model import Address, Probe, Train, TrainOutcome
from emodis.techniques import pathneck_gaps as gaps
from emodis.techniques import records
from emodis.techniques.base import Cooperation
from emodis.techniques.pathneck_cause import SHORT_TRAINS, SPACED_RATIO, SPACED_TRAINS
from emodis.techniques.pathneck_estimator import LEAST_VALID, Profile, profile, settled
from emodis.techniques.pathneck_greeting import greet
from emodis.techniques.pathneck_pacing import (
    MOST_LOAD_BYTES,
    MOST_LOAD_PACKETS,
    MOST_PACKETS,
    Pacing,
    Watch,
    grown_load,
)
from emodis.techniques.pathneck_result import (
    LEAST_PLACES,
    controls,
    first_lost_tail,
    mute_is_filtered,
)
from emodis.techniques.pathneck_shaper import LONG_TRAINS, shaper
from emodis.techniques.pathneck_surprises import nearer_end, smaller_packets, too_big
from emodis.techniques.pathneck_trace import KINDS, Horizon, horizon, look
from emodis.techniques.stats import NS_PER_S, NS_PER_US
from emodis.wire.v1.techniques_pb2 import PathneckObservations, PathneckTrain, TrainRecord

LEAST_TRAINS = 5
_LOAD_TTL = 255
# The load may grow after so many trains of one size, and so many times.
_GROW_AFTER = (2, 4)
_MOST_GROWTHS = 2
# A tail lost in so many trains running, whatever the pause, is a queue shorter than the train.
_LOST_TAILS = 3
_LEAST_LOAD_PACKETS = 10
# Audible trains come in packets of two sizes: an answer has 576 bytes at most (RFC 1812, 4.3.2.3),
# so large packets bring far fewer bytes back.
_SMALL_BYTES = 500
# A long train keeps no link busy for longer, and has to have so many times the usual bytes.
_LONGEST_S, _LEAST_LENGTHENED = 0.5, 2
# A bottleneck less certain than this is not looked into.
_SURE = 0.6
# Spaced load packets leave one by one, or in groups so far apart; so many groups make a spacing.
_GROUP_NS = 250 * NS_PER_US
_LEAST_GROUPS = 10
# Trains start later by up to this.
_ASTRAY_NS = 1_000 * NS_PER_US
# How much longer the header of IPv6 is: the same probe, with the same payload.
IPV6_LONGER_BYTES = 20


class Chosen(Protocol):
    """What the conversation needs of Pathneck's parameters."""

    @property
    def trains(self) -> int: ...
    @property
    def interval_s(self) -> float: ...
    @property
    def max_interval_s(self) -> float: ...
    @property
    def load_packets(self) -> int: ...
    @property
    def load_size_bytes(self) -> int: ...
    @property
    def adaptive(self) -> bool: ...
    @property
    def measurement_size_bytes(self) -> int: ...
    @property
    def max_ttl(self) -> int: ...
    @property
    def drain_s(self) -> float: ...
    @property
    def mute(self) -> str: ...
    @property
    def proto(self) -> str: ...
    @property
    def cause(self) -> bool: ...


def converse(
    chosen: Chosen,
    address: Address,
    *,
    within_s: float,
    within_bytes: int,
    cooperation: Cooperation | None = None,
) -> Generator[Train, TrainOutcome, PathneckObservations]:
    """Measure one destination.

    Args:
        within_s, within_bytes: no train is sent that might not fit.
        cooperation: the destination's offer to answer, if there is one.
    """
    longer_bytes = IPV6_LONGER_BYTES if address.version == 6 else 0
    observations = PathneckObservations(
        target=address.packed,
        measurement_size_bytes=chosen.measurement_size_bytes + longer_bytes,
        proto=chosen.proto,
    )
    partner = None
    if cooperation is not None and (yield from greet(cooperation, observations)):
        partner = cooperation
    if _is_over(chosen, observations, partner):
        return observations
    yield from look(chosen, observations, partner)
    found = horizon(observations)
    if found is None or any(train.cut_short for train in observations.trace):
        return observations
    if len(found.answering) + 1 < LEAST_PLACES:
        # The sending host is a place too; with fewer than three no train can show anything.
        return observations
    course = _Course(
        chosen=chosen,
        observations=observations,
        horizon=found,
        within_ns=round(within_s * NS_PER_S),
        within_bytes=within_bytes,
        muted=partner is not None or chosen.mute != "none",
        partner=partner,
    )
    yield from course.run()
    observations.limiting_ttl = course.pacing.limiting_ttl
    observations.longest_interval_ns = course.pacing.longest_ns
    return observations


def _is_over(
    chosen: Chosen, observations: PathneckObservations, partner: Cooperation | None
) -> bool:
    """True if nothing may follow the greetings."""
    if partner is None and chosen.mute == "coop":
        return True
    return any(train.cut_short for train in observations.greetings)


@attrs.frozen(kw_only=True)
class _Load:
    """What is between head and tail; 0 ns apart: as fast as this host can."""

    packets: int
    size_bytes: int
    spacing_ns: float = 0


@attrs.define(kw_only=True)
class _Course:
    """One run behind the look: what has been sent, and what to send next."""

    chosen: Chosen
    observations: PathneckObservations
    horizon: Horizon
    within_ns: int
    within_bytes: int
    muted: bool
    # The destination, where it answers by itself and drops the load unasked.
    partner: Cooperation | None
    load_packets: int = attrs.field(init=False)
    load_size_bytes: int = attrs.field(init=False)
    pacing: Pacing = attrs.field(init=False)
    watch: Watch = attrs.field(init=False)
    over: bool = False
    # Trains of the present load that count, and how often the host spoilt one.
    good: list[PathneckTrain] = attrs.field(factory=list)
    held_up: int = 0
    lost_tails: int = 0
    growths: int = 0
    # Larger packets had to show what the first ones did not.
    closer: bool = False
    # The load has been made smaller; it has been halved.
    shrunk: bool = False
    halved: bool = False
    sent_bytes: int = 0
    # What the last train might still have had to wait for.
    _tail_wait_ns: int = 0

    def __attrs_post_init__(self) -> None:
        self.load_packets = self.chosen.load_packets
        self.load_size_bytes = self.chosen.load_size_bytes
        self.pacing = Pacing(
            floor_ns=round(self.chosen.interval_s * NS_PER_S),
            ceiling_ns=round(self.chosen.max_interval_s * NS_PER_S),
            drain_ns=round(self.chosen.drain_s * NS_PER_S),
            rtt_ns=self.horizon.rtt_ns,
        )
        self.watch = Watch(set(self.horizon.answering))
        self.sent_bytes = sum(
            probe.size_bytes for train in self._before() for probe in train.probes
        )

    def _before(self) -> list[TrainRecord]:
        return [*self.observations.greetings, *self.observations.trace]

    def run(self) -> Generator[Train, TrainOutcome, None]:
        """A set of trains; another one unmuted if the muted load turns out to be filtered."""
        yield from self._set()
        if self.muted and self.partner is None and (yield from self._mute_fails()):
            self.muted = False
            self.good = []
            yield from self._set()
        if self.chosen.cause and not self.over:
            yield from self._look_into()

    def _set(self) -> Generator[Train, TrainOutcome, None]:
        while not self._is_enough() or self._looks_closer():
            train = self._next_train(self._load(), muted=self.muted)
            if not self._fits(train):
                return
            outcome = yield train
            self._judge(self._record(train, outcome))

    def _mute_fails(self) -> Generator[Train, TrainOutcome, bool]:
        """Send a train whose load is heard at the destination, last of all, and compare.

        One that is stretched may have met cross traffic, or the answers to it a slow way back; only
        a second one, in packets of another size, makes it certain.
        """
        own = self._load()
        for load in (own, self._resized(own)):
            train = self._next_train(load, muted=False, is_last=True)
            if self.over or len(self.good) < LEAST_VALID or not self._fits(train):
                return False
            outcome = yield train
            record = self._record(train, outcome)
            record.discarded = gaps.CONTROL
            self.over = record.train.cut_short
            if self.over or gaps.held_up(record):
                return False
            if not mute_is_filtered(gaps.read(self.observations), controls(self.observations)):
                return False
        return True

    def _load(self) -> _Load:
        return _Load(packets=self.load_packets, size_bytes=self.load_size_bytes)

    def _resized(self, load: _Load) -> _Load:
        """As many bytes in packets of the other size; none that some link may find too large."""
        if self.shrunk:
            return load
        middle_bytes = (_SMALL_BYTES + MOST_LOAD_BYTES) // 2
        size = MOST_LOAD_BYTES if load.size_bytes < middle_bytes else _SMALL_BYTES
        packets = max(1, round(load.packets * load.size_bytes / size))
        return _Load(packets=packets, size_bytes=size)

    def _look_into(self) -> Generator[Train, TrainOutcome, None]:
        """Trains of another size and another spacing, which tell why the bottleneck is one."""
        readings = gaps.read(self.observations)
        if len(readings.ttls) < LEAST_PLACES or not readings.kept:
            return
        found = profile(readings.gaps_ns)
        asides = self._asides(readings, found)
        if found.bottleneck is None or found.bottleneck.position == 1 or self.closer:
            yield from self._lengthen(readings, found, followed=bool(asides))
        for number, (word, load) in enumerate(asides, start=1):
            yield from self._aside(word, load, followed=number < len(asides))

    def _asides(self, readings: gaps.Readings, found: Profile) -> list[tuple[str, _Load]]:
        """What may tell a slow link from a busy one; nothing where it would not be heard."""
        step = found.bottleneck
        if step is None or step.confidence < _SURE:
            return []
        if readings.ttls[step.position] == self.pacing.limiting_ttl:
            # Who has to be waited for does not answer trains that do not wait.
            return []
        asides: list[tuple[str, _Load]] = []
        half = max(_LEAST_LOAD_PACKETS, self.load_packets // 2)
        if half < self.load_packets:
            asides += [(gaps.SHORT, attrs.evolve(self._load(), packets=half))] * SHORT_TRAINS
        spacing_ns = self._spacing_ns(readings, found)
        if spacing_ns:
            spaced = attrs.evolve(self._load(), spacing_ns=spacing_ns)
            asides += [(gaps.SPACED, spaced)] * SPACED_TRAINS
        return asides

    def _lengthen(
        self, readings: gaps.Readings, found: Profile, *, followed: bool
    ) -> Generator[Train, TrainOutcome, None]:
        """Where no link seems slower than the first, or small trains passed all: a large bucket?"""
        most_bytes = (self.pacing.slowest_bps or 0) / 8 * _LONGEST_S
        packets = min(MOST_LOAD_PACKETS, int(most_bytes / MOST_LOAD_BYTES))
        usual_bytes = self.load_packets * self.load_size_bytes
        if not self.muted or packets * MOST_LOAD_BYTES < _LEAST_LENGTHENED * usual_bytes:
            return
        if any(too_big(train) is not None for train in self.observations.trains):
            return
        for sent in range(LONG_TRAINS):
            if sent and shaper(self.observations, readings, found, trains=sent) is None:
                return
            load = _Load(packets=packets, size_bytes=MOST_LOAD_BYTES)
            yield from self._aside(gaps.LONG, load, followed=followed)

    def _spacing_ns(self, readings: gaps.Readings, found: Profile) -> float:
        """From one load packet to the next; 0 where no spacing would show anything."""
        step = found.bottleneck
        if step is None or self.load_packets * self.load_size_bytes == 0:
            return 0
        train_bytes = gaps.spanned_bytes(readings.kept[0], 1)
        spacing_ns = step.level_ns / SPACED_RATIO * self.load_size_bytes / train_bytes
        groups = self.load_packets * spacing_ns / max(_GROUP_NS, spacing_ns)
        is_longer = step.level_ns / SPACED_RATIO > SPACED_RATIO * found.level_ns[step.position - 1]
        return spacing_ns if is_longer and groups >= _LEAST_GROUPS else 0

    def _aside(
        self, word: str, load: _Load, *, followed: bool
    ) -> Generator[Train, TrainOutcome, None]:
        """A train that is not of the set; `followed`: by another one."""
        train = self._next_train(load, muted=self.muted, is_last=True, followed=followed)
        if self.over or not self._fits(train):
            return
        outcome = yield train
        record = self._record(train, outcome)
        record.discarded = word
        self.over = record.train.cut_short

    def _is_enough(self) -> bool:
        count = len(self.good)
        if self.over or count >= self.chosen.trains or self.held_up > self.chosen.trains:
            return True
        if count < LEAST_TRAINS:
            return False
        readings = gaps.read(self.observations)
        measured = self.watch.expected <= set(readings.ttls)
        from_sender = 0 in readings.ttls
        return measured and settled(
            readings.gaps_ns, planned=self.chosen.trains, from_sender=from_sender
        )

    def _next_train(
        self, load: _Load, *, muted: bool, is_last: bool = False, followed: bool = False
    ) -> Train:
        hops, size = self.horizon.hops, self.observations.measurement_size_bytes
        probes = (
            *(Probe(ttl=ttl, size_bytes=size) for ttl in range(1, hops + 1)),
            *_spaced(load, muted=muted),
            *(Probe(ttl=ttl, size_bytes=size) for ttl in range(hops, 0, -1)),
        )
        train_bytes = sum(probe.size_bytes for probe in probes)
        hurried = is_last or not self._needs_patience()
        pause_ns = self.pacing.shortest_ns if hurried else self.pacing.interval_ns
        sent = self.observations.trains
        interval_ns = pause_ns(_bytes_of(sent[-1])) + _astray_ns(len(sent)) if sent else 0
        expected = self.watch.expected
        if followed:
            # Who has to be waited for between trains has no answer left. Only behind the last train
            # of all it is waited for, because then the path belongs to somebody else.
            expected = expected - {self.pacing.limiting_ttl}
        return Train(
            kind=KINDS[gaps.probe_proto(self.observations)],
            probes=probes,
            wait_ns=self.pacing.wait_ns(train_bytes),
            settle_ns=self.pacing.settle_ns(train_bytes),
            awaited=frozenset(i for i, probe in enumerate(probes) if probe.ttl in expected),
            not_before_ns=interval_ns,
            progress=(len(self.good) + 1, self.chosen.trains + 1),
            port=self.partner.port if self.partner else UDP_PORT,
            tag=self.partner.tag if self.partner else b"",
        )

    def _needs_patience(self) -> bool:
        """True while some hop has answered fewer trains than it takes to count at the end."""
        enough = max(LEAST_VALID, math.ceil(self.chosen.trains / 2))
        return any(
            sum(gaps.is_answered(train, ttl) for train in self.good) < enough
            for ttl in self.watch.expected
        )

    def _fits(self, train: Train) -> bool:
        train_bytes = sum(probe.size_bytes for probe in train.probes)
        packets = sum(len(sent.train.probes) for sent in self.observations.trains)
        if packets + len(train.probes) > MOST_PACKETS:
            return False
        if self.sent_bytes + train_bytes > self.within_bytes:
            return False
        leaving_ns = sum(probe.after_ns for probe in train.probes)
        return self._next_start_ns(train) + leaving_ns + train.wait_ns <= self.within_ns

    def _next_start_ns(self, train: Train) -> int:
        """When it would leave, counted from the first packet of the run."""
        sent = [*self._before(), *(t.train for t in self.observations.trains)]
        last = sent[-1]
        start_ns = last.t0_unix_ns - sent[0].t0_unix_ns
        times_ns = [max(probe.sent_ns, probe.received_ns) for probe in last.probes]
        return start_ns + max(max(times_ns) + self._tail_wait_ns, train.not_before_ns)

    def _record(self, train: Train, outcome: TrainOutcome) -> PathneckTrain:
        load = train.probes[self.horizon.hops : -self.horizon.hops]
        record = self.observations.trains.add()
        record.train.CopyFrom(records.to_record(train, outcome))
        record.hops = self.horizon.hops
        record.load_packets = len(load)
        record.load_size_bytes = load[0].size_bytes
        awaited = train.awaited or ()
        answered = all(outcome.echoes[i].reply is not None for i in awaited)
        self._tail_wait_ns = 0 if answered else train.wait_ns
        self.sent_bytes += sum(probe.size_bytes for probe in train.probes)
        self.pacing.longest_ns = max(self.pacing.longest_ns, train.not_before_ns)
        return record

    def _judge(self, record: PathneckTrain) -> None:
        """Does it count, and what follows from it?"""
        if record.train.cut_short:
            self.over = True
            return
        held_up = gaps.held_up(record)
        if not held_up:
            self.pacing.learn(record)
        if self._is_surprised(record):
            return
        must_repeat = self._answer_silence(record)
        if held_up:
            self.held_up += 1
        elif must_repeat:
            record.discarded = gaps.INCOMPLETE
        else:
            self.good.append(record)
            if self.chosen.adaptive and len(self.good) in _GROW_AFTER:
                self._grow()

    def _is_surprised(self, record: PathneckTrain) -> bool:
        """True if the set begins anew, with shorter trains or smaller packets."""
        proto = gaps.probe_proto(self.observations)
        nearer = nearer_end(record, self.observations.target, proto=proto)
        if nearer is not None:
            answering = frozenset(ttl for ttl in self.horizon.answering if ttl < nearer) | {nearer}
            self.horizon = attrs.evolve(self.horizon, hops=nearer, answering=answering)
            self.watch = Watch(set(answering))
        smaller = None
        if too_big(record) is not None:
            smaller = smaller_packets(self.load_packets, self.load_size_bytes)
        if smaller is not None:
            self.load_packets, self.load_size_bytes = smaller
            self.shrunk = True
        if nearer is None and smaller is None:
            return False
        self.good = []
        self.lost_tails = 0
        return True

    def _answer_silence(self, record: PathneckTrain) -> bool:
        """Slow down or shorten the train for hops gone quiet; True if it must be repeated.

        A train that one hop alone missed is still good for all the others.
        """
        starving = self.watch.starving(record)
        lost = first_lost_tail(record)
        self.lost_tails = self.lost_tails + 1 if lost is not None else 0
        if lost is None and not starving:
            return False
        silent = starving[0] if lost is None else lost
        if self.pacing.slow_down(silent, _bytes_of(record), is_host=silent == record.hops):
            return lost is not None or len(starving) > 1
        if lost is not None:
            return self._answer_lost_tail(record, lost)
        for ttl in starving:
            self.watch.give_up(ttl)
        return False

    def _answer_lost_tail(self, record: PathneckTrain, lost: int) -> bool:
        if self.lost_tails < _LOST_TAILS or self._shrink():
            return True
        self.pacing.relax()
        for ttl in range(lost, record.hops + 1):
            self.watch.give_up(ttl)
        return False

    def _grow(self) -> None:
        load = grown_load(self.good, self.load_packets, self.load_size_bytes)
        if load is not None:
            self._grow_to(*load)

    def _grow_to(self, packets: int, size_bytes: int) -> bool:
        """Begin the set anew with larger trains; False if that may not be."""
        if self.growths >= _MOST_GROWTHS or self.shrunk or not self._affords(packets, size_bytes):
            return False
        self.growths += 1
        self.load_packets, self.load_size_bytes = packets, size_bytes
        self.good = []
        return True

    def _looks_closer(self) -> bool:
        """True if the set begins anew with larger packets, because nothing stretched its trains.

        A host needs as long for a small packet as for a large one: the train may have left more
        slowly than any link would take it, so that none could stretch it.
        """
        small = self.load_size_bytes < MOST_LOAD_BYTES
        if self.over or not (small and self.chosen.adaptive and len(self.good) >= LEAST_VALID):
            return False
        readings = gaps.read(self.observations)
        if len(readings.ttls) < LEAST_PLACES or profile(readings.gaps_ns).steps:
            return False
        self.closer = self._grow_to(self.load_packets, MOST_LOAD_BYTES)
        return self.closer

    def _affords(self, packets: int, size_bytes: int) -> bool:
        """True if the fewest such trains that make a set are within the byte budget."""
        return self.sent_bytes + LEAST_TRAINS * packets * size_bytes <= self.within_bytes

    def _shrink(self) -> bool:
        """Undo the growth, or else halve the load, once: some queue is shorter than the train."""
        if self.growths and not self.shrunk:
            self.load_packets = self.chosen.load_packets
            self.load_size_bytes = self.chosen.load_size_bytes
            self.growths = 0
        elif self.halved or self.load_packets <= _LEAST_LOAD_PACKETS:
            return False
        else:
            self.halved = True
            self.load_packets = max(_LEAST_LOAD_PACKETS, self.load_packets // 2)
        self.shrunk = True
        self.lost_tails = 0
        self.good = []
        self.pacing.relax()
        return True


def _astray_ns(number: int) -> int:
    """What a train starts later by, so that none keeps step with a receiver's batches."""
    return random.Random(number).randrange(_ASTRAY_NS)


def _spaced(load: _Load, *, muted: bool) -> tuple[Probe, ...]:
    """So many of them at that pace, in groups where it is faster than single send calls."""
    probe = Probe(ttl=_LOAD_TTL, size_bytes=load.size_bytes, muted=muted)
    if not load.spacing_ns:
        return (probe,) * load.packets
    group = max(1, math.ceil(_GROUP_NS / load.spacing_ns))
    late = attrs.evolve(probe, after_ns=round(group * load.spacing_ns))
    return tuple(probe if i % group or not i else late for i in range(load.packets))


def _bytes_of(record: PathneckTrain) -> int:
    return sum(probe.size_bytes for probe in record.train.probes)
