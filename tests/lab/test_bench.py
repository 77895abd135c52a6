"""The benchmarks themselves, each as small as it gets; what they find is not judged here."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from emodis.lab.bench import reference
from emodis.lab.deployment import program

pytestmark = pytest.mark.lab


def bench(*words: str) -> subprocess.CompletedProcess[str]:
    argv = [program("emodis-lab"), "bench", *words]
    return subprocess.run(argv, capture_output=True, text=True, timeout=120, check=True)


def read(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def test_one_path_with_one_host_and_one_with_an_agent(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    bench("accuracy", "--tech", "ping,igi", "--others", "1", "--seed", "1", "--json", str(file))
    found = read(file)
    trials = {(trial["technique"], trial["kind"]): trial for trial in found["trials"]}
    assert sorted(trials) == [("igi", "room"), ("ping", "far")]
    # On a machine with too much to do there may be no result; then there is a reason.
    assert all(trial["note"] for trial in found["trials"] if not trial["done"])
    assert trials["ping", "far"]["true_rtt_ns"] < trials["ping", "far"]["rtt_median_ns"]


@pytest.mark.skipif(reference.compiler() is None, reason="no C compiler")
def test_times_beside_the_references(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    bench("timing", "--rounds", "1", "--json", str(file))
    rows = read(file)["rows"]
    assert [row["what"].split()[0].strip(",") for row in rows[:1]] == ["ping"]
    assert sum(row["against"].startswith("C reference") for row in rows) == 5
    (route,) = [row for row in rows if row["against"] == "C reference" and "trace" in row["what"]]
    assert route["note"] == "same hops in 1 of 1"
    assert route["other"] >= 38
    paced = [row for row in rows if row["what"].startswith("gaps")]
    assert len(paced) == 10
    assert all(row["note"].endswith("of 1 trains kept") for row in paced)
