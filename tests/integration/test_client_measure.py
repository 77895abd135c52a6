"""`emodis-client measure` as a real process; its packets stay on loopback."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from emodis.client.exits import Exit
from tests.integration.client_rig import DEADLINE_S, Said, finish, interrupt, start
from tests.unit.client.schema import load, problems

CAP_NET_RAW = 13


def may_send() -> bool:
    """This process has CAP_NET_RAW."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (line,) = [line for line in status.splitlines() if line.startswith("CapEff:")]
    return bool(int(line.split()[1], 16) >> CAP_NET_RAW & 1)


def has_ipv6() -> bool:
    """This host has the IPv6 loopback address."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        return probe.connect_ex(("::1", 9)) == 0


def measure(home: Path, *arguments: str) -> Said:
    return finish(start(["measure", "127.0.0.1", "--tech", "ping", *arguments], home))


@pytest.mark.skipif(not may_send(), reason="needs CAP_NET_RAW")
def test_real_packets_and_json(tmp_path: Path) -> None:
    said = measure(tmp_path, "-o", "count=3", "-o", "interval_s=0.05", "--format", "json")
    assert said.code == Exit.OK
    printed, schema = json.loads(said.out), load("results-1.json")
    assert problems(printed, schema, schema) == []
    (measurement,) = printed["measurements"]
    (run,) = measurement["runs"]
    assert (measurement["direction"], measurement["measurement_id"]) == ("upstream", None)
    assert (run["end"], run["result"]["sent"], run["agent_id"]) == ("done", 3, None)


@pytest.mark.skipif(not may_send() or not has_ipv6(), reason="needs CAP_NET_RAW and IPv6")
def test_real_packets_over_ipv6(tmp_path: Path) -> None:
    arguments = ["measure", "::1", "--tech", "traceroute", "--format", "json"]
    said = finish(start(arguments, tmp_path))
    assert said.code == Exit.OK
    ((run,),) = [measurement["runs"] for measurement in json.loads(said.out)["measurements"]]
    assert (run["end"], run["result"]["hop_count"]) == ("done", 1)


@pytest.mark.skipif(not may_send(), reason="needs CAP_NET_RAW")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_it_and_its_prober(number: signal.Signals, tmp_path: Path) -> None:
    arguments = ["-o", "count=400", "-o", "interval_s=0.2"]
    process = start(["measure", "127.0.0.1", "--tech", "ping", *arguments], tmp_path)
    wait_until(lambda: bool(children_of(process.pid)))
    probers = children_of(process.pid)
    interrupt(process, number)
    said = finish(process)
    assert said.code == Exit.INTERRUPTED
    assert said.err.startswith("this host, about 80 s")
    assert "emodis-client: interrupted" in said.err
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in probers))


def test_without_raw_sockets_it_measures_and_says_so(tmp_path: Path) -> None:
    """Also as root: what is dropped from the bounding set does not survive an exec."""
    code = (
        "import ctypes, os, sys; ctypes.CDLL(None).prctl(24, 13, 0, 0, 0); "
        "os.execv(sys.executable, [sys.executable, '-m', 'emodis.client.app', "
        "'measure', '127.0.0.1', '--tech', 'traceroute', '--format', 'json'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        env={**os.environ, "HOME": str(tmp_path)},
        check=False,
    )
    assert done.returncode == Exit.OK, done.stderr
    printed, schema = json.loads(done.stdout), load("results-1.json")
    assert problems(printed, schema, schema) == []
    ((run,),) = [measurement["runs"] for measurement in printed["measurements"]]
    assert (run["end"], run["result"]["hop_count"]) == ("done", 1)
    assert run["transport"] == "unprivileged"


def children_of(pid: int) -> list[int]:
    """The processes that this one has started and not buried."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [int(word) for word in listed.split()]


def wait_until(condition: Callable[[], bool]) -> None:
    """Come back when it is so; fail when it never is."""
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
