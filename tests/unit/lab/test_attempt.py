from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from emodis.lab.attempt import why_not


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    why_not.cache_clear()
    yield
    why_not.cache_clear()


def test_why_not_is_the_last_line_of_the_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", "a warning\nno lab here: x\n")

    monkeypatch.setattr(subprocess, "run", run)
    assert why_not() == "no lab here: x"
