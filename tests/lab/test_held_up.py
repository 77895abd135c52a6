"""A prober that loses its processor in the middle of a train: that train is no evidence.

SIGSTOP and SIGCONT do to the prober what a scheduler does that gives its processor to somebody
else for a few time slices, but when the test wants it.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from emodis.lab.deployment import Deployment
from tests.lab.test_igi import MBIT, deployed, error

pytestmark = pytest.mark.lab

HELD_S = 0.03
EVERY_S = 0.25
ATTEMPTS = 4


def children(pid: int) -> list[int]:
    found = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        found += [int(word) for word in (thread / "children").read_text().split()]
    return found


def hold(pid: int) -> None:
    """Longer than the gap between any two probes."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
        try:
            select.select([], [], [], HELD_S)
        finally:
            os.kill(pid, signal.SIGCONT)


def asked_while_held_up(emodis: Deployment) -> dict[str, Any]:
    agent = emodis.daemons[1].process.pid
    probers = children(agent)
    assert probers
    argv = emodis.client_argv("request", "--tech", "igi", "--agents", "ALL", "--format", "json")
    with emodis.lab.popen("h2", [*argv, "-o", "repeats=6"], stdout=subprocess.PIPE) as client:
        assert client.stdout is not None
        while not select.select([client.stdout], [], [], EVERY_S)[0]:
            for prober in probers:
                hold(prober)
        (measurement,) = json.loads(client.stdout.read())["measurements"]
    run: dict[str, Any] = measurement["runs"][0]
    return run


def test_a_train_in_which_the_sender_was_held_up_is_sent_again_and_counted(
    tmp_path: Path,
) -> None:
    with deployed(tmp_path, 10 * MBIT) as emodis:
        for _ in range(ATTEMPTS):
            run = asked_while_held_up(emodis)
            if run["reason"] == "self_congested":
                continue
            # Whatever was spoiled, the answer is what it would have been without.
            assert abs(error(emodis, run)) <= 0.25
            if run["result"]["trains_discarded"]:
                return
    pytest.fail("no train was ever held up")
