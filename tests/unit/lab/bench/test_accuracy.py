from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from emodis.lab.bench import accuracy
from emodis.lab.bench.paths import Seeds
from emodis.lab.bench.trial import Access, Trial
from emodis.lab.cli import lab
from emodis.lab.topology import Topology
from tests.unit.lab.bench.builders import trial


@pytest.fixture(autouse=True)
def _measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(topology: Topology, kind: str, number: int, *, access: Access) -> Trial:
        transport = "unprivileged" if access is Access.UNPRIVILEGED else "raw"
        return trial(name=topology.name, kind=kind, number=number, transport=transport)

    monkeypatch.setattr(accuracy, "measure", measure)


def test_every_path_gets_a_line_and_the_shares_come_last() -> None:
    lines: list[str] = []
    kept: list[int] = []
    trials = accuracy.run(
        {"clear": 2, "flat": 1},
        seeds=Seeds.REPORTED,
        first=7,
        say=lines.append,
        keep=lambda so_far: kept.append(len(so_far)),
    )
    assert [line.split(":")[0] for line in lines[:3]] == ["clear-7", "clear-8", "flat-7"]
    assert lines[4] == "reported seeds from 7"
    assert lines[6].startswith("right link, clear, idle")
    assert lines[-1].startswith("false bottleneck on a flat path")
    assert kept == [1, 2, 3]
    assert len(trials) == 3


def test_the_command_keeps_its_trials(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    arguments = ["--paths", "3", "--others", "1", "--flat", "1", "--seed", "5", "--json", str(file)]
    done = CliRunner().invoke(lab, ["bench", "accuracy", *arguments])
    assert done.exit_code == 0, done.output
    kept = json.loads(file.read_text(encoding="utf-8"))
    assert (kept["schema"], kept["seeds"], kept["first_seed"]) == (
        "emodis.accuracy/1",
        "development",
        5,
    )
    assert [one["kind"] for one in kept["trials"]] == [
        *["clear"] * 2,
        *["loaded", "tight", "any", "quiet", "lossy", "flat"],
    ]
    assert kept["shares"][0]["label"] == "right link, clear, idle"
    assert not list(tmp_path.glob("*.new"))


def test_rights_are_taken_away_where_it_was_asked_for_and_the_file_says_so(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    arguments = ["--paths", "1", "--flat", "1", "--access", "unprivileged", "--json", str(file)]
    done = CliRunner().invoke(lab, ["bench", "accuracy", *arguments])
    assert "development seeds from 0, without capabilities" in done.output
    kept = json.loads(file.read_text(encoding="utf-8"))
    assert kept["access"] == "unprivileged"
    assert [one["transport"] for one in kept["trials"]] == ["unprivileged"] * 2


def test_a_file_that_cannot_be_written_is_said_before_anything_is_measured(tmp_path: Path) -> None:
    arguments = ["bench", "accuracy", "--json", str(tmp_path / "no" / "x.json")]
    done = CliRunner().invoke(lab, arguments)
    assert "cannot write" in str(done.exception)
    assert "clear-0" not in done.output
