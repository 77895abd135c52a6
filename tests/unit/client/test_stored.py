"""Reading printed results back, and estimating from them again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from emodis.client import stored
from emodis.client.reestimate import Difference, compare
from emodis.client.stored import BadStored, runs
from emodis.techniques import registry

CORPUS = sorted((Path(__file__).parents[2] / "golden" / "results").glob("*.json"))


def text(name: str) -> str:
    (path,) = [path for path in CORPUS if path.stem == name]
    return path.read_text(encoding="utf-8")


def edited(name: str) -> tuple[Any, Any]:
    """The document and its first run."""
    document = json.loads(text(name))
    return document, document["measurements"][0]["runs"][0]


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_the_estimators_still_say_what_they_said(path: Path) -> None:
    """A change on purpose is recorded anew from lab runs; see docs/howto/client.md."""
    found = [compare(run) for run in runs(path.read_text(encoding="utf-8"))]
    assert found
    for one in found:
        assert not one.skipped
        assert one.differences == ()


def test_the_corpus_has_a_way_that_was_estimated_from_both_of_its_edges() -> None:
    out, into = (compare(run).result for run in runs(text("broute-both")))
    assert out is not None
    assert into is not None
    assert (out["source"], into["source"]) == (True, False)
    assert [found["name"] for found in out["estimates"]] == ["m1"]


def test_the_corpus_has_every_technique() -> None:
    """Plug-ins are not ours; their own packages test them."""
    found = {run.technique.NAME for path in CORPUS for run in runs(path.read_text("utf-8"))}
    assert found == {*registry.TECHNIQUES, *registry.PLANS}


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("igi-precise", "precise_bps"),
        ("igi-both", "upstream"),
        ("broute", "branches"),
        ("broute-source", "source"),
        ("traceroute-lite", "graph"),
    ],
)
def test_the_corpus_has_what_only_some_runs_of_a_technique_find(name: str, field: str) -> None:
    (one,) = runs(text(name))
    result = compare(one).result
    assert result is not None
    assert result[field]


@pytest.mark.parametrize(
    ("name", "at"),
    [
        ("igi", "result.ptr_bps"),
        ("igi-precise", "result.precise_bps"),
        ("igi-both", "result.upstream.ptr_bps"),
        ("broute", "result.branches[0].upper_bps"),
        ("broute-source", "result.branches[1].upper_bps"),
        ("traceroute-lite", "result.graph.confidence_ratio"),
        ("loss", "result.loss_ratio"),
    ],
)
def test_a_number_that_was_altered_is_found_in_every_technique(name: str, at: str) -> None:
    document, run = edited(name)
    *inner, last = at.replace("[", ".").replace("]", "").split(".")
    place: Any = run
    for step in inner:
        place = place[int(step)] if step.isdigit() else place[step]
    before = place[last]
    place[last] = 0.123
    (one,) = runs(json.dumps(document))
    assert compare(one).differences == (Difference(at, 0.123, before),)


def test_a_number_that_comes_out_differently_is_named() -> None:
    document, run = edited("pathneck")
    before = run["result"]["hops"][3]["gap_ns"]
    run["result"]["hops"][3]["gap_ns"] = 1
    (one,) = runs(json.dumps(document))
    assert compare(one).differences == (Difference("result.hops[3].gap_ns", 1, before),)


def test_other_observations_give_another_result() -> None:
    document, run = edited("ping")
    for probe in run["observations"]["trains"][0]["probes"][:2]:
        probe["received_ns"] = None
    (one,) = runs(json.dumps(document))
    changed = {difference.field for difference in compare(one).differences}
    assert {"result.answered", "result.loss_ratio"} <= changed


def test_an_end_that_was_decided_elsewhere_is_not_the_estimators() -> None:
    document, run = edited("ping")
    run["end"], run["reason"], run["quality"]["word"] = "expired", "stop_by", "poor"
    (one,) = runs(json.dumps(document))
    assert compare(one).differences == ()


def test_a_field_that_older_results_lack_is_no_difference() -> None:
    document, run = edited("ping")
    del run["result"]["ipdv_ns"]
    (one,) = runs(json.dumps(document))
    assert compare(one).differences == ()


def test_a_run_without_observations_is_left_out() -> None:
    document, run = edited("ping")
    run["observations"] = None
    (one,) = runs(json.dumps(document))
    assert "no observations" in compare(one).skipped


def test_what_no_technique_would_accept_is_left_out() -> None:
    document, _ = edited("ping")
    document["measurements"][0]["parameters"]["count"] = 0
    (one,) = runs(json.dumps(document))
    assert "count must be 1 to 1000" in compare(one).skipped


@pytest.mark.parametrize(
    ("garbage", "said"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "schema"),
        ('{"schema": "emodis.agents/1"}', "schema"),
        ('{"schema": "emodis.results/1"}', "measurements"),
        ('{"schema": "emodis.results/1", "measurements": [3]}', "laid out"),
        (
            '{"schema": "emodis.results/1", "measurements": [{"technique": "x", "runs": [{}]}]}',
            "there is no technique 'x'",
        ),
    ],
)
def test_what_is_no_file_of_results_is_refused(garbage: str, said: str) -> None:
    with pytest.raises(BadStored, match=said):
        runs(garbage)


@pytest.mark.parametrize(
    ("field", "value"),
    [("sent_ns", "soon"), ("ttl", -1), ("address", "nowhere"), ("muted", "yes"), ("ttl", [1])],
)
def test_a_value_that_does_not_fit_is_named_by_its_place(field: str, value: object) -> None:
    document, run = edited("ping")
    run["observations"]["trains"][0]["probes"][1][field] = value
    with pytest.raises(BadStored, match=rf"trains\[0\]\.probes\[1\]\.{field}"):
        runs(json.dumps(document))


def test_labels_tell_runs_apart() -> None:
    document, run = edited("ping")
    document["measurements"][0]["measurement_id"] = "m-1"
    run["agent_id"], run["round"] = "ams", 2
    (one,) = stored.runs(json.dumps(document))
    assert one.label == "m-1: ams → h2, round 2"
