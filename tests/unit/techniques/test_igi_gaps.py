"""One train: bulk gaps, loss, reordering, a spoiled sender, a receiver that gathers packets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emodis.packets.paced import PacedOutcome, PacedTrain
from emodis.techniques.igi_gaps import gaps_of, record, spoiled
from emodis.wire.v1.igi_pb2 import IgiTrain

US = 1000


def a_train(
    arrivals: list[tuple[int, int]] | None = None,
    *,
    gap_ns: int = 100 * US,
    sent_ns: list[int] | None = None,
    packets: int = 40,
) -> IgiTrain:
    """`arrivals` default to what was sent, a little later and half as fast."""
    sent = sent_ns or [number * gap_ns for number in range(packets)]
    train = PacedTrain(packets=packets, size_bytes=528, gap_ns=gap_ns)
    arrived = arrivals if arrivals is not None else [(n, 7 + 2 * n * gap_ns) for n in range(40)]
    outcome = PacedOutcome(
        sent_ns=tuple(sent), arrivals=tuple(arrived), kernel_tx=True, kernel_rx=True
    )
    return record(1, train, outcome)


def test_gaps_are_those_of_the_bulk() -> None:
    found = gaps_of(a_train())
    assert found is not None
    assert (found.gap_in_ns, found.gap_out_ns) == (100 * US, 200 * US)
    assert found.neighbours_ns == (200 * US,) * 39
    assert (found.loss_ratio, found.reordered, found.quantum_ns) == (0, 0, None)


def test_loss_does_not_change_the_gap() -> None:
    kept = [(n, 2 * n * 100 * US) for n in range(40) if n % 5]
    found = gaps_of(a_train(kept))
    assert found is not None
    assert found.gap_out_ns == 200 * US
    assert found.loss_ratio == pytest.approx(0.2)
    assert len(found.neighbours_ns) == 24


def test_reordering_does_not_change_the_gap_and_is_counted() -> None:
    swapped = [(n, 2 * n * 100 * US) for n in range(40)]
    swapped[20], swapped[21] = (21, swapped[20][1]), (20, swapped[21][1])
    found = gaps_of(a_train(swapped))
    assert found is not None
    assert found.gap_out_ns == 200 * US
    assert found.reordered == 1


def test_the_head_of_a_train_that_a_shaper_lets_pass_does_not_count() -> None:
    free = [(n, n * US) for n in range(3)]
    shaped = [(n, 2 * n * 100 * US) for n in range(3, 40)]
    found = gaps_of(a_train(free + shaped))
    assert found is not None
    assert found.gap_out_ns == 200 * US


def test_a_receiver_that_gathers_packets_shows_its_quantum() -> None:
    grouped = [(n, n // 10 * 1000 * US + n) for n in range(40)]
    found = gaps_of(a_train(grouped))
    assert found is not None
    assert found.quantum_ns == pytest.approx(1000 * US, rel=0.01)


def test_nothing_is_said_of_one_probe() -> None:
    assert gaps_of(a_train([])) is None
    assert gaps_of(a_train([(20, 5)])) is None


def sent_with(changes: dict[int, int]) -> IgiTrain:
    sent = [n * 100 * US for n in range(40)]
    for number, delay_ns in changes.items():
        sent[number:] = [time_ns + delay_ns for time_ns in sent[number:]]
    return a_train(sent_ns=sent)


def test_a_train_is_spoiled_by_one_long_gap_or_by_a_wrong_mean() -> None:
    assert not spoiled(sent_with({}))
    assert not spoiled(sent_with({20: 300 * US}))
    assert spoiled(sent_with({20: 401 * US}))
    assert spoiled(sent_with({10: 200 * US, 20: 200 * US, 30: 200 * US}))


def test_a_burst_cannot_be_spoiled() -> None:
    assert not spoiled(a_train(gap_ns=0, sent_ns=[0, 5000 * US] + [5000 * US] * 38))


@given(
    st.builds(
        IgiTrain,
        packets=st.integers(0, 2**32 - 1),
        size_bytes=st.integers(0, 2**32 - 1),
        gap_ns=st.integers(0, 2**63),
        sent_steps_ns=st.lists(st.integers(-(2**62), 2**62), max_size=8),
        received=st.lists(st.integers(0, 2**32 - 1), max_size=8),
        received_steps_ns=st.lists(st.integers(-(2**62), 2**62), max_size=8),
    )
)
def test_no_record_is_too_odd(train: IgiTrain) -> None:
    gaps_of(train)
    spoiled(train)
