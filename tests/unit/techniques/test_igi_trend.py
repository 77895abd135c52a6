"""The trend of one-way delays: worked examples, an offset and outliers that change nothing."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emodis.techniques.igi_trend import Trend, trend, trend_of
from emodis.wire.v1.igi_pb2 import IgiTrain

NOISE_NS = 20_000


def delays(slope_ns: float, *, count: int = 240, seed: int = 1) -> list[int]:
    chance = random.Random(seed)
    return [round(slope_ns * number + chance.gauss(0, NOISE_NS)) for number in range(count)]


@pytest.mark.parametrize(
    ("slope_ns", "said"), [(2000, Trend.RISING), (0, Trend.FLAT), (-2000, Trend.FLAT)]
)
def test_a_slope_is_seen_through_noise(slope_ns: float, said: Trend) -> None:
    words = [trend(delays(slope_ns, seed=seed)) for seed in range(20)]
    assert words.count(said) >= 17
    assert said is Trend.RISING or Trend.RISING not in words


def test_an_offset_of_the_clocks_changes_nothing() -> None:
    rising = delays(2000)
    assert trend([delay - 10**18 for delay in rising]) is trend(rising) is Trend.RISING


def test_single_late_probes_change_nothing() -> None:
    flat, rising = delays(0), delays(3000)
    for number in (17, 100, 239):
        flat[number] += 50_000_000
        rising[number - 17] += 50_000_000
    assert trend(flat) is Trend.FLAT
    assert trend(rising) is Trend.RISING


def test_equal_delays_are_flat() -> None:
    assert trend([5] * 100) is Trend.FLAT


def test_too_few_say_nothing() -> None:
    assert trend(range(16)) is Trend.UNCLEAR
    assert trend([]) is Trend.UNCLEAR


def test_a_train_is_read_in_the_order_of_sending() -> None:
    # Sent 100 us apart, received 110: the delays rise. Probes 50 and 51 swapped places.
    order = list(range(100))
    order[50], order[51] = 51, 50
    train = IgiTrain(
        packets=100,
        size_bytes=528,
        sent_steps_ns=[0] + [100_000] * 99,
        received=order,
        received_steps_ns=[0] + [110_000] * 99,
    )
    assert trend_of(train) is Trend.RISING
    train.received_steps_ns[:] = [0] + [100_000] * 99
    assert trend_of(train) is Trend.FLAT


@given(st.lists(st.integers(-(10**18), 10**18), max_size=60))
def test_any_delays_have_a_trend(found: list[int]) -> None:
    assert trend(found) in Trend
