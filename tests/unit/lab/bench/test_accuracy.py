from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from emodis.lab.bench import accuracy
from emodis.lab.bench.accuracy import Plan
from emodis.lab.bench.measure import Task
from emodis.lab.bench.paths import Seeds
from emodis.lab.bench.trial import Access, Trial
from emodis.lab.cli import lab
from tests.unit.lab.bench.builders import bandwidth, trial

FEW = ["--tech", "pathneck", "--paths", "3", "--others", "1", "--flat", "1"]


@pytest.fixture(autouse=True)
def tasks(monkeypatch: pytest.MonkeyPatch) -> list[Task]:
    """What is to be measured, and is not."""
    asked: list[Task] = []

    def measure(task: Task) -> list[Trial]:
        asked.append(task)
        transport = "unprivileged" if task.access is Access.UNPRIVILEGED else "raw"
        place: dict[str, Any] = {"kind": task.kind, "number": task.number, "transport": transport}
        name = f"{task.kind}-{task.number}"
        return [
            (bandwidth if task.kind == "room" else trial)(name=name, **place)
            for technique in task.techniques
        ]

    monkeypatch.setattr(accuracy, "measure", measure)
    return asked


def command(*words: str) -> Result:
    return CliRunner().invoke(lab, ["bench", "accuracy", *words])


def test_every_path_gets_a_line_and_the_shares_come_last() -> None:
    lines: list[str] = []
    kept: list[int] = []
    trials = accuracy.run(
        Plan(
            counts={"clear": 2, "flat": 1},
            techniques=["pathneck"],
            seeds=Seeds.REPORTED,
            first=7,
        ),
        say=lines.append,
        keep=lambda so_far: kept.append(len(so_far)),
    )
    names = ["pathneck clear-7", "pathneck clear-8", "pathneck flat-7"]
    assert [line.split(":")[0] for line in lines[:3]] == names
    assert lines[4] == "reported seeds from 7"
    assert lines[6].startswith("right link, clear, idle")
    assert lines[-1].startswith("false bottleneck on a flat path")
    assert kept == [1, 2, 3]
    assert len(trials) == 3


def test_the_command_keeps_its_trials(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    done = command(*FEW, "--seed", "5", "--json", str(file))
    assert done.exit_code == 0, done.output
    kept = json.loads(file.read_text(encoding="utf-8"))
    assert {key: kept[key] for key in ("schema", "seeds", "first_seed", "techniques")} == {
        "schema": "emodis.accuracy/2",
        "seeds": "development",
        "first_seed": 5,
        "techniques": ["pathneck"],
    }
    assert kept["machine"]
    assert [one["kind"] for one in kept["trials"]] == [
        *["clear"] * 2,
        *["loaded", "tight", "any", "quiet", "lossy", "flat"],
    ]
    assert kept["shares"][0]["label"] == "right link, clear, idle"
    assert not list(tmp_path.glob("*.new"))


def test_each_technique_is_asked_where_it_can_tell_something(tasks: list[Task]) -> None:
    done = command("--paths", "1", "--others", "1", "--flat", "1", "--destinations", "1")
    assert done.exit_code == 0, done.output
    # What needs the machine for itself comes last, when nothing else is under way.
    assert [(task.kind, " ".join(task.techniques)) for task in tasks] == [
        ("clear", "pathneck"),
        ("tight", "pathneck"),
        ("any", "pathneck"),
        ("quiet", "pathneck"),
        ("lossy", "traceroute loss pathneck"),
        ("far", "traceroute ping"),
        ("flat", "pathneck"),
        ("room", "igi precise"),
        ("internet", "broute"),
    ]
    assert "igi room-0" in done.output


def test_an_unknown_technique_is_a_usage_error() -> None:
    done = command("--tech", "pathneck,pathchirp")
    assert "there is no 'pathchirp'; the bench knows traceroute, ping" in str(done.exception) + (
        done.output
    )
    assert done.exit_code


def test_a_run_that_was_broken_off_is_continued(tmp_path: Path, tasks: list[Task]) -> None:
    file = tmp_path / "x.json"
    assert command(*FEW, "--paths", "2", "--json", str(file)).exit_code == 0
    before = len(tasks)
    done = command(*FEW, "--paths", "4", "--tech", "pathneck,igi", "--json", str(file), "--resume")
    assert done.exit_code == 0, done.output
    assert [(task.kind, task.number) for task in tasks[before:]] == [
        ("clear", 1),
        ("loaded", 1),
        ("room", 0),
    ]
    assert len(json.loads(file.read_text(encoding="utf-8"))["trials"]) == before + 3
    # Those of the first run count as well, and so in the table.
    (row,) = [line for line in done.output.splitlines() if "clear, idle" in line]
    assert " 6/6 " in row


def test_what_was_measured_otherwise_is_not_continued(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    assert command(*FEW, "--json", str(file)).exit_code == 0
    before = file.read_text(encoding="utf-8")
    done = command(*FEW, "--seeds", "reported", "--json", str(file), "--resume")
    assert "its seeds is 'development', not 'reported'; name another file" in str(done.exception)
    assert file.read_text(encoding="utf-8") == before


def test_a_file_that_is_none_of_ours_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_text("[]", encoding="utf-8")
    done = command(*FEW, "--json", str(file), "--resume")
    assert "was not written by emodis-lab bench" in str(done.exception)
    assert file.read_text(encoding="utf-8") == "[]"


def test_many_paths_at_a_time_are_each_measured_once(tmp_path: Path, tasks: list[Task]) -> None:
    file = tmp_path / "x.json"
    done = command("--tech", "pathneck", "--paths", "30", "--jobs", "4", "--json", str(file))
    assert done.exit_code == 0, done.output
    places = [(task.kind, task.number) for task in tasks]
    assert len(places) == len(set(places))
    assert len(json.loads(file.read_text(encoding="utf-8"))["trials"]) == len(places)


def test_rights_are_taken_away_where_it_was_asked_for_and_the_file_says_so(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    done = command(*FEW, "--access", "unprivileged", "--json", str(file))
    assert "development seeds from 0, without capabilities" in done.output
    kept = json.loads(file.read_text(encoding="utf-8"))
    assert kept["access"] == "unprivileged"
    assert {one["transport"] for one in kept["trials"]} == {"unprivileged"}


def test_a_file_that_cannot_be_written_is_said_before_anything_is_measured(tmp_path: Path) -> None:
    done = command("--json", str(tmp_path / "no" / "x.json"))
    assert "cannot write" in str(done.exception)
    assert "clear-0" not in done.output
