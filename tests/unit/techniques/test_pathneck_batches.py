from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emodis.techniques.pathneck_batches import quantum_ns, scatter_ns

US = 1_000
MS = 1_000 * US


def batched(true_ns: float, quantum: int, *, seed: int, hops: int = 6) -> list[list[float]]:
    """Gaps of five trains between two answers that are each shown at the end of a quantum."""
    chance = random.Random(seed)

    def gap() -> float:
        start = chance.uniform(0, quantum)
        shown = -(-(start + true_ns) // quantum) - -(-start // quantum)
        return shown * quantum

    return [[gap() for _ in range(5)] for _ in range(hops)]


def test_worked_example() -> None:
    """A train of 245 us at hops that show it as 200 us, 300 us, or a few ns more or less."""
    columns = [[200_000, 300_000, 200_003, 300_001, 200_000], [300_000, 299_998, 200_000]]
    assert quantum_ns(columns) == pytest.approx(100_000, rel=0.001)
    assert scatter_ns(columns) == pytest.approx(40_825, rel=0.001)


@pytest.mark.parametrize("quantum", [50 * US, 100 * US, 125 * US, 250 * US])
def test_a_quantum_is_found_where_it_splits_the_gaps(quantum: int) -> None:
    found = [quantum_ns(batched(3.5 * quantum, quantum, seed=seed)) for seed in range(20)]
    assert found == [pytest.approx(quantum)] * 20


def test_longer_batches_are_taken_for_something_else() -> None:
    assert quantum_ns(batched(3.5 * MS, MS, seed=1)) == 0


@pytest.mark.parametrize("sigma_ns", [1 * US, 20 * US, 100 * US, 500 * US])
def test_ordinary_noise_is_no_batches(sigma_ns: float) -> None:
    for seed in range(100):
        chance = random.Random(seed)
        columns = [
            [2400 * US + chance.expovariate(1 / sigma_ns) for _ in range(5)] for _ in range(6)
        ]
        assert quantum_ns(columns) == 0


def test_one_gap_that_met_something_is_no_batch() -> None:
    quiet = [[2400.0 * US] * 5 for _ in range(6)]
    quiet[2][1] += 80 * US
    assert quantum_ns(quiet) == 0


@given(st.lists(st.lists(st.floats(1e-300, 1e300), max_size=8), max_size=8))
def test_any_gaps(columns: list[list[float]]) -> None:
    assert 0 <= quantum_ns(columns) <= 250 * US
