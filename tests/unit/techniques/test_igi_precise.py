"""The precise stage: what it is good for, what it may cost, whom it believes."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from statistics import median

import attrs
import pytest

from emodis.packets.paced import PacedOutcome, PacedTrain
from emodis.techniques.base import Context, Measured
from emodis.techniques.igi import Igi
from emodis.techniques.igi_precise import answer, next_rate_bps
from emodis.wire.v1.common_pb2 import END_DONE
from emodis.wire.v1.igi_pb2 import IgiObservations, IgiResult, IgiTrain
from tests.support.driving import Carrier, drive
from tests.support.fifo import Link

MBIT = 1_000_000
IGI = Igi()
CONTEXT = Context(address=ip_address("192.0.2.1"), seed=1)


def run(link: Carrier[PacedTrain, PacedOutcome], **options: object) -> Measured:
    """A whole precise run over a simulated link."""
    call = IGI.call({"precise": "true", **{name: str(value) for name, value in options.items()}})
    trains = IGI.talk_to_peer(call, CONTEXT)
    return drive(trains, link)


def result(measured: Measured) -> IgiResult:
    assert isinstance(measured.result, IgiResult)
    return measured.result


def trains_of(measured: Measured) -> Sequence[IgiTrain]:
    assert isinstance(measured.observations, IgiObservations)
    return measured.observations.trains


def sent(measured: Measured) -> int:
    return sum(train.packets * train.size_bytes for train in trains_of(measured))


@pytest.mark.parametrize("load", [0.2, 0.4, 0.7])
def test_it_is_more_precise_than_ptr_within_its_budget(load: float) -> None:
    free_bps = 20 * MBIT * (1 - load)
    errors = []
    for seed in range(8):
        link = Link(20 * MBIT, 20 * MBIT * load, seed=seed, jitter_ns=3000)
        found = run(link)
        errors.append(abs(result(found).precise_bps / free_bps - 1))
        assert sent(found) <= 3_000_000
        assert link.elapsed_ns <= 20_000_000_000
    assert median(errors) <= 0.04
    assert max(errors) <= 0.15


@attrs.define
class HeldUp:
    """The sender is held up in every second long train."""

    link: Link
    long: int = 0

    def carry(self, train: PacedTrain) -> PacedOutcome:
        outcome = self.link.carry(train)
        self.long += train.packets > 300
        if train.packets <= 300 or self.long % 2 == 0:
            return outcome
        late = tuple(t + 10_000_000 * (n > 30) for n, t in enumerate(outcome.sent_ns))
        return attrs.evolve(outcome, sent_ns=late)


@pytest.mark.parametrize("load", [0.1, 0.5])
def test_trains_spoiled_by_the_sender_count_against_the_budget(load: float) -> None:
    for seed in range(5):
        link = Link(20 * MBIT, load * 20 * MBIT, seed=seed, jitter_ns=3000)
        found = run(HeldUp(link))
        assert any(train.precise and train.discarded for train in trains_of(found))
        assert sent(found) <= 3_000_000
        assert result(found).precise_bps > 0


def test_an_idle_link_is_known_at_once() -> None:
    found = run(Link(20 * MBIT))
    assert result(found).precise_bps == pytest.approx(20 * MBIT, rel=0.005)
    assert sent(found) < 2_000_000
    said = result(found)
    assert said.precise_low_bps <= said.precise_bps <= said.precise_high_bps


def test_ptr_is_what_it_is_without() -> None:
    link = Link(20 * MBIT, 8 * MBIT, seed=3)
    alone = IGI.estimate(
        IGI.call({}),
        IgiObservations(
            trains=[t for t in _observations(run(link)).trains if not t.precise]
        ).SerializeToString(),
    )
    again = run(Link(20 * MBIT, 8 * MBIT, seed=3))
    assert result(again).ptr_bps == result(alone).ptr_bps
    assert not result(alone).HasField("precise_bps")


def _observations(measured: Measured) -> IgiObservations:
    assert isinstance(measured.observations, IgiObservations)
    return measured.observations


def test_stored_trains_give_the_same_again() -> None:
    found = run(Link(20 * MBIT, 8 * MBIT, seed=3))
    stored = found.observations.SerializeToString()
    assert IGI.estimate(IGI.call({"precise": "true"}), stored) == found


def test_the_bytes_that_the_volunteer_allows_are_the_limit() -> None:
    found = run(Link(20 * MBIT, 8 * MBIT), max_bytes=1_500_000)
    assert found.ending.end == END_DONE
    assert sent(found) <= 1_500_000


def train(rate_bps: float, *, growth: float, precise: bool = True) -> IgiTrain:
    """One that grows evenly."""
    gap_ns = round(528 * 8e9 / rate_bps)
    return IgiTrain(
        phase=1,
        packets=240,
        size_bytes=528,
        gap_ns=gap_ns,
        sent_steps_ns=[0] + [gap_ns] * 239,
        received=range(240),
        received_steps_ns=[0] + [round(gap_ns * (1 + growth))] * 239,
        precise=precise,
    )


def numbered(trains: list[IgiTrain]) -> list[IgiTrain]:
    for number, one in enumerate(trains, 1):
        one.phase = number
    return trains


def test_trends_that_plainly_contradict_the_model_are_believed() -> None:
    # The growth of fast trains says 10 of 20 Mbit/s are left, but all at 8 and 9 rise, too.
    fast = [train(rate * MBIT, growth=(rate - 10) / 20) for rate in (12, 13, 14, 15)]
    slow = [train(rate * MBIT, growth=0.02) for rate in (8, 8.5, 9)]
    rest = [train(rate * MBIT, growth=0) for rate in (6, 7)]
    found = answer(numbered([*fast, *slow, *rest]))
    assert found is not None
    assert 7 * MBIT <= found.bps <= 8 * MBIT
    lone = answer(numbered([*fast, slow[0], *rest]))
    assert lone is not None
    assert lone.bps > 8 * MBIT


def test_without_a_turning_point_there_is_nothing_to_be_precise_about() -> None:
    flat = numbered([train(rate * MBIT, growth=0) for rate in (5, 6)])
    assert answer(flat) is None
    assert next_rate_bps(flat, 0) is None
