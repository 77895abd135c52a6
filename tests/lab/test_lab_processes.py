"""A process in a lab is an ordinary child of whoever started it, and dies with the lab."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from emodis.lab.lab import Lab, LabError

pytestmark = pytest.mark.lab

SLEEP = ["sleep", "600"]


def test_the_exit_status_comes_back(path_lab: Lab) -> None:
    assert path_lab.run("h1", ["sh", "-c", "exit 7"], timeout=10).returncode == 7
    with pytest.raises(subprocess.CalledProcessError):
        path_lab.run("h1", ["false"], timeout=10, check=True)


def test_signals_reach_the_command_itself(path_lab: Lab) -> None:
    process = path_lab.popen("h1", SLEEP)
    assert process.poll() is None
    assert Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")[0] == b"sleep"
    process.terminate()
    assert process.wait(10) == -signal.SIGTERM


def test_a_timeout_kills_what_runs(path_lab: Lab) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        path_lab.run("h1", SLEEP, timeout=0.2)


def test_streams_directory_and_environment_are_as_asked(path_lab: Lab, tmp_path: Path) -> None:
    done = path_lab.run(
        "h1",
        ["sh", "-c", "cat; pwd; echo $WORD"],
        input="in\n",
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "WORD": "out"},
        timeout=10,
    )
    assert done.stdout == f"in\n{tmp_path}\nout\n"


def test_a_session_of_its_own_is_one_inside_too(path_lab: Lab) -> None:
    process = path_lab.popen("h1", SLEEP, start_new_session=True)
    assert os.getsid(process.pid) == process.pid
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait(10) == -signal.SIGKILL


def test_the_scripts_of_this_installation_are_found(path_lab: Lab) -> None:
    where = path_lab.run("h1", ["sh", "-c", "echo $PATH"], capture_output=True, text=True)
    assert where.stdout.split(":")[0] == str(Path(sys.executable).parent)


def test_an_unknown_command_and_an_unknown_host_are_one_line(path_lab: Lab) -> None:
    with pytest.raises(LabError, match=r"^nosuch could not be run at h1: No such file"):
        path_lab.popen("h1", ["nosuch"], stdout=subprocess.PIPE)
    with pytest.raises(LabError, match=r"has no node 'zz'; its hosts: h1 h2"):
        path_lab.popen("zz", SLEEP)


def test_no_descriptor_is_left_behind(path_lab: Lab) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    path_lab.run("h1", ["true"], timeout=10)
    with pytest.raises(LabError):
        path_lab.popen("h1", ["nosuch"])
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_processes_see_only_their_lab(path_lab: Lab) -> None:
    process = path_lab.popen("h1", SLEEP)
    try:
        listing = path_lab.run("h2", ["sh", "-c", "ls /proc"], capture_output=True, text=True)
        pids = [int(name) for name in listing.stdout.split() if name.isdecimal()]
        assert max(pids) < 1000
    finally:
        process.kill()
        process.wait()
