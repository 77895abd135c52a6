"""What a room really loads, in a fresh interpreter: import-linter does not see parents."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PURE = ("techniques", "scheduling", "diagnosis", "topology")
LOOK = """
import importlib, pkgutil, sys
room = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(room.__path__, room.__name__ + "."):
    # Alembic's own, which can only be run by it.
    if ".migrations." not in module.name:
        importlib.import_module(module.name)
print(*(name for name in sys.argv[2:] if name in sys.modules))
"""


def loaded(room: str, *suspects: str) -> str:
    """Which of the suspects are there once all of a room has been imported."""
    command = [sys.executable, "-c", LOOK, f"emodis.{room}", *suspects]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("room", PURE)
def test_a_pure_room_loads_neither_twisted_nor_sql_nor_packets_tools(room: str) -> None:
    assert loaded(room, "twisted", "sqlalchemy", "scapy", "pyroute2", "rich") == ""


def test_the_master_loads_nothing_that_opens_a_probe_socket() -> None:
    assert loaded("master", "scapy", "emodis.packets.raw", "emodis.prober", "pyroute2") == ""


def test_packages_are_empty_at_the_door() -> None:
    doors = [path for path in (ROOT / "emodis").rglob("__init__.py") if path.read_text().strip()]
    assert [str(path.relative_to(ROOT)) for path in doors] == ["emodis/__init__.py"]
