from __future__ import annotations

from emodis.lab.bench.tally import HEADING, tally
from tests.unit.lab.bench.builders import trial

WRONG = {"named_ttl": 5, "named_from_ttl": 4}
TRIALS = [
    trial(),
    trial(choke_ttl=1, **WRONG),
    trial(kind="loaded", cross_ratio=0.5),
    trial(kind="loaded", cross_ratio=0.1),
    trial(kind="tight", clear=False, **WRONG),
    trial(kind="quiet", true_ttl=4, named_ttl=4),
    trial(kind="lossy", named_ttl=-1),
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
    assert "92% to  99%" in share.row()


def test_the_table_is_aligned() -> None:
    assert {len(share.row()) for share in tally(TRIALS)} == {len(HEADING)}


def test_nothing_measured_is_no_row() -> None:
    assert tally([]) == []
