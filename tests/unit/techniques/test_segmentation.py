from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emodis.techniques.segmentation import (
    MAX_SPLITS,
    Threshold,
    segment_levels,
    smooth,
    split,
)
from emodis.techniques.stats import median

US = 1_000
quiet = Threshold(noise_ns=0.0)
gaps = st.lists(st.floats(1, 1e9), min_size=0, max_size=12)


def cost(levels: Sequence[float], splits: Sequence[int], threshold: Threshold) -> float | None:
    """What a way to split costs, None if one of its steps is too small."""
    bounds = [0, *splits, len(levels)]
    parts = [levels[a:b] for a, b in itertools.pairwise(bounds)]
    for low, high in itertools.pairwise(parts):
        step_ns = threshold.step_ns(median(low), min(len(low), len(high)))
        if median(high) < median(low) + step_ns:
            return None
    scatter = sum(abs(value - median(part)) for part in parts for value in part)
    return scatter + threshold.penalty_ns * len(splits)


def test_worked_example() -> None:
    """100, 100, 20 and 100 Mbit/s: the train of 2.7 ms grows to 13.4 ms on the third link."""
    levels = [300 * US, 2700 * US, 2650 * US, 13400 * US, 13500 * US, 13450 * US]
    assert split(levels, quiet) == (1, 3)
    assert segment_levels(levels, (1, 3)) == [
        300 * US,
        2675 * US,
        2675 * US,
        13450 * US,
        13450 * US,
        13450 * US,
    ]


def test_a_step_in_the_first_hops_is_not_hidden() -> None:
    """The original tool overwrote leading gaps below a fifth of the median."""
    assert split([2.7e6, 27e6, 27e6, 27e6, 27e6, 27e6, 27e6], quiet) == (1,)


def test_decreases_do_not_count() -> None:
    assert split([9e6, 9e6, 9e6, 1e6, 1e6, 1e6], quiet) == ()


def test_a_small_step_is_none() -> None:
    assert split([2.0e6] * 4 + [2.05e6] * 4, quiet) == ()
    assert split([2.0e6] * 4 + [2.5e6] * 4, quiet) == (4,)


def test_noise_asks_for_larger_steps_and_more_so_for_a_single_hop() -> None:
    noisy = Threshold(noise_ns=300 * US)
    assert split([2.0e6] * 4 + [2.9e6] * 4, noisy) == ()
    assert split([2.0e6] * 4 + [3.2e6] * 4, noisy) == (4,)
    assert split([2.0e6] * 7 + [3.2e6], noisy) == ()
    assert split([2.0e6] * 7 + [3.4e6], noisy) == (7,)


@given(levels=gaps, noise_ns=st.floats(0, 1e6))
def test_no_other_way_to_split_is_better(levels: list[float], noise_ns: float) -> None:
    levels = levels[:8]
    threshold = Threshold(noise_ns=noise_ns)
    found = cost(levels, split(levels, threshold), threshold) if levels else 0.0
    assert found is not None
    for count in range(MAX_SPLITS + 1):
        for splits in itertools.combinations(range(1, len(levels)), count):
            other = cost(levels, splits, threshold)
            assert other is None or found <= other * (1 + 1e-9) + 1e-6


@given(levels=gaps, factor=st.floats(1.0, 100.0))
def test_a_slower_path_of_the_same_shape_splits_at_the_same_places(
    levels: list[float], factor: float
) -> None:
    slower = Threshold(noise_ns=0.0, step_min_ns=quiet.step_min_ns * factor)
    rounded = [float(round(level)) for level in levels]
    here = split(rounded, quiet)
    there = split([level * factor for level in rounded], slower)
    scaled = Threshold(noise_ns=0.0, step_min_ns=quiet.step_min_ns)
    if here != there:
        # Only where two ways cost the same may rounding decide.
        ours, theirs = cost(rounded, here, scaled), cost(rounded, there, scaled)
        assert ours is not None
        assert theirs is None or theirs == pytest.approx(ours)


@given(levels=gaps, constant=st.floats(0, 1e9))
def test_a_constant_on_top_never_adds_a_step(levels: list[float], constant: float) -> None:
    more = [level + constant for level in levels]
    assert len(split(more, quiet)) <= max(len(split(levels, quiet)), 0) + _ties(levels)


def _ties(levels: Sequence[float]) -> int:
    """Equal costs may be decided differently after rounding; allow it where that can be."""
    return len(levels) - len({round(level) for level in levels})


def test_hills_and_valleys_are_cut_and_steps_stay() -> None:
    assert smooth([1, 1, 9, 1, 1]) == [1, 1, 1, 1, 1]
    assert smooth([5, 5, 1, 5, 5]) == [5, 5, 5, 5, 5]
    assert smooth([1, 1, 5, 5, 5]) == [1, 1, 5, 5, 5]
    # First and last keep their value.
    assert smooth([9, 1, 1, 1, 9]) == [9, 1, 1, 1, 9]
    assert smooth([]) == []


@given(gaps)
def test_smoothing_invents_no_values(levels: list[float]) -> None:
    assert set(smooth(levels)) <= set(levels)
