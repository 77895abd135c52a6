"""agents, status, results, cancel."""

from __future__ import annotations

import json

import pytest

from emodis.client.exits import Exit
from emodis.client.finish import Finish, Way
from emodis.wire.v1.client_pb2 import (
    AgentEntry,
    AgentList,
    Cancelled,
    Choice,
    MeasurementStatus,
    ResultsBegin,
    Status,
    ToClient,
)
from emodis.wire.v1.common_pb2 import CODE_SHUTDOWN, CODE_UNKNOWN_ID, END_DONE
from tests.unit.client.builders import call, ended, packed, ping, result, target
from tests.unit.client.rig import Rig, ScriptedMaster
from tests.unit.client.schema import load, problems

AGENTS = [
    AgentEntry(id="b", place="Brussels", asn=65002, as_name="Birch", techniques=["ping"]),
    AgentEntry(id="a", place="Amsterdam", addresses=[packed("10.1.0.9")], load=2, online=True),
]
# 14 November 2023, 22:13:20.
GONE_SINCE = AgentEntry(id="c", place="Aachen", last_seen_unix_ns=1_700_000_000 * 10**9)
GONE = Finish(way=Way.UNREACHABLE, text="connection refused")
UNKNOWN = Finish(way=Way.REFUSED, text="there is no measurement 'x'", code=CODE_UNKNOWN_ID)


def begin(technique: str = "ping") -> ToClient:
    return ToClient(
        results_begin=ResultsBegin(
            measurement_id="m-1",
            call=call(technique),
            targets=[target()],
            agents=[Choice(agent_id="ams")],
        )
    )


def test_agents_are_listed_by_place(capsys: pytest.CaptureFixture[str]) -> None:
    rig = Rig(ScriptedMaster([ToClient(agents=AgentList(agents=AGENTS))]))
    assert rig.run("agents") == Exit.OK
    heading, first, second = capsys.readouterr().out.splitlines()
    assert heading.split() == [
        "id",
        "place",
        "AS",
        "techniques",
        "addresses",
        "load",
        "last",
        "seen",
    ]
    assert first.split() == ["a", "Amsterdam", "10.1.0.9", "2", "now"]
    assert second.split() == ["b", "Brussels", "AS65002", "Birch", "ping"]


def test_agents_that_are_away_come_last_with_when_they_were_here(
    capsys: pytest.CaptureFixture[str],
) -> None:
    listed = AgentList(agents=[GONE_SINCE, AGENTS[1]])
    assert Rig(ScriptedMaster([ToClient(agents=listed)])).run("agents") == Exit.OK
    _heading, first, second = capsys.readouterr().out.splitlines()
    assert first.split() == ["a", "Amsterdam", "10.1.0.9", "2", "now"]
    assert second.split() == ["c", "Aachen", "2023-11-14", "22:13", "UTC"]


def test_a_requester_is_not_told_who_is_here(capsys: pytest.CaptureFixture[str]) -> None:
    listed = AgentList(agents=[AGENTS[0], AgentEntry(id="d", place="Delft", techniques=["ping"])])
    assert Rig(ScriptedMaster([ToClient(agents=listed)])).run("agents") == Exit.OK
    heading, *_ = capsys.readouterr().out.splitlines()
    assert heading.split() == ["id", "place", "AS", "techniques"]


def test_agents_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    rig = Rig(ScriptedMaster([ToClient(agents=AgentList(agents=AGENTS))]))
    assert rig.run("agents", "--format", "json", "--tech", "ping") == Exit.OK
    printed = json.loads(capsys.readouterr().out)
    assert problems(printed, published := load("agents-1.json"), published) == []
    assert printed["agents"][1]["addresses"] == ["10.1.0.9"]
    assert rig.master.asked[0].list_agents.technique == "ping"


def test_no_agents(capsys: pytest.CaptureFixture[str]) -> None:
    rig = Rig(ScriptedMaster([ToClient(agents=AgentList())]))
    assert rig.run("agents") == Exit.OK
    out, err = capsys.readouterr()
    assert (out, err) == ("", "No agent is connected.\n")


def test_status_of_the_master(capsys: pytest.CaptureFixture[str]) -> None:
    one = MeasurementStatus(
        measurement_id="m-1", technique="ping", state="measuring", runs_total=3, runs_ended=1
    )
    status = Status(software="emodis-master 1", uptime_s=7200, agents_online=5, measurements=[one])
    rig = Rig(ScriptedMaster([ToClient(status=status)]))
    assert rig.run("status") == Exit.OK
    out = capsys.readouterr().out
    assert "emodis-master 1, up 120 min: 5 agents, 0 clients" in out
    assert "1/3" in out
    rig = Rig(ScriptedMaster([ToClient(status=status)]))
    assert rig.run("status", "m-1", "--format", "json") == Exit.OK
    printed = json.loads(capsys.readouterr().out)
    assert problems(printed, published := load("status-1.json"), published) == []
    assert printed["measurements"][0]["runs_ended"] == 1


def test_results_are_shown_again(capsys: pytest.CaptureFixture[str]) -> None:
    script = [begin(), ToClient(result=result("ams", ping())), ended({END_DONE: 1})]
    rig = Rig(ScriptedMaster(script))
    assert rig.run("results", "m-1", "--follow") == Exit.OK
    assert capsys.readouterr().out.startswith("The round trip to w1 (10.6.0.2) takes 12.0 ms")
    wanted = rig.master.asked[0].get_results
    assert (wanted.measurement_id, wanted.follow, wanted.with_observations) == ("m-1", True, False)


def test_observations_come_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    script = [begin(), ToClient(result=result("ams", ping())), ended({END_DONE: 1})]
    rig = Rig(ScriptedMaster(script))
    assert rig.run("results", "m-1", "--observations", "--format", "json") == Exit.OK
    (measurement,) = json.loads(capsys.readouterr().out)["measurements"]
    assert "observations" in measurement["runs"][0]
    assert rig.master.asked[0].get_results.with_observations


def test_observations_without_json_are_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    rig = Rig()
    assert rig.run("results", "m-1", "--observations") == Exit.USAGE
    assert "--format json" in capsys.readouterr().err


def test_plots_need_what_each_probe_met(capsys: pytest.CaptureFixture[str]) -> None:
    script = [begin(), ToClient(result=result("ams", ping())), ended({END_DONE: 1})]
    rig = Rig(ScriptedMaster(script))
    assert rig.run("results", "m-1", "--plot") == Exit.OK
    assert rig.master.asked[0].get_results.with_observations
    assert "ams → w1" in capsys.readouterr().out
    assert Rig().run("results", "m-1", "--plot", "--format", "json") == Exit.USAGE


def test_a_measurement_that_a_crash_ended(capsys: pytest.CaptureFixture[str]) -> None:
    crashed = ended({}, code=CODE_SHUTDOWN, text="the master stopped")
    rig = Rig(ScriptedMaster([begin(), crashed]))
    assert rig.run("results", "m-1") == Exit.UNREACHABLE
    assert "the master stopped" in capsys.readouterr().err


def test_cancel(capsys: pytest.CaptureFixture[str]) -> None:
    rig = Rig(ScriptedMaster([ToClient(cancelled=Cancelled(measurement_id="m-1"))]))
    assert rig.run("cancel", "m-1") == Exit.OK
    out, err = capsys.readouterr()
    assert (out, err) == ("", "m-1 is cancelled.\n")


@pytest.mark.parametrize("command", [["agents"], ["status"], ["results", "x"], ["cancel", "x"]])
@pytest.mark.parametrize(
    ("finish", "expected", "words"),
    [
        (GONE, Exit.UNREACHABLE, "the master is unreachable: connection refused"),
        (UNKNOWN, Exit.USAGE, "there is no measurement 'x'"),
    ],
)
def test_every_command_ends_with_one_line(
    command: list[str],
    finish: Finish,
    expected: Exit,
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert Rig(ScriptedMaster(finish=finish)).run(*command) == expected
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"emodis-client: {words}\n")
