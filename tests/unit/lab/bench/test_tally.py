from __future__ import annotations

import pytest

from emodis.lab.bench.subjects import tally
from emodis.lab.bench.tally import Share, table
from tests.unit.lab.bench.builders import bandwidth, loss, trial

WRONG = {"named_ttl": 5, "named_from_ttl": 4}
TRIALS = [
    trial(),
    trial(choke_ttl=1, **WRONG),
    trial(kind="loaded", cross_ratio=0.5),
    trial(kind="loaded", cross_ratio=0.1),
    trial(kind="tight", clear=False, **WRONG),
    trial(kind="quiet", true_ttl=4, named_ttl=4),
    trial(kind="lossy", done=False),
    trial(kind="flat", named_ttl=1, named_from_ttl=0),
    trial(kind="flat", **WRONG),
]


def test_every_trial_counts_in_its_group() -> None:
    counted = {share.label.strip(): (share.hits, share.trials) for share in tally(TRIALS)}
    assert counted == {
        "right link, clear, idle": (1, 2),
        "right link, clear, 30 to 70 % load": (1, 1),
        "right link, clear, other loads": (1, 1),
        "of those, bottleneck on the first link": (0, 1),
        "right link, not clear": (0, 1),
        "right link, silent or limited routers": (1, 1),
        "right link, loss on the way": (0, 1),
        "false bottleneck on a flat path": (1, 2),
    }


def test_a_run_without_a_result_is_counted_and_costs_nothing() -> None:
    (lossy,) = [share for share in tally(TRIALS) if "loss" in share.label]
    assert (lossy.failed, lossy.median_s, lossy.median_bytes) == (1, None, None)


def test_shares_carry_their_interval() -> None:
    share = tally([trial()] * 97 + [trial(**WRONG)] * 3)[0]
    low, high = share.interval
    # Wilson, by hand: 97 of 100.
    assert (round(low, 3), round(high, 3)) == (0.915, 0.99)
    assert share.as_json()["low_ratio"] == low
    assert "97/100" in share.row()
    assert "92% to 99%" in share.row()


def test_the_table_is_aligned_and_has_a_heading_for_each_technique() -> None:
    rows = list(table(tally([*TRIALS, bandwidth(), loss()])))
    assert len({len(row) for row in rows}) == 1
    headings = [row.split()[0] for row in rows if "k/n" in row]
    assert headings == ["loss", "pathneck", "igi"]


def test_errors_of_bandwidth_are_shares_of_the_truth_and_heavy_loads_do_not_count() -> None:
    trials = [
        bandwidth(),
        bandwidth(said_bps=2_500_000),
        bandwidth(cross_ratio=0.75, said_bps=50_000_000),
        bandwidth(done=False, said_bps=0),
    ]
    whole = tally(trials)[0]
    assert (whole.label, whole.hits, whole.trials) == ("within 20 %, loads 0 to 70 %", 1, 3)
    assert (whole.failed, whole.error_unit) == (1, "ratio")
    assert whole.median_error == pytest.approx(0.3)
    assert whole.p90_error == pytest.approx(0.5)
    assert "30.0 / 50.0 %" in whole.row()


def test_loss_is_right_where_its_interval_holds_the_truth() -> None:
    trials = [loss(), loss(high_ratio=0.019), loss(named_from_ttl=3, named_to_ttl=5)]
    holds, placed = tally(trials)
    assert (holds.hits, holds.trials, holds.error_unit) == (2, 3, "points")
    assert "0.5 / 0.5 pp" in holds.row()
    assert (placed.hits, placed.trials) == (2, 3)
    # Nowhere, and anywhere: both name no place.
    for start, end in ((0, 0), (0, 6)):
        (holds,) = tally([loss(named_from_ttl=start, named_to_ttl=end)])
        assert holds.label.startswith("the interval")


def test_a_share_comes_back_from_its_file() -> None:
    (one, *_) = tally([bandwidth()])
    assert Share.from_json(one.as_json()) == one


def test_nothing_measured_is_no_row() -> None:
    assert tally([]) == []
