"""An acknowledged result outlives the master, whenever it is killed."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.faults
MOMENTS = 20


def kill_after(lines: int, path: Path, first: int) -> list[int]:
    """Let a process save runs, kill it after so many lines; the runs it acknowledged."""
    command = [sys.executable, "-m", "tests.faults.store_child", str(path), str(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        heard = [child.stdout.readline() for _ in range(lines)]
        child.kill()
        # What it had written before it died still comes.
        heard += child.stdout.readlines()
    assert child.returncode == -9
    return [int(line) for line in heard[1:] if line.endswith(b"\n")]


def test_each_acknowledged_run_is_there_exactly_once(tmp_path: Path) -> None:
    path = tmp_path / "emodis.sqlite3"
    chance = random.Random(20)
    acknowledged: list[int] = []
    # First while the tables are being made.
    for lines in (1, *(chance.randrange(1, 400) for _ in range(MOMENTS - 1))):
        # From the first one not acknowledged, as an agent does: it may well be there.
        acknowledged += kill_after(lines, path, len(acknowledged))
        assert acknowledged == list(range(len(acknowledged)))
    assert len(acknowledged) > 1000
    with sqlite3.connect(path) as connection:
        assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]
        rows = connection.execute(
            "select destination, observations from runs join results using (cursor)"
            " order by destination"
        ).fetchall()
        ledger = connection.execute("select count(*), count(distinct cursor) from runs").fetchone()
    connection.close()
    assert rows[: len(acknowledged)] == [(n, b"%d" % n) for n in acknowledged]
    assert ledger == (len(rows), len(rows))
