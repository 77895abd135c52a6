from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emodis.techniques.stats import (
    median,
    median_error,
    nearest_rank,
    scaled_mad,
    standard_deviation,
    wilson,
)


def test_the_median_of_an_even_number_is_between_the_middle_two() -> None:
    assert median([4, 1, 3, 2]) == 2.5
    assert median([7]) == 7


def test_nothing_has_no_median() -> None:
    with pytest.raises(ValueError, match="no values"):
        median([])


@given(st.lists(st.floats(-1e12, 1e12, allow_subnormal=False), min_size=1, max_size=30))
def test_the_median_lies_among_the_values(values: list[float]) -> None:
    assert min(values) <= median(values) <= max(values)


def test_scatter_of_a_normal_sample_is_its_standard_deviation() -> None:
    chance = random.Random(1)
    values = [chance.gauss(0, 3) for _ in range(5000)]
    assert scaled_mad(values) == pytest.approx(3, rel=0.1)
    assert standard_deviation(values) == pytest.approx(3, rel=0.1)


def test_the_error_of_a_median_is_what_repetition_shows() -> None:
    chance = random.Random(2)
    samples = [[chance.gauss(0, 1) for _ in range(10)] for _ in range(2000)]
    errors = [median_error(sample) for sample in samples]
    seen = standard_deviation([median(sample) for sample in samples])
    assert sum(errors) / len(errors) == pytest.approx(seen, rel=0.15)


def test_one_value_has_no_scatter() -> None:
    assert scaled_mad([5.0]) == 0
    assert median_error([5.0]) == 0


def test_the_95th_percentile_is_a_value_that_was_measured() -> None:
    assert nearest_rank(list(range(1, 101)), 0.95) == 95
    assert nearest_rank([3], 0.95) == 3


@given(st.integers(1, 500), st.data())
def test_wilson_contains_the_share(trials: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, trials))
    low, high = wilson(hits, trials)
    assert 0 <= low <= hits / trials + 1e-12
    assert hits / trials - 1e-12 <= high <= 1


def test_wilson_worked_example() -> None:
    # 1 of 10: centre (0.1 + 0.19207) / 1.38415, half width 0.19309 (z = 1.96).
    low, high = wilson(1, 10)
    assert low == pytest.approx(0.01788, abs=1e-4)
    assert high == pytest.approx(0.40415, abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)
    assert not math.isnan(wilson(10, 10)[0])
