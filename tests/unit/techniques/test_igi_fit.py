"""The turning point from trains that were too fast: a worked example, properties, refusals."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emodis.techniques.igi_fit import Growth, fit

MBIT = 1_000_000


def fluid(rate_mbps: float, capacity_mbps: float, cross_mbps: float, noise: float = 0) -> Growth:
    """What a train of 10 ms does on one link of fluids."""
    ratio = max(0.0, (rate_mbps + cross_mbps) / capacity_mbps - 1)
    return Growth(rate_bps=rate_mbps * MBIT, ratio=ratio + noise, duration_s=0.01)


def test_a_worked_example() -> None:
    # Capacity 10, competing traffic 4: a train of 7 grows by 0.1, one of 8 by 0.2.
    growths = [fluid(rate, 10, 4) for rate in (13.3, 7, 8, 5)]
    assert [growth.ratio for growth in growths] == pytest.approx([0.73, 0.1, 0.2, 0])
    found = fit(growths, 10 * MBIT)
    assert found is not None
    assert found.bps == pytest.approx(6 * MBIT)
    # 5 is below the turning point and 13.3 far above it.
    assert found.trains == 2
    assert found.error_bps == pytest.approx(0, abs=1)


@given(
    st.floats(0.05, 0.95), st.floats(1, 1000), st.lists(st.floats(0.1, 0.5), min_size=1, max_size=9)
)
def test_fluids_are_measured_exactly(load: float, capacity: float, above: list[float]) -> None:
    free = capacity * (1 - load)
    growths = [fluid(free + share * capacity, capacity, load * capacity) for share in above]
    found = fit(growths, capacity * MBIT)
    assert found is not None
    assert found.bps == pytest.approx(free * MBIT, rel=1e-6)


def test_the_error_is_that_of_the_scatter() -> None:
    chance = random.Random(1)
    errors, said = [], []
    for _ in range(300):
        growths = [fluid(rate, 10, 4, chance.gauss(0, 0.02)) for rate in (7.4, 8.4) * 3]
        found = fit(growths, 10 * MBIT)
        assert found is not None
        assert found.error_bps is not None
        errors.append(found.bps - 6 * MBIT)
        said.append(found.error_bps)
    scatter_bps = (sum(error**2 for error in errors) / len(errors)) ** 0.5
    assert sum(said) / len(said) == pytest.approx(scatter_bps, rel=0.1)


def test_a_narrower_link_behind_the_tight_one_does_not_mislead() -> None:
    # Tight: 100 with 80; bursts show the capacity of the narrow link behind it, 50.
    growths = [fluid(rate, 100, 80) for rate in (27, 30, 32, 34, 36, 38, 40, 42, 44, 46)]
    found = fit(growths, 50 * MBIT)
    assert found is not None
    assert found.bps == pytest.approx(20 * MBIT, rel=0.001)
    assert found.capacity_bps == pytest.approx(100 * MBIT, rel=0.001)


def test_an_unknown_capacity_is_that_of_the_slope() -> None:
    growths = [fluid(rate, 100, 60) for rate in (50, 52, 55, 60, 65, 70, 75, 80)]
    found = fit(growths, None)
    assert found is not None
    assert found.bps == pytest.approx(40 * MBIT, rel=0.001)


def test_where_nothing_grew_there_is_no_turning_point() -> None:
    assert fit([fluid(5, 10, 4), fluid(6, 10, 4)], 10 * MBIT) is None
    assert fit([], None) is None


def test_one_train_has_no_error() -> None:
    found = fit([fluid(8, 10, 4)], 10 * MBIT)
    assert found is not None
    assert found.error_bps is None


GROWTHS = st.builds(
    Growth,
    rate_bps=st.floats(1, 1e12),
    ratio=st.floats(-1, 1e6),
    duration_s=st.floats(1e-6, 100),
)


@given(st.lists(GROWTHS, max_size=12), st.none() | st.floats(1, 1e12))
def test_nothing_breaks_it(growths: list[Growth], capacity_bps: float | None) -> None:
    fit(growths, capacity_bps)
