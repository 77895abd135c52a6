from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from emodis.client.exits import Exit
from emodis.client.finish import Finish, Way
from emodis.wire.v1.client_pb2 import Choice, Result, ResultsBegin, ToClient
from emodis.wire.v1.common_pb2 import CODE_UNKNOWN_ID, END_DONE, END_EXPIRED, RunKey
from emodis.wire.v1.techniques_pb2 import (
    PathneckObservations,
    PathneckTrain,
    ProbeRecord,
    TrainRecord,
)
from tests.unit.client.builders import (
    W1,
    call,
    ended,
    failure,
    packed,
    pathneck,
    result,
    target,
)
from tests.unit.client.golden import check
from tests.unit.client.rig import Rig, ScriptedMaster
from tests.unit.client.schema import load, problems

STORED = Path(__file__).parents[3] / "golden" / "results"
SCHEMA = load("re-estimates-1.json")


@pytest.fixture
def altered(tmp_path: Path) -> Path:
    document = json.loads((STORED / "ping.json").read_text(encoding="utf-8"))
    document["measurements"][0]["runs"][0]["result"]["sent"] += 1
    path = tmp_path / "altered.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def test_estimating_again_gives_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert Rig().run("show", "--re-estimate", str(STORED / "pathneck.json")) == Exit.OK
    out, err = capsys.readouterr()
    assert out == "this host → h2 (pathneck): the same\n"
    assert err == "1 of 1 run as stored\n"


def test_a_difference_is_shown_and_exits_with_1(
    altered: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert Rig().run("show", "--re-estimate", str(altered)) == Exit.FAILED
    head, _heading, row = capsys.readouterr().out.splitlines()
    assert head == "this host → h2 (ping): 1 difference"
    assert row.split() == ["result.sent", "6", "5"]


def test_as_json(altered: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert Rig().run("show", "--re-estimate", str(altered), "--format", "json") == Exit.FAILED
    printed = json.loads(capsys.readouterr().out)
    assert problems(printed, SCHEMA, SCHEMA) == []
    (run,) = printed["runs"]
    assert run["differences"] == [{"field": "result.sent", "stored": 6, "now": 5}]
    assert run["result"]["sent"] == 5


def test_stdin(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO((STORED / "ping.json").read_text("utf-8")))
    assert Rig().run("show", "--re-estimate", "-") == Exit.OK
    assert "the same" in capsys.readouterr().out


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert Rig().run("show", "--re-estimate", str(tmp_path / "none.json")) == Exit.USAGE
    assert "No such file" in capsys.readouterr().err


def test_results_without_observations_say_how_to_get_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = json.loads((STORED / "ping.json").read_text(encoding="utf-8"))
    del document["measurements"][0]["runs"][0]["observations"]
    path = tmp_path / "bare.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    assert Rig().run("show", "--re-estimate", str(path)) == Exit.USAGE
    out, err = capsys.readouterr()
    assert "left out, it has no observations" in out
    assert "--observations --format json" in err


def run_of(agent: str, cursor: int) -> Result:
    made = result(agent, pathneck("10.1.0.1", "10.3.0.1", W1, bottleneck=2), cursor=cursor)
    made.overlapped.append(RunKey(measurement_id="m-1", agent_id="bru"))
    answered = ProbeRecord(
        ttl=1,
        size_bytes=60,
        sent_ns=0,
        received_ns=1_500_000,
        address=packed("10.1.0.1"),
        icmp_type=11,
    )
    silent = ProbeRecord(ttl=9, size_bytes=500, muted=True, sent_ns=40_000)
    first = TrainRecord(
        t0_unix_ns=10**18, probes=[answered, silent], kernel_tx=True, kernel_rx=True
    )
    second = TrainRecord(
        t0_unix_ns=10**18 + 250_000_000,
        probes=[silent, ProbeRecord(ttl=2)],
        duplicates=2,
        unmatched=1,
        receive_drops=3,
        cut_short=True,
    )
    made.outcome.observations = PathneckObservations(
        trace=[first], trains=[PathneckTrain(train=second, discarded="sender")]
    ).SerializeToString()
    return made


def script(*runs: Result) -> list[ToClient]:
    begin = ResultsBegin(
        measurement_id="m-1",
        call=call("pathneck"),
        targets=[target()],
        agents=[Choice(agent_id="ams", place="Amsterdam"), Choice(agent_id="bru")],
    )
    return [
        ToClient(results_begin=begin),
        *(ToClient(result=run) for run in runs),
        ended({END_DONE: len(runs)}),
    ]


@pytest.mark.parametrize("options", [[], ["--probes"]])
def test_a_run_in_full(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    rig = Rig(ScriptedMaster(script(run_of("bru", 3), run_of("ams", 7))))
    assert rig.run("show", "m-1/Amsterdam", *options) == Exit.OK
    out, err = capsys.readouterr()
    assert err == ""
    check(f"show_run{'_probes' if options else ''}.txt", out)
    light, heavy = (asked.get_results for asked in rig.master.asked)
    assert (light.after, light.with_observations) == (0, False)
    assert (heavy.after, heavy.with_observations) == (6, True)


def test_a_run_as_json_can_be_estimated_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rig = Rig(ScriptedMaster(script(run_of("ams", 7))))
    assert rig.run("show", "m-1", "--format", "json") == Exit.OK
    text = capsys.readouterr().out
    published = load("results-1.json")
    assert problems(json.loads(text), published, published) == []
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    assert Rig().run("show", "--re-estimate", "-") == Exit.FAILED
    assert "difference" in capsys.readouterr().out


def test_a_run_that_came_to_nothing_says_whose_side_it_was(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rig = Rig(ScriptedMaster(script(failure("ams", END_EXPIRED))))
    assert rig.run("show", "m-1") == Exit.OK
    ended_line = next(
        line for line in capsys.readouterr().out.splitlines() if line.startswith("ended")
    )
    assert ended_line.split(maxsplit=1)[1] == (
        "expired: no_reply (the destination's side). Nothing answered; is the host up?"
    )


@pytest.mark.parametrize("arguments", [[], ["m-1", "--re-estimate", "x"]])
def test_one_of_the_two(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert Rig().run("show", *arguments) == Exit.USAGE
    assert "either a RUN or --re-estimate FILE" in capsys.readouterr().err


def test_a_measurement_that_is_not_known(capsys: pytest.CaptureFixture[str]) -> None:
    unknown = Finish(way=Way.REFUSED, text="there is no measurement 'x'", code=CODE_UNKNOWN_ID)
    assert Rig(ScriptedMaster(finish=unknown)).run("show", "x") == Exit.USAGE
    assert capsys.readouterr() == ("", "emodis-client: there is no measurement 'x'\n")
