from __future__ import annotations

from typing import Any

import pytest

from emodis.lab.bench import accuracy
from emodis.lab.plan import make_plan
from emodis.lab.topology import Topology
from emodis.lab.truth import path_truth


def choke_of(topology: Topology) -> int:
    return path_truth(make_plan(topology), accuracy.SOURCE, accuracy.DESTINATION).choke.ttl


def trial(**more: Any) -> accuracy.Trial:
    usual = {
        "name": "path-1",
        "links": 6,
        "choke_ttl": 3,
        "cross_ratio": 0.0,
        "named_ttl": 3,
        "named_from_ttl": 2,
        "bound_bps": 1,
        "capacity_bps": 1,
        "duration_s": 1.0,
        "sent_bytes": 1,
        "word": "good",
        "note": "",
    }
    return accuracy.Trial(**{**usual, **more})


def test_first_and_last_links_have_their_share_and_half_are_loaded() -> None:
    found = list(accuracy.paths(0, 20))
    chokes = [(choke_of(topology), len(topology.links)) for topology in found]
    assert sum(choke == 1 for choke, _ in chokes) >= 4
    assert sum(choke == links for choke, links in chokes) >= 4
    assert sum(bool(topology.traffic) for topology in found) == 10
    assert {links for _, links in chokes} <= {5, 6, 7, 8, 9}


def test_a_flat_path_is_choked_by_its_first_link_only() -> None:
    assert [choke_of(topology) for topology in accuracy.flat_paths(0, 10)] == [1] * 10


@pytest.mark.parametrize(
    ("named", "right", "false"),
    [((2, 3), True, True), ((1, 3), False, True), ((0, 1), False, False), ((0, 0), False, False)],
)
def test_only_exactly_the_right_link_is_right(
    named: tuple[int, int], right: bool, false: bool
) -> None:
    got = trial(named_from_ttl=named[0], named_ttl=named[1])
    assert (got.right, got.false) == (right, false)


def test_a_failed_measurement_is_no_hit_and_no_false_alarm() -> None:
    failed = trial(named_ttl=-1, named_from_ttl=0)
    assert not failed.right
    assert not failed.false


def test_every_path_gets_a_line_and_the_shares_come_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accuracy, "measure", lambda topology: trial(name=topology.name))
    lines: list[str] = []
    accuracy.run(7, 2, 1, lines.append)
    assert [line.split(":")[0] for line in lines[:3]] == ["path-7", "path-8", "flat-7"]
    assert lines[3].startswith("the right link was named: 2 of 2")
    assert lines[-1].startswith("a false bottleneck was named on a flat path: 1 of 1")
