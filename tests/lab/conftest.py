"""Every test here runs in virtual Internets of its own, kept apart from those of the user."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from emodis.lab.lab import Lab


@pytest.fixture(scope="session", autouse=True)
def lab_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the labs of this test session keep their state."""
    place = tmp_path_factory.mktemp("labs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMODIS_LAB_DIR", str(place))
        yield place


@pytest.fixture(scope="module")
def path_lab() -> Iterator[Lab]:
    """h1 - r1 .. r6 - h2, the bottleneck of 10 Mbit/s between r3 and r4."""
    with Lab.up("path") as lab:
        yield lab


@pytest.fixture(scope="module")
def demo_lab() -> Iterator[Lab]:
    """The Internet of the demo."""
    with Lab.up("demo") as lab:
        yield lab
