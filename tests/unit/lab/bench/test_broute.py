"""What the benchmark would say of right and of wrong answers about the diamond."""

from __future__ import annotations

from typing import Any

from emodis.lab.bench.broute import FAST_BPS, internet, judge, shares, ways_of
from emodis.lab.plan import make_plan
from emodis.lab.topofile import find
from emodis.lab.truth import path_truth

PLAN = make_plan(find("diamond"))
TRUTHS = {agent: path_truth(PLAN, agent, "c1") for agent in ("a1", "a2")}


def answer(*branches: dict[str, Any]) -> dict[str, Any]:
    return {
        "agents": [{"agent_id": f"id-{agent}", "place": agent} for agent in TRUTHS],
        "cost": {"sent_bytes": 400_000},
        "runs": [{"result": {"branches": list(branches)}, "hint": ""}],
    }


def branch(asn: int, agent: str, upper_bps: int | None) -> dict[str, Any]:
    ids = [f"id-{agent}"]
    return {"upstream_asn": asn, "agents": ids, "measured_by": ids, "upper_bps": upper_bps}


def test_the_truth_of_the_diamond() -> None:
    assert ways_of(TRUTHS) == {65001: frozenset({"a1"}), 65002: frozenset({"a2"})}


def test_a_right_answer() -> None:
    found = answer(branch(65001, "a1", 10_000_000), branch(65002, "a2", 20_000_000))
    trial = judge("x", found, TRUTHS)
    assert trial.right
    assert len(trial.errors) == 2
    assert max(trial.errors) < 0.1
    assert (trial.wrong_kind, trial.sent_bytes) == (0, 400_000)


def test_wrong_answers() -> None:
    merged = judge("x", answer(branch(65001, "a1", 15_000_000)), TRUTHS)
    assert not merged.right
    assert merged.errors[0] > 0.2
    # The bottleneck is at the edge, so there should have been an upper bound.
    missing = judge("x", answer(branch(65001, "a1", None)), TRUTHS)
    assert (missing.errors, missing.wrong_kind) == ((), 1)


def test_no_answer() -> None:
    nothing = {**answer(), "runs": [{"result": None, "reason": "no_route"}]}
    trial = judge("x", nothing, TRUTHS)
    assert (trial.right, trial.done, trial.note) == (False, False, "no_route")
    assert judge("x", {"runs": []}, TRUTHS).found_ways == ()


def test_branches_are_counted_apart_from_destinations() -> None:
    right = judge("x", answer(branch(65001, "a1", 10_000_000), branch(65002, "a2", None)), TRUTHS)
    ways, bounds = shares([right])
    assert (ways.hits, ways.trials) == (1, 1)
    # The branch without a bound has its bottleneck at the edge, and should have had one.
    assert (bounds.hits, bounds.trials) == (1, 2)


def test_every_other_internet_has_its_bottlenecks_at_the_destination() -> None:
    for seed in range(6):
        topology, destination, agents = internet(seed)
        assert destination not in agents
        slow = {link.a for link in topology.links if link.capacity_down_bps < FAST_BPS}
        assert slow == {destination} if seed % 2 == 0 else destination in slow
