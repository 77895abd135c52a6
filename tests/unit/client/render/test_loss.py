from __future__ import annotations

import io
import json

import pytest

from emodis.client.render.answers import answers
from emodis.client.render.as_json import results
from emodis.client.render.decoded import decoded
from emodis.client.render.loss import hops_grid, series_grid
from emodis.client.render.table import NO_MAP, show
from emodis.client.render.tables import console
from emodis.client.thresholds import held, parse
from emodis.wire.v1.loss_pb2 import (
    HOP_LOSS_BEFORE,
    HOP_LOSS_BEHIND,
    HOP_LOSS_SILENT,
    LossHop,
    LossPlace,
    LossResult,
    LossRun,
)
from tests.unit.client.builders import W1, packed, report, result
from tests.unit.client.schema import load, problems

SCHEMA = load("results-1.json")


def lost(ratio: float = 0.02, begins: tuple[int, int] | None = (1, 3), run: int = 1) -> LossResult:
    """Three hops, the second of them silent; the destination is the fourth."""
    found = LossResult(
        sent=300,
        answered=round(300 * (1 - ratio)),
        loss_ratio=ratio,
        loss_low_ratio=ratio / 2,
        loss_high_ratio=ratio * 2 or 0.0126,
        loss_max_run=run,
        runs=[LossRun(length=run, times=3)],
        rtt_median_ns=12_000_000,
        effective_probes=300,
        hop_count=4,
    )
    addresses = {1: "10.1.0.1", 2: "", 3: "10.3.0.1", 4: W1}
    shows = {1: HOP_LOSS_BEFORE, 2: HOP_LOSS_SILENT, 3: HOP_LOSS_BEHIND}
    for ttl, word in shows.items():
        found.hops.append(
            LossHop(
                ttl=ttl,
                address=packed(addresses[ttl]),
                asked=120,
                answered=120 if addresses[ttl] else 0,
                loss_high_ratio=0.031,
                shows=word,
                rate_limited=ttl == 3,
            )
        )
    if begins is not None:
        start, end = begins
        found.begins.CopyFrom(
            LossPlace(
                from_ttl=start,
                from_address=packed(addresses[start]) if start else b"",
                to_ttl=end,
                to_address=packed(addresses.get(end, W1)),
            )
        )
    return found


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (
            lost(),
            "2.0 % of the probes towards w1 (10.6.0.2) were lost (1.0 to 4.0 %); it begins "
            "between hop 1 (10.1.0.1) and hop 3 (10.3.0.1).",
        ),
        (
            lost(0.1, (3, 4), run=5),
            "10 % of the probes towards w1 (10.6.0.2) were lost (5.0 to 20 %), up to 5 in a row; "
            "it begins on the link 10.3.0.1 → 10.6.0.2.",
        ),
        (lost(begins=(0, 1)), "it begins on the link ams → 10.1.0.1."),
        (lost(begins=(0, 4)), "(1.0 to 4.0 %); where it begins could not be told."),
        (lost(begins=(3, 0)), "it begins between hop 3 (10.3.0.1) and 10.6.0.2."),
        (lost(begins=None), "too few to say where."),
        (
            lost(0, None),
            "None of 300 probes towards w1 (10.6.0.2) was lost: the loss is less than 1.3 %.",
        ),
    ],
)
def test_the_answer_of_one_agent(made: LossResult, words: str) -> None:
    (sentence,) = answers(report("loss", result("ams", made)))
    assert sentence.endswith(words)


def test_more_that_is_lost_behind_is_said() -> None:
    made = lost()
    made.more_behind_ttl = 3
    (sentence,) = answers(report("loss", result("ams", made)))
    assert sentence.endswith("hop 3 (10.3.0.1), and more is lost behind hop 3.")


def test_routers_that_were_not_asked_are_no_place() -> None:
    made = lost(begins=None)
    del made.hops[:]
    (sentence,) = answers(report("loss", result("ams", made)))
    assert sentence.endswith("routers were not asked, so where is not known.")


def test_a_destination_that_rations_is_not_called_lossy() -> None:
    made = lost(0.8)
    made.rate_limited_suspected = True
    (sentence,) = answers(report("loss", result("ams", made)))
    assert sentence.endswith("seems to ration its answers, so nothing follows about the path.")
    assert held([parse("loss>1%", "loss")], [report("loss", result("ams", made))]) == []


def test_of_several_agents_the_one_that_loses_most_speaks() -> None:
    made = report("loss", result("ams", lost(0.1)), result("bru", lost(0.02)))
    (sentence,) = answers(made)
    assert sentence.startswith("From ams 10 % of the probes towards w1")
    assert "at most 2.0 % from the other; it begins between" in sentence
    (clean,) = answers(report("loss", result("ams", lost(0)), result("bru", lost(0))))
    assert clean.startswith("None of 600 probes")


def test_tables() -> None:
    made = report("loss", result("ams", lost()))
    runs = decoded(made)
    heading, row = (line.cells[0] for line in series_grid(made, str, runs).lines(200))
    assert heading.split()[:3] == ["agent", "sent", "lost"]
    assert " 1.0 to 4.0 % " in row
    assert "hop 1 → 3" in row
    lines = hops_grid(made, runs[0]).lines(200)
    assert [line.marked for line in lines] == [False, False, False, True]
    assert "before the loss" in lines[1].cells[0]
    assert lines[2].cells[0].split() == ["2", "*", "120", "silent"]
    assert lines[3].cells[0].endswith("has the loss     rate-limited")


def test_the_answer_is_printed_first_and_a_map_is_missed_where_hops_are() -> None:
    out = io.StringIO()
    show([report("loss", result("ams", lost()))], console(out))
    assert out.getvalue().startswith("2.0 % of the probes")
    assert NO_MAP in out.getvalue()
    alone = lost(0, None)
    del alone.hops[:]
    out = io.StringIO()
    show([report("loss", result("ams", alone))], console(out))
    assert NO_MAP not in out.getvalue()


def test_json_is_as_published() -> None:
    printed = json.loads(results([report("loss", result("ams", lost()))], observations=True))
    assert problems(printed, SCHEMA, SCHEMA) == []
    (run,) = printed["measurements"][0]["runs"]
    assert [hop["shows"] for hop in run["result"]["hops"]] == ["before", "silent", "behind"]
    assert run["result"]["begins"]["from_address"] == "10.1.0.1"
    assert run["result"]["loss_after_loss_ratio"] is None


def test_thresholds() -> None:
    made = report("loss", result("ams", lost()))
    assert held([parse("loss>1%", "loss")], [made]) == ["--fail-if loss>1% holds at ams"]
    # Surely more than that: the lower end of the interval.
    assert held([parse("loss_low>1%", "loss")], [made]) == []
