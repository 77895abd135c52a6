from __future__ import annotations

from typing import Any

import pytest

from emodis.lab.bench.bandwidth import PreciseTrial, compare
from emodis.lab.bench.paths import Seeds, path
from emodis.lab.bench.trial import DESTINATION, SOURCE
from emodis.lab.plan import make_plan
from emodis.lab.truth import path_truth

TOPOLOGY = path("room", Seeds.DEVELOPMENT, 2)
TRUTH = path_truth(make_plan(TOPOLOGY), SOURCE, DESTINATION)


def run(**result: Any) -> dict[str, Any]:
    phases = [{"size_bytes": 528}, {"size_bytes": 1428}]
    return {"result": {"phases": phases, "ptr_bps": 3_000_000, "converged": True, **result}}


def test_the_truth_is_that_at_the_size_of_the_last_probes() -> None:
    small, large = (
        path_truth(make_plan(TOPOLOGY), SOURCE, DESTINATION, packet_bytes=size).tight.avail_ip_bps
        for size in (500, 1428)
    )
    got = compare(TOPOLOGY, TRUTH, run(), kind="room", number=2)
    assert got.avail_bps == round(large) != round(small)
    assert got.error_ratio == pytest.approx(3_000_000 / large - 1)


def test_the_better_answer_counts_where_there_is_one() -> None:
    better = run(precise_bps=3_500_000, precise_low_bps=3_400_000, low_bps=2_000_000, high_bps=5)
    got = compare(TOPOLOGY, TRUTH, better, kind="room", number=2, trial=PreciseTrial)
    assert (got.TECHNIQUE, got.said_bps) == ("precise", 3_500_000)
    assert (got.low_bps, got.high_bps) == (3_400_000, 5)
    plain = compare(TOPOLOGY, TRUTH, run(), kind="room", number=2, trial=PreciseTrial)
    assert plain.said_bps == 3_000_000


def test_no_result_is_neither_right_nor_an_error() -> None:
    got = compare(TOPOLOGY, TRUTH, {"reason": "udp_blocked"}, kind="room", number=2)
    assert (got.right, got.error_ratio, got.note) == (False, None, "udp_blocked")
