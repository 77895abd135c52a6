from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from emodis.lab.bench import broute, paths, route, rtt
from emodis.lab.bench.accuracy import Plan, content
from emodis.lab.bench.bandwidth import PreciseTrial
from emodis.lab.bench.document import origin
from emodis.lab.bench.paths import Seeds
from emodis.lab.bench.subjects import SUBJECTS, tally
from emodis.lab.bench.targets import TARGETS, verdict
from emodis.lab.bench.timing import content as timing_content
from emodis.lab.bench.trial import Access, Trial
from emodis.lab.cli import lab
from emodis.lab.plan import make_plan
from emodis.lab.truth import path_truth
from tests.unit.client import schema
from tests.unit.lab.bench.builders import bandwidth, loss, trial
from tests.unit.lab.bench.test_timing import ROW

FAR = paths.path("far", Seeds.DEVELOPMENT, 0)
TRUTH = path_truth(make_plan(FAR), "h1", "h2")
TRIALS: list[Trial] = [
    trial(),
    trial(number=2, named_ttl=5),
    trial(number=3, done=False),
    bandwidth(kind="room", cross_ratio=0.0),
    bandwidth(PreciseTrial, kind="room", said_bps=5_100_000),
    loss(kind="lossy"),
    # Nothing was measured by these.
    rtt.compare(FAR, TRUTH, {}, kind="far", number=0),
    route.compare(FAR, TRUTH, {}, kind="far", number=0),
    broute.judge("internet-0", {"runs": []}, {"h1": TRUTH}),
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    plan = Plan(
        counts={"clear": 3, "loaded": 2, "room": 1, "lossy": 1},
        techniques=list(SUBJECTS),
        seeds=Seeds.REPORTED,
    )
    return written(tmp_path / "accuracy.json", content(plan, TRIALS))


def written(path: Path, found: dict[str, Any]) -> Path:
    path.write_text(json.dumps({**found, **origin()}), encoding="utf-8")
    return path


def report(*words: str) -> Result:
    return CliRunner().invoke(lab, ["bench", "report", *words])


def test_a_table_for_each_technique_with_its_targets(file: Path) -> None:
    done = report(str(file))
    assert done.exit_code == 0, done.output
    assert "Accuracy, reported seeds from 0." in done.output
    assert "Measured: 3 clear, 1 far, 1 internet, 1 lossy, 1 room." in done.output
    assert "--seeds reported --seed 0 --access full --paths 3 --others 1 --flat 0" in done.output
    (row,) = [line for line in done.output.splitlines() if "clear, idle" in line]
    assert "1/3 (1 without a result)" in row
    assert "n at least 200: NO, at least 97%: NO, median error at most 10%: yes" in row
    assert "| igi | k/n |" in done.output
    assert "median error at most 5%: NO, 90 % at most 20%: yes" in done.output


def test_there_is_a_command_for_each_number_of_other_paths(tmp_path: Path) -> None:
    more = [
        *TRIALS,
        bandwidth(kind="room", number=7, cross_ratio=0.0),
        bandwidth(PreciseTrial, kind="room", number=7, said_bps=5_100_000),
    ]
    plan = Plan(counts={"clear": 3}, techniques=list(SUBJECTS), seeds=Seeds.REPORTED)
    done = report(str(written(tmp_path / "accuracy.json", content(plan, more))))
    commands = [line for line in done.output.splitlines() if line.startswith("- `emodis-lab")]
    assert [(words := line.split())[words.index("--tech") + 1] for line in commands] == [
        "pathneck,igi,precise,broute",
        "traceroute,ping,loss",
    ]
    assert ["--others 1 " in line for line in commands] == [False, True]


def test_every_target_is_one_of_a_row_that_there_is() -> None:
    every = [
        trial(cross_ratio=0.5),
        trial(kind="flat"),
        *TRIALS,
    ]
    labels = {(share.technique, share.label) for share in tally(every)}
    missing = {key for key in TARGETS if key not in labels}
    assert {technique for technique, _ in missing} <= {"broute"}
    assert all(
        verdict(share) for share in tally(every) if (share.technique, share.label) in TARGETS
    )


def test_what_is_kept_is_what_is_published(file: Path, tmp_path: Path) -> None:
    for path in (file, written(tmp_path / "timing.json", timing_content([ROW], ["no compiler"]))):
        found = json.loads(path.read_text(encoding="utf-8"))
        published = schema.load(found["schema"].removeprefix("emodis.").replace("/", "-") + ".json")
        assert schema.problems(found, published, published) == []


def test_times_have_a_table_too(tmp_path: Path) -> None:
    path = written(tmp_path / "timing.json", timing_content([ROW], ["no compiler"]))
    done = report(str(path))
    assert "| ping, median RTT | 120.00 µs | C reference 110.00 µs |" in done.output
    assert "- no compiler" in done.output


def test_what_missing_rights_change_is_said_of_the_same_paths(tmp_path: Path) -> None:
    def document(name: str, access: Access, trials: Sequence[Trial]) -> str:
        plan = Plan(counts={}, techniques=["pathneck"], seeds=Seeds.REPORTED, access=access)
        return str(written(tmp_path / name, content(plan, trials)))

    full = document("full.json", Access.FULL, [trial(number=k) for k in range(50)])
    some = [trial(number=k, **({"named_ttl": 0} if k < 2 else {})) for k in range(25)]
    without = document("without.json", Access.UNPRIVILEGED, some)
    done = report(full, without)
    assert "| pathneck: right link, clear, idle | 25/25 | 23/25 | 8.0 | 3 | NO |" in done.output
    assert "capabilities, on the same paths" not in report(full, full).output
    # Whatever other files there are.
    rest = document("rest.json", Access.FULL, [bandwidth(kind="room")])
    assert "| 25/25 | 23/25 | 8.0 | 3 | NO |" in report(full, rest, without).output


def test_the_figures_of_a_page_are_replaced_and_nothing_else(file: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    text = "# Title\n\n<!-- figures -->\nof yesterday\n<!-- end of figures -->\n\nThe end.\n"
    page.write_text(text, encoding="utf-8")
    assert report(str(file), "--into", str(page)).exit_code == 0
    once = page.read_text(encoding="utf-8")
    assert once.startswith("# Title\n\n<!-- figures -->\n\n**Accuracy")
    assert once.endswith("\n<!-- end of figures -->\n\nThe end.\n")
    assert "of yesterday" not in once
    report(str(file), "--into", str(page))
    assert page.read_text(encoding="utf-8") == once


def test_a_page_without_marks_is_left_alone(file: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing", encoding="utf-8")
    assert "put <!-- figures -->" in str(report(str(file), "--into", str(page)).exception)
    assert page.read_text(encoding="utf-8") == "nothing"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is no JSON"),
        ("[]", "was not written by emodis-lab bench"),
        ('{"schema": "emodis.accuracy/1"}', "cannot read 'emodis.accuracy/1'; measure again"),
        ('{"schema": "emodis.timing/1"}', "is not whole"),
    ],
)
def test_files_that_are_no_reports(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(text, encoding="utf-8")
    assert words in str(report(str(path)).exception)


def test_the_documentation_has_a_place_for_figures() -> None:
    page = Path(__file__).parents[4] / "docs" / "accuracy.md"
    text = page.read_text(encoding="utf-8")
    assert text.count("<!-- figures -->") == text.count("<!-- end of figures -->") == 1
