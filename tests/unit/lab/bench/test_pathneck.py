from __future__ import annotations

from typing import Any

import pytest

from emodis.lab.bench.measure import with_free_destination
from emodis.lab.bench.pathneck import compare
from emodis.lab.bench.paths import Seeds, path
from emodis.lab.bench.trial import DESTINATION, SOURCE, only_run
from emodis.lab.plan import make_plan
from emodis.lab.topology import IcmpLimits
from emodis.lab.truth import path_truth
from tests.unit.lab.bench.builders import trial


@pytest.mark.parametrize(
    ("named", "right", "false"),
    [((2, 3), True, True), ((1, 3), False, True), ((0, 1), False, False), ((0, 0), False, False)],
)
def test_only_exactly_the_right_link_is_right(
    named: tuple[int, int], right: bool, false: bool
) -> None:
    got = trial(named_from_ttl=named[0], named_ttl=named[1])
    assert (got.right, got.false) == (right, false)


def test_on_a_flat_path_no_bottleneck_is_as_good_as_the_first_link() -> None:
    ends = [(0, 0), (0, 1), (2, 3)]
    words = [trial(kind="flat", named_from_ttl=a, named_ttl=b).verdict for a, b in ends]
    assert words == ["right", "right", "FALSE"]
    assert trial(kind="flat", done=False).verdict == trial(done=False).verdict == "NO RESULT"


def test_a_failed_measurement_is_no_hit_and_no_false_alarm() -> None:
    failed = trial(done=False, named_ttl=3, named_from_ttl=2)
    assert not failed.right
    assert not failed.false


def test_the_bound_is_judged_on_idle_paths_that_were_named_rightly() -> None:
    assert trial().bound_error_ratio == pytest.approx(0.1)
    assert trial(named_ttl=4).bound_error_ratio is None
    assert trial(cross_ratio=0.3).bound_error_ratio is None


def test_what_was_printed_stands_beside_what_is_so() -> None:
    topology = path("loaded", Seeds.DEVELOPMENT, 4)
    truth = path_truth(make_plan(topology), SOURCE, DESTINATION)
    run: dict[str, Any] = {
        "transport": "unprivileged",
        "duration_ns": 2_500_000_000,
        "cost": {"sent_bytes": 5, "sent_packets": 2},
        "quality": {"word": "fair", "reasons": ["x"]},
        "result": {"bottleneck": {"ttl": truth.choke.ttl, "from_ttl": truth.choke.ttl - 1}},
    }
    got = compare(topology, truth, run, kind="loaded", number=4)
    assert got.right
    assert (got.duration_s, got.sent_packets, got.word, got.note) == (2.5, 2, "fair", "x")
    assert got.transport == "unprivileged"
    run["result"]["bottleneck"] = None
    nothing = compare(topology, truth, run, kind="loaded", number=4)
    assert (nothing.named_ttl, nothing.done) == (0, True)
    run["result"] = None
    assert not compare(topology, truth, run, kind="loaded", number=4).done


def test_a_path_without_capabilities_differs_in_how_freely_its_destination_answers_only() -> None:
    topology = path("loaded", Seeds.DEVELOPMENT, 4)
    freed = with_free_destination(topology)
    assert freed.nodes[DESTINATION].icmp is IcmpLimits.FREE
    assert {name for name in topology.nodes if freed.nodes[name] != topology.nodes[name]} == {
        DESTINATION
    }
    assert freed.links == topology.links


def test_what_is_no_result_is_a_reason() -> None:
    assert only_run("", "first\nlast\n") == {"reason": "last"}
    assert only_run('{"measurements": []}', "") == {"reason": "no answer"}
