"""Fragments of the changelog are named so that they are found, and say one thing."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "changes.d"
NAME = re.compile(r"(?:\d+-|\+)[a-z0-9-]+\.(?:feature|bugfix|change|removal)\.md")
FRAGMENTS = sorted(
    path.name for path in FOLDER.iterdir() if path.name not in {"README.md", "template.md"}
)


@pytest.mark.parametrize("name", FRAGMENTS)
def test_a_fragment_is_well_named_and_short(name: str) -> None:
    assert NAME.fullmatch(name), f"rename docs/changes.d/{name}; see the README.md there"
    lines = (FOLDER / name).read_text(encoding="utf-8").strip().splitlines()
    assert len(lines) == 1
    assert lines[0].endswith(".")


def test_the_changelog_can_be_built_and_leaves_none_out() -> None:
    command = [sys.executable, "-m", "towncrier", "build", "--draft", "--version", "0.0.0"]
    drafted = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in FRAGMENTS:
        sentence = (FOLDER / name).read_text(encoding="utf-8").strip()
        assert f"- {sentence}\n" in drafted
