from __future__ import annotations

from pathlib import Path

import pytest

from emodis.lab import cli
from emodis.lab.topofile import parse


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMODIS_LAB_DIR", str(tmp_path / "labs"))


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["emodis-lab", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def test_a_generated_topology_is_printed_as_a_file_that_reads_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "up", "--generate", "path", "--seed", "4", "--print") == 0
    assert parse(capsys.readouterr().out, place="x", default_name="x").name == "path-4"


@pytest.mark.parametrize(
    ("arguments", "status", "line"),
    [
        (["up"], 2, "Error: give either a FILE"),
        (["up", "demo", "--generate", "path"], 2, "Error: give either a FILE"),
        (["up", "nosuch.toml"], 1, "emodis-lab: nosuch.toml: no such file"),
        (["up", "path", "--name", "No Way"], 1, "emodis-lab: 'No Way' cannot name a lab"),
        (["down", "ghost"], 1, "emodis-lab: no lab 'ghost' is up"),
        (["exec", "ghost", "h1", "--", "true"], 1, "emodis-lab: no lab 'ghost' is up"),
        (["truth", "ghost", "h1", "h2"], 1, "emodis-lab: no lab 'ghost' is up"),
        (["fly"], 2, "Error: No such command"),
    ],
)
def test_each_mistake_is_one_line_and_the_right_status(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    status: int,
    line: str,
) -> None:
    assert run(monkeypatch, *arguments) == status
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.strip().splitlines()[-1].startswith(line)


def test_an_empty_list_is_empty(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "list", "--json") == 0
    assert capsys.readouterr().out == "[]\n"
