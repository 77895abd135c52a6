"""A small lab, and a whole Emodis in it with short timers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from emodis.lab.deployment import Deployment
from emodis.lab.lab import Lab

# The shortest set that fits both inequalities with room for a busy machine.
TIMERS = """
[keepalive]
interval_s = 1.0
agent_timeout_s = 4.0
master_timeout_s = 5.5
reconnect_floor_s = 4.0
rtt_max_s = 1.0
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab.up("diamond") as standing:
        yield standing


@pytest.fixture
def emodis(lab: Lab, tmp_path: Path) -> Iterator[Deployment]:
    """A master with short timers; the test starts the agents it wants."""
    deployment = Deployment(lab, tmp_path)
    config = tmp_path / "master.toml"
    config.write_text(TIMERS)
    deployment.start_master("--config", str(config))
    try:
        yield deployment
    finally:
        deployment.stop()
