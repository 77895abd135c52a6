"""The main job: real master, agents, client and packets, judged against the lab's truth."""

from __future__ import annotations

import subprocess

import pytest

from emodis.lab.deployment import program

pytestmark = pytest.mark.lab


def test_the_demo_finds_every_bottleneck_where_it_is() -> None:
    done = subprocess.run(
        [program("emodis-lab"), "demo"], capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("◀ bottleneck") == 5, "two agents twice, and this host"
    assert done.stdout.count("0 of them at the same time as another agent's.") == 2
    assert "2 of 2 runs in" in done.stderr, "the progress is shown, too"
