from __future__ import annotations

import pytest

from emodis.techniques.stopping import enough, miss_ratio

# TECHNIQUES.md section 2: probes after which k ways are all there are, k = 1 to 16.
TABLE = {
    0.05: (6, 11, 16, 21, 27, 33, 38, 44, 51, 57, 63, 70, 76, 83, 90, 96),
    0.01: (8, 15, 21, 28, 36, 43, 51, 58, 66, 74, 82, 90, 98, 106, 115, 123),
    1 / 256: (9, 17, 25, 33, 41, 49, 58, 66, 75, 84, 93, 102, 111, 120, 129, 139),
}


@pytest.mark.parametrize("bound", TABLE)
def test_the_published_table_comes_out(bound: float) -> None:
    assert tuple(enough(ways, bound) for ways in range(1, 17)) == TABLE[bound]


def test_two_ways_are_a_coin() -> None:
    assert miss_ratio(1, 6) == pytest.approx(2 * 0.5**6)
    assert miss_ratio(1, 1) == miss_ratio(3, 3) == 1.0


@pytest.mark.parametrize("bound", [0.05, 0.01, 0.004])
@pytest.mark.parametrize("ways", [2, 3, 4, 8, 16])
def test_stopping_by_the_rule_misses_a_way_no_oftener_than_the_bound(
    ways: int, bound: float
) -> None:
    """Exactly: the chances of having seen k ways after n answers, asked until the rule stops."""
    chances, answers, missed = {1: 1.0}, 1, 0.0
    while chances:
        after: dict[int, float] = {}
        for seen, chance in chances.items():
            if answers >= enough(seen, bound):
                missed += chance * (seen < ways)
                continue
            after[seen] = after.get(seen, 0.0) + chance * seen / ways
            if seen < ways:
                after[seen + 1] = after.get(seen + 1, 0.0) + chance * (ways - seen) / ways
        chances, answers = after, answers + 1
    # The rule bounds each step; with eight ways all steps together exceed it by a quarter percent.
    assert missed <= bound * 1.005


@pytest.mark.parametrize(("ways", "bound"), [(0, 0.05), (1, 0.0), (1, 1.0)])
def test_what_cannot_be_ruled_out_is_refused(ways: int, bound: float) -> None:
    with pytest.raises(ValueError, match="no number of answers"):
        enough(ways, bound)
