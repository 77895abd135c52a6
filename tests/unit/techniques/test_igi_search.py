"""The search for the turning point, over a simulated link."""

from __future__ import annotations

import itertools
from typing import Protocol

import attrs
import pytest

from emodis.packets.paced import PacedOutcome, PacedTrain
from emodis.techniques.igi_search import Parameters, Search
from emodis.wire.v1.igi_pb2 import IgiObservations
from tests.support.driving import drive
from tests.support.fifo import Link

MBIT = 1_000_000


class Path(Protocol):
    """What carries trains."""

    def carry(self, train: PacedTrain) -> PacedOutcome: ...


def search(link: Path, chosen: Parameters | None = None) -> IgiObservations:
    """Let the search have its trains carried by the link."""
    trains = Search(chosen or Parameters()).trains()
    return drive(trains, link)


def gaps(observations: IgiObservations) -> list[int]:
    """The gap of each phase, in order."""
    return list(dict.fromkeys(train.gap_ns for train in observations.trains))


def test_it_starts_with_a_burst_and_ends_with_two_phases_that_arrived_as_sent() -> None:
    own_ns = 528 * 8 * 1000 / 10
    found = search(Link(10 * MBIT))
    assert found.stopped == ""
    assert gaps(found)[:4] == pytest.approx([0, 0.75 * own_ns, own_ns, 1.25 * own_ns], abs=2)
    searching = found.trains[:12]
    assert [train.phase for train in searching] == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3


def test_it_goes_on_with_longer_trains_that_are_a_little_too_fast() -> None:
    found = search(Link(10 * MBIT, 4 * MBIT))
    settling = [train for train in found.trains if train.packets == 240]
    assert len(settling) >= 3
    # Other traffic is random: the guess that the rates are above may be off by a fifth.
    for train in settling:
        rate_bps = train.size_bytes * 8e9 / train.gap_ns
        assert 6 * MBIT < rate_bps < 1.2 * 6 * MBIT + 0.24 * 10 * MBIT
    total = sum(train.packets * train.size_bytes for train in found.trains)
    assert total <= 1_000_000


def test_a_lone_path_needs_few_of_them() -> None:
    found = search(Link(10 * MBIT))
    assert sum(train.packets == 240 for train in found.trains) == 3


def test_it_jumps_where_a_train_is_far_too_fast() -> None:
    found = search(Link(10 * MBIT, 8 * MBIT))
    paced = list(dict.fromkeys(t.gap_ns for t in found.trains if t.gap_ns and t.packets == 60))
    steps = [after - before for before, after in itertools.pairwise(paced)]
    assert max(steps) > 1.5 * min(steps)


def test_fast_paths_get_more_and_larger_probes() -> None:
    found = search(Link(100 * MBIT, 30 * MBIT))
    assert {(t.packets, t.size_bytes) for t in found.trains[:3]} == {(60, 528)}
    assert {(t.packets, t.size_bytes) for t in found.trains[3:9]} == {(60, 1428)}
    faster = search(Link(1000 * MBIT, 300 * MBIT))
    assert {(t.packets, t.size_bytes) for t in faster.trains[6:9]} == {(120, 1428)}
    same = search(Link(100 * MBIT, 30 * MBIT), Parameters(adaptive=False))
    assert {(t.packets, t.size_bytes) for t in same.trains} == {(60, 528)}


def test_trains_grow_until_they_last_many_quanta() -> None:
    found = search(Link(50 * MBIT, quantum_ns=1_000_000))
    last = found.trains[-1]
    assert last.packets * last.gap_ns >= 19 * 1_000_000


@attrs.define
class Hooked:
    """A link whose trains something happens to."""

    link: Link
    sent: list[PacedTrain] = attrs.field(factory=list)

    def carry(self, train: PacedTrain) -> PacedOutcome:
        self.sent.append(train)
        return self.happens(self.link.carry(train), len(self.sent))

    def happens(self, outcome: PacedOutcome, number: int) -> PacedOutcome:
        raise NotImplementedError


@attrs.define
class Silent(Hooked):
    """Nothing arrives from the `start`th train on."""

    start: int = 1

    def happens(self, outcome: PacedOutcome, number: int) -> PacedOutcome:
        return attrs.evolve(outcome, arrivals=()) if number >= self.start else outcome


@attrs.define
class Busy(Hooked):
    """The sender is held up in these trains."""

    when: frozenset[int] = frozenset()

    def happens(self, outcome: PacedOutcome, number: int) -> PacedOutcome:
        if number not in self.when:
            return outcome
        late = tuple(t + 10_000_000 * (n > 30) for n, t in enumerate(outcome.sent_ns))
        return attrs.evolve(outcome, sent_ns=late)


@attrs.define
class ShortQueue(Hooked):
    """What is faster than `limit_ns` loses a third."""

    limit_ns: int = 0

    def happens(self, outcome: PacedOutcome, number: int) -> PacedOutcome:
        if self.sent[-1].gap_ns >= self.limit_ns or self.sent[-1].gap_ns == 0:
            return outcome
        return attrs.evolve(outcome, arrivals=outcome.arrivals[::3] + outcome.arrivals[1::3])


def test_where_no_udp_arrives_three_trains_say_so() -> None:
    path = Silent(Link(10 * MBIT))
    assert search(path).stopped == "udp_blocked"
    assert len(path.sent) == 3


def test_a_path_that_dies_is_not_called_blocked() -> None:
    path = Silent(Link(10 * MBIT), start=5)
    assert search(path).stopped == "all_lost"
    assert len(path.sent) == 7


def test_a_train_spoiled_by_its_sender_is_sent_again() -> None:
    found = search(Busy(Link(10 * MBIT), when=frozenset({5, 9})))
    assert [n for n, train in enumerate(found.trains, 1) if train.discarded] == [5, 9]
    assert {t.discarded for t in found.trains} == {"", "sender"}
    for phase in (1, 2, 3):
        assert sum(t.phase == phase and not t.discarded for t in found.trains) == 3


def test_a_sender_that_is_always_held_up_gives_up() -> None:
    found = search(Busy(Link(10 * MBIT), when=frozenset(range(4, 100))))
    assert found.stopped == "self_congested"
    assert len(found.trains) == 13


def test_loss_that_a_slower_train_does_not_have_means_too_fast() -> None:
    own_ns = 528 * 8 * 1000 // 10
    path = ShortQueue(Link(10 * MBIT), limit_ns=round(1.1 * own_ns))
    found = search(path)
    assert found.stopped == ""
    used = [train for train in found.trains if train.gap_ns and not train.discarded]
    assert min(train.gap_ns for train in used) > 1.1 * own_ns


def test_loss_at_any_rate_is_lived_with() -> None:
    found = search(Link(10 * MBIT, loss_ratio=0.3))
    assert found.stopped == ""
    assert sum(train.discarded == "loss" for train in found.trains) == 2


@pytest.mark.parametrize(
    ("chosen", "why"),
    [
        (Parameters(max_bytes=1_000_000, repeats=10, packets=512), "max_bytes"),
        (Parameters(max_time_s=5.0, repeats=10), "max_time"),
        (Parameters(max_phases=5), "max_phases"),
        (Parameters(min_rate_bps=5_000_000), "min_rate"),
    ],
)
def test_every_limit_ends_it_with_its_name(chosen: Parameters, why: str) -> None:
    found = search(Link(10 * MBIT, 8.5 * MBIT, seed=3), chosen)
    assert found.stopped == why
    assert sum(train.packets * train.size_bytes for train in found.trains) <= chosen.max_bytes
