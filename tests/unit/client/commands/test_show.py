from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from emodis.client.exits import Exit
from tests.unit.client.rig import Rig
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
