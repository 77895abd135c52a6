from __future__ import annotations

import io
import itertools
import json

import pytest

from emodis.client.render.answers import answers
from emodis.client.render.as_json import results
from emodis.client.render.decoded import decoded
from emodis.client.render.generic import grid, lists
from emodis.client.render.table import show
from emodis.client.render.tables import console
from emodis.client.report import Report
from emodis.client.thresholds import held, parse
from emodis.techniques import registry
from emodis.techniques.plugins import Plugins
from tests.support.plugins import point
from tests.unit.client.builders import ping, report, result, traceroute
from tests.unit.client.schema import load, problems

SCHEMA = load("results-1.json")
NAMES = ("good", "silent", "clumsy", "tongueless")


@pytest.fixture(autouse=True)
def _plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    points = {name: point(name, name.capitalize()) for name in NAMES}
    monkeypatch.setattr(registry, "PLUGINS", Plugins(points))


def of(technique: str, *agents: str) -> Report:
    """Runs of a technique whose results are those of ping."""
    made = report("ping", *(result(agent, ping()) for agent in agents))
    made.call.technique = technique
    for run in made.results.values():
        run.outcome.result.technique = technique
    return made


def test_a_technique_that_speaks_gives_the_answer() -> None:
    (sentence,) = answers(of("good", "ams"))
    assert sentence.endswith(": 10 of 10 came back.")
    (both,) = answers(of("good", "ams", "bru"))
    assert "10 of 10 came back (seen from ams); 10 of 10 came back (seen from bru)." in both


@pytest.mark.parametrize("technique", ["silent", "tongueless"])
def test_one_without_words_gets_a_count(technique: str) -> None:
    (sentence,) = answers(of(technique, "ams", "bru"))
    assert sentence.startswith("2 runs ")


def test_one_that_cannot_read_its_own_results_breaks_nothing() -> None:
    (sentence,) = answers(of("clumsy", "ams"))
    assert sentence.startswith("Nothing could be measured")


def test_more_than_a_few_agents_leave_it_to_the_table() -> None:
    (sentence,) = answers(of("good", *"abcde"))
    assert sentence.startswith("5 runs ")


def test_fields_are_columns_and_units_become_words() -> None:
    made = of("good", "ams")
    heading, row = (line.cells[0].split() for line in grid(made, str, decoded(made)).lines(400))
    assert heading[:3] == ["agent", "sent", "answered"]
    assert ("rtt", "median") in itertools.pairwise(heading)
    assert "ms" in row
    assert not any(word.endswith(("_ns", "_ratio")) for word in heading)


def test_lists_of_messages_are_tables_of_their_own() -> None:
    ((name, table),) = lists(traceroute("10.1.0.1", "10.2.0.1"))
    assert name == "hops"
    assert [line.cells[0].split() for line in table.lines(100)] == [
        ["ttl", "rate", "limited", "passes", "used", "up", "ttl"],
        ["1", "no", "no"],
        ["2", "no", "no"],
    ]


def test_it_is_printed_with_the_answer_first() -> None:
    out = io.StringIO()
    show([of("good", "ams")], console(out))
    first, blank, heading, _ = out.getvalue().splitlines()[:4]
    assert first.endswith("10 of 10 came back.")
    assert blank == ""
    assert heading.startswith("agent")


def test_thresholds_take_every_number_of_its_result() -> None:
    made = of("good", "ams")
    assert held([parse("loss<1%", "good")], [made]) == ["--fail-if loss<1% holds at ams"]
    assert held([parse("rtt_median>1s", "good")], [made]) == []


def test_its_json_says_that_a_plugin_made_it() -> None:
    printed = json.loads(results([of("good", "ams")], observations=True))
    assert problems(printed, SCHEMA, SCHEMA) == []
    (measurement,) = printed["measurements"]
    (run,) = measurement["runs"]
    assert (run["result"]["plugin"], run["result"]["answered"]) == ("good", 10)
    assert measurement["parameters"]["plugin"] == "good"
