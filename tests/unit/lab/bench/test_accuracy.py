from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from emodis.lab.bench import accuracy
from emodis.lab.bench.paths import Seeds
from emodis.lab.bench.trial import Trial
from emodis.lab.cli import lab
from emodis.lab.topology import Topology
from tests.unit.lab.bench.builders import trial


@pytest.fixture(autouse=True)
def _measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(topology: Topology, kind: str, number: int) -> Trial:
        return trial(name=topology.name, kind=kind, number=number)

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


def test_a_file_that_cannot_be_written_is_said_before_anything_is_measured(tmp_path: Path) -> None:
    arguments = ["bench", "accuracy", "--json", str(tmp_path / "no" / "x.json")]
    done = CliRunner().invoke(lab, arguments)
    assert "cannot write" in str(done.exception)
    assert "clear-0" not in done.output
