from __future__ import annotations

import math
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emodis.techniques.pathneck_estimator import Profile, profile, settled, usable
from emodis.techniques.segmentation import STEP_MIN_NS, Threshold

MS = 1_000_000
BODY = 31_000 * 8


def fluid(rates_mbps: list[float], *, sigma_ns: float, trains: int, seed: int) -> list[list[float]]:
    """Gaps of trains on a fluid path: hop 0 at 1 Gbit/s, then the slowest link so far."""
    chance = random.Random(seed)
    rows = []
    for _ in range(trains):
        slowest, row = 1000.0, [BODY / 1.0]
        for rate in rates_mbps:
            slowest = min(slowest, rate)
            late = chance.expovariate(1 / sigma_ns) - chance.expovariate(1 / sigma_ns)
            row.append(max(1.0, BODY / slowest * 1000 + (late if sigma_ns else 0)))
        rows.append(row)
    return rows


def found(rows: list[list[float]]) -> tuple[int | None, list[int]]:
    seen = profile(rows)
    main = seen.bottleneck.position if seen.bottleneck else None
    return main, [step.position for step in seen.steps]


def test_worked_example() -> None:
    """Ten quiet trains over 100, 50, 100 and 20 Mbit/s: chokes at 1, 2 and 4, the last is it."""
    seen = profile(fluid([100, 50, 100, 20], sigma_ns=1, trains=10, seed=1))
    assert [step.position for step in seen.steps] == [1, 2, 4]
    assert seen.bottleneck is not None
    assert (seen.bottleneck.position, seen.bottleneck.detection_ratio) == (4, 1.0)
    assert seen.bottleneck.confidence == pytest.approx(1.0)
    assert seen.bottleneck.level_ns == pytest.approx(12.4 * MS, rel=1e-3)
    # Ten percent up is 9.1 % less rate: the finest step where nothing is noisy.
    assert seen.resolution_ratio == pytest.approx(1 - 1 / 1.1, rel=1e-3)


@pytest.mark.parametrize("position", range(1, 9))
@pytest.mark.parametrize("rate", [10, 50])
def test_a_choke_at_any_hop_of_eight(position: int, rate: int) -> None:
    rates = [100.0] * 8
    rates[position - 1] = rate
    hits = [
        found(fluid(rates, sigma_ns=100_000, trains=10, seed=seed))[0] == position
        for seed in range(20)
    ]
    assert sum(hits) >= 19


def test_flat_paths_show_nothing_behind_the_first_link() -> None:
    false = 0
    for seed in range(100):
        rows = fluid([100.0] * 8, sigma_ns=300_000, trains=10, seed=seed)
        false += any(position > 1 for position in found(rows)[1])
    assert false <= 5


def test_two_chokes_the_slower_one_is_the_bottleneck() -> None:
    rows = fluid([100, 50, 50, 20, 20], sigma_ns=50_000, trains=10, seed=3)
    assert found(rows) == (4, [1, 2, 4])


def test_no_choke_at_all_where_the_host_is_no_faster() -> None:
    rows = fluid([1000.0] * 6, sigma_ns=5_000, trains=10, seed=1)
    seen = profile(rows)
    assert seen.bottleneck is None
    assert seen.resolution_ratio < 0.35


def test_trains_that_disagree_vote_a_step_down() -> None:
    """Four of ten trains grow, by much: the medians are unmoved or the vote says no."""
    rows = [[10.0 * MS] * 4 + [10.0 * MS if i < 6 else 40.0 * MS] * 4 for i in range(10)]
    assert found(rows) == (None, [])


def test_a_step_must_stand_out_of_what_its_own_hops_scatter_by() -> None:
    """The path is quiet, the last hop's answers are not: its median may lie anywhere."""
    rows = [[10 * MS] * 5 + [last * MS] for last in (10, 10.2, 12, 15, 16)]
    seen = profile(rows)
    assert (seen.steps, seen.outvoted) == ((), ((5, 0.6),))
    assert not settled(rows, planned=10)
    quieter = [[10 * MS] * 5 + [last * MS] for last in (11.8, 11.9, 12, 12.1, 12.2)]
    assert found(quieter) == (5, [5])


def test_a_hop_that_misses_trains_is_compared_over_the_same_ones() -> None:
    """Trains of very different lengths, one hop heard in the long ones only."""
    rows: list[list[float | None]] = [[v] * 4 for v in (10e6, 10e6, 30e6, 30e6, 30e6)]
    rows += [[10e6, 10e6, 10e6, None] for _ in range(2)]
    seen = profile(rows)
    assert seen.gap_ns == [30e6] * 4
    assert (seen.steps, seen.outvoted) == ((), ())


def test_a_position_needs_three_gaps_and_half_of_the_trains() -> None:
    rows: list[list[float | None]] = [[1.0, None, 1.0, math.nan] for _ in range(6)]
    rows[0][1] = rows[1][1] = 1.0
    for row in rows[3:]:
        row[2] = -1.0
    assert usable(rows) == [0, 2]
    assert usable([]) == []
    assert usable([[1.0], [1.0]]) == []


def test_it_settles_early_when_all_agree() -> None:
    rows = fluid([100, 10, 100, 100], sigma_ns=1_000, trains=5, seed=1)
    assert settled(rows, planned=10)
    # One train of five that saw nothing keeps the vote open.
    assert not settled([*rows[:4], [rows[4][0]] * 5], planned=10)
    # With fewer than half of the trains the rest could still outvote them.
    assert not settled(rows, planned=20)


def test_it_does_not_settle_while_noise_hides_a_third_of_the_rate() -> None:
    rows = fluid([100.0] * 5, sigma_ns=5_000_000, trains=5, seed=1)
    assert not settled(rows, planned=10)


HOSTILE: list[list[list[float | None]]] = [
    [],
    [[]],
    [[], [1.0]],
    [[5.0]],
    [[math.nan, math.inf, -math.inf]] * 5,
    [[-1.0, -2.0, -3.0]] * 5,
    [[0.0] * 10] * 5,
    [[1e12] * 10] * 5,
    [[7.0] * 10] * 5,
    [[float(v) for v in range(20, 0, -1)]] * 5,
    [[None] * 9 + [5.0]] * 5,
    [[1e-300, 1e300, 1e-300, 1e300]] * 5,
    [[float((i * 7919) % 64 + 1) * MS for i in range(64)]] * 10,
]


@pytest.mark.parametrize("rows", HOSTILE)
def test_hostile_arrays(rows: list[list[float | None]]) -> None:
    before = time.process_time()
    check(profile(rows), rows)
    # 100 ms is expected; ten times that guards against hanging.
    assert time.process_time() - before < 1.0


@given(
    st.lists(
        st.lists(st.none() | st.floats(), max_size=8),
        max_size=6,
    )
)
def test_any_arrays(rows: list[list[float | None]]) -> None:
    check(profile(rows), rows)


def check(seen: Profile, rows: list[list[float | None]]) -> None:
    width = max((len(row) for row in rows), default=0)
    assert len(seen.gap_ns) == len(seen.level_ns) == len(seen.mad_ns) == width
    assert 0 <= seen.resolution_ratio <= 1
    for step in seen.steps:
        assert 0 < step.position < width
        assert 0.5 <= step.detection_ratio <= 1
        assert 0 <= step.confidence <= 1
        assert step.jump_ns > 0


LENGTHS = st.integers(1, 10**9).map(float)
ROWS = st.integers(1, 8).flatmap(
    lambda width: st.lists(st.lists(LENGTHS, min_size=width, max_size=width), max_size=6)
)


# Powers of two scale every number exactly: rounding decides no tie.
@given(rows=ROWS, factor=st.sampled_from([2.0, 8.0, 64.0]))
def test_a_slower_path_of_the_same_shape_has_the_same_choke_points(
    rows: list[list[float]], factor: float
) -> None:
    slower = [[gap * factor for gap in row] for row in rows]
    limits = Threshold(noise_ns=0.0, step_min_ns=STEP_MIN_NS * factor)
    there = profile(slower, threshold=limits)
    here = profile(rows)
    assert [step.position for step in there.steps] == [step.position for step in here.steps]
    assert [step.detection_ratio for step in there.steps] == [
        step.detection_ratio for step in here.steps
    ]
    assert there.resolution_ratio == here.resolution_ratio


@given(rows=ROWS, constant=st.integers(0, 10**9))
def test_a_constant_on_top_adds_no_choke_point(rows: list[list[float]], constant: int) -> None:
    more = [[gap + constant for gap in row] for row in rows]
    assert len(profile(more).steps) <= len(profile(rows).steps)
