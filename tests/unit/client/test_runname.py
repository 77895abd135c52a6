from __future__ import annotations

import pytest

from emodis.client.exits import Exit, Trouble
from emodis.client.report import Report
from emodis.client.runname import RunName, choose, name_of, parse
from emodis.wire.v1.client_pb2 import ToClient
from tests.unit.client.builders import ping, report, result, target

TARGETS = [target(), target("10.7.0.2", "w2")]


@pytest.fixture
def found() -> Report:
    runs = [result(agent, ping(), destination=n) for agent in ("ams1", "bru1") for n in (0, 1)]
    made = report("ping", *runs, targets=TARGETS)
    made.choices["bru1"].place = "Brussels"
    return made


def test_names_are_taken_apart() -> None:
    assert parse("m-1") == RunName("m-1")
    assert parse("m-1/ams/w1/3") == RunName("m-1", "ams", "w1", "3")


@pytest.mark.parametrize("text", ["", "/ams", "m/a/w/x", "m/a/w/1/2", "m/a/w/²"])
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(Trouble, match="ID/AGENT/DEST/ROUND"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "agent", "destination"),
    [
        ("m-1/ams/w2", "ams1", 1),
        ("m-1/Brussels/w1", "bru1", 0),
        ("m-1/b/10.7.0.2/0", "bru1", 1),
        ("m-1/bru1/0", "bru1", 0),
    ],
)
def test_a_run_is_found(found: Report, text: str, agent: str, destination: int) -> None:
    run = choose(found, parse(text)).run
    assert (run.agent_id, run.destination) == (agent, destination)


def test_every_run_is_found_by_its_own_name(found: Report) -> None:
    for one in found.ordered:
        assert choose(found, parse(name_of(found, one))) == one


def test_too_little_lists_what_fits(found: Report) -> None:
    with pytest.raises(Trouble) as caught:
        choose(found, parse("m-1/ams"))
    assert caught.value.code == Exit.USAGE
    head, first, second = str(caught.value).splitlines()
    assert head == "2 runs are called so; say which:"
    assert (first.strip(), second.strip()) == ("m-1/ams1/w1/0", "m-1/ams1/w2/0")


def test_a_wrong_name_lists_what_there_is(found: Report) -> None:
    for n in range(9):
        found.take(ToClient(result=result(f"more{n}", ping())))
    with pytest.raises(Trouble, match="no run is called so; there are:") as caught:
        choose(found, parse("m-1/paris"))
    assert str(caught.value).endswith("… and 5 more")


def test_nothing_measured_yet() -> None:
    with pytest.raises(Trouble, match="no run yet"):
        choose(Report(), parse("m-1"))
