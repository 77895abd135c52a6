from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from emodis.lab.bench import reference, timing, tools
from emodis.lab.bench.comparison import Comparison, table
from emodis.lab.bench.flights import Arrival, gap_errors_us
from emodis.lab.bench.roads import direct, eleven_hops, near
from emodis.lab.cli import lab
from emodis.lab.plan import make_plan
from emodis.lab.truth import path_truth

ROW = Comparison(
    what="ping, median RTT",
    against="C reference",
    unit="µs",
    ours=120.0,
    other=110.0,
    result=10.0,
    result_unit="µs apart",
    limit=20.0,
    samples=10,
)


def test_a_row_says_whether_the_target_is_met() -> None:
    heading, row = table([ROW])
    assert heading.split() == ["Emodis", "reference", "result", "at", "most", "met", "samples"]
    assert "C reference 110.00 µs  10.00 µs apart  20 µs apart  yes" in row
    assert Comparison.from_json(ROW.as_json()) == ROW
    assert not Comparison.from_json({**ROW.as_json(), "result": 20.1}).met


def test_gaps_are_taken_between_neighbours_of_trains_that_were_kept() -> None:
    trains = [{"gap_ns": 100_000, "kept": True}, {"gap_ns": 100_000, "kept": False}]

    def arrival(train: int, place: int, at_us: int) -> Arrival:
        return Arrival(at_us * 1000, 1, struct.pack(">II", train, place) + b"x")

    arrived = [
        arrival(0, 0, 0),
        arrival(0, 1, 103),
        # One is missing, so this is no gap; then one that is too short.
        arrival(0, 3, 300),
        arrival(0, 4, 398),
        arrival(1, 5, 500),
        arrival(1, 6, 999),
    ]
    assert gap_errors_us(arrived, trains) == {100_000: [3.0, 2.0]}


def test_the_paths_are_what_they_are_called() -> None:
    for topology, links, rtt_ns in ((direct(), 1, 0), (near(), 4, 0), (eleven_hops(), 11, 38e6)):
        truth = path_truth(make_plan(topology), "h1", "h2")
        assert (len(truth.links), truth.rtt_ns) == (links, rtt_ns)


@pytest.mark.skipif(reference.compiler() is None, reason="no C compiler")
@pytest.mark.parametrize("name", ["ping", "traceroute", "train"])
def test_the_references_compile(name: str, tmp_path: Path) -> None:
    found = reference.compiled(name, tmp_path)
    assert found is not None
    assert found.stat().st_mode & 0o100


def test_without_a_compiler_there_is_no_reference(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert reference.compiled("ping", tmp_path) is None


def test_a_tools_answer_is_read() -> None:
    said = "64 bytes from 10.0.0.1: icmp_seq=1 ttl=61 time=0.142 ms\n64 bytes: time=0.131 ms\n"
    assert tools.IPUTILS_RTT.findall(said) == ["0.142", "0.131"]
    said = "traceroute to h2 (10.0.0.2), 30 hops max\n 1  10.0.0.1  1.2 ms  1.1 ms\n 2  * * *\n"
    assert tools.TRACED.findall(said) == ["10.0.0.1", "*"]


def test_what_is_left_out_is_said_and_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def part(rounds: int, directory: Path) -> Iterator[Comparison | str]:
        assert (rounds, directory.is_dir()) == (3, True)
        yield "iputils is left out"
        yield ROW

    monkeypatch.setattr(timing, "PARTS", {"ping": (part, 10), "trains": (part, 30)})
    file = tmp_path / "x.json"
    words = ["bench", "timing", "--only", "ping", "--rounds", "3", "--json", str(file)]
    done = CliRunner().invoke(lab, words)
    assert done.exit_code == 0, done.output
    assert done.output.startswith("iputils is left out\n")
    kept = json.loads(file.read_text(encoding="utf-8"))
    assert (kept["schema"], kept["left_out"]) == ("emodis.timing/1", ["iputils is left out"])
    assert [Comparison.from_json(row) for row in kept["rows"]] == [ROW]
    assert kept["machine"]
