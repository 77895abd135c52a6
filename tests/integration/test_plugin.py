"""The example package of docs/howto/plugin.md: built, installed, and used by every process.

Real master, agent and client on loopback; nothing is downloaded.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import attrs
import pytest

from emodis.client.exits import Exit
from emodis.prober.privileges import net_raw
from tests.integration.client_rig import Said, finish
from tests.integration.client_rig import start as start_client
from tests.unit.client.schema import load, problems

EXAMPLE = Path(__file__).parents[2] / "docs" / "howto" / "emodis-hopcount"
DEADLINE_S = 60.0
BROKEN = "[emodis.techniques]\nbroken = emodis_broken:Technique\nping = emodis_broken:Ping\n"

needs_raw = pytest.mark.skipif(
    not net_raw().effective, reason="needs root or CAP_NET_RAW for the agent's probers"
)


@attrs.define(eq=False)
class Daemon:
    """A process whose stderr is read line by line."""

    process: subprocess.Popen[str]
    lines: list[str] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))

    def said(self, pattern: str) -> re.Match[str]:
        """Wait for a line."""
        end_s = time.monotonic() + DEADLINE_S
        while True:
            for line in tuple(self.lines):
                if found := re.search(pattern, line):
                    return found
            if time.monotonic() > end_s or self.process.poll() is not None:
                raise AssertionError(f"never said {pattern}: {self.lines}")
            time.sleep(0.02)

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(DEADLINE_S)
        finally:
            self.process.kill()
            assert self.process.stderr is not None
            self.process.stderr.close()
        assert not [line for line in self.lines if "Traceback" in line or "Unhandled" in line]


Start = Callable[..., Daemon]


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH with the example in it, and a package with two broken techniques."""
    folder = tmp_path_factory.mktemp("packages")
    # Building leaves files beside the source.
    source = shutil.copytree(EXAMPLE, tmp_path_factory.mktemp("source") / "hopcount")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    offline = ["--no-index", "--no-deps", "--no-build-isolation", "--target", str(folder)]
    done = subprocess.run(
        [*pip, *offline, str(source)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    metadata = folder / "emodis_broken-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: emodis-broken\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(BROKEN)
    (folder / "emodis_broken.py").write_text("import there_is_no_such_module\n")
    return folder


@pytest.fixture
def environ(packages: Path, tmp_path: Path) -> Mapping[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("EMODIS_")}
    return {**kept, "PYTHONPATH": str(packages), "PYTHONUNBUFFERED": "1", "HOME": str(tmp_path)}


@pytest.fixture
def daemon(environ: Mapping[str, str], tmp_path: Path) -> Iterator[Start]:
    started: list[Daemon] = []

    def start(face: str, *arguments: str) -> Daemon:
        code = f"from emodis.{face}.cli import main; main()"
        process = subprocess.Popen(
            [sys.executable, "-c", code, "run", "--state-dir", str(tmp_path / face), *arguments],
            stderr=subprocess.PIPE,
            text=True,
            env=environ,
        )
        started.append(Daemon(process))
        return started[-1]

    yield start
    for each in reversed(started):
        each.stop()


def client(environ: Mapping[str, str], home: Path, *arguments: str) -> Said:
    return finish(start_client(arguments, home, {"PYTHONPATH": environ["PYTHONPATH"]}))


def test_the_client_knows_it_and_says_what_is_broken(
    environ: Mapping[str, str], tmp_path: Path
) -> None:
    listed = client(environ, tmp_path, "measure", "--tech", "help")
    assert listed.code == Exit.OK
    assert re.search(r"^hopcount +how many hops .*\[emodis-hopcount 0\.1\]$", listed.out, re.M)
    taken, missing = listed.err.splitlines()
    assert "'ping' is left out: emodis_broken:Ping takes the name of a built-in" in taken
    assert "plug-in 'broken' (emodis_broken:Technique): ModuleNotFoundError" in missing

    assert "hopcount" in client(environ, tmp_path, "request", "--help").out
    options = client(environ, tmp_path, "request", "--tech", "hopcount", "-o", "help")
    assert "max_ttl    how far to look (1 to 64 hops; default 30)" in options.out
    wrong = client(environ, tmp_path, "request", "--tech", "hopcount", "-o", "max_ttl=65")
    assert wrong.code == Exit.USAGE
    assert "max_ttl must be 1 to 64 hops, not 65" in wrong.err
    unusable = client(environ, tmp_path, "request", "--tech", "broken")
    assert unusable.code == Exit.USAGE
    assert "plug-in 'broken'" in unusable.complaint


@needs_raw
def test_its_results_can_be_estimated_again(environ: Mapping[str, str], tmp_path: Path) -> None:
    options = ("--observations", "--format", "json")
    kept = client(environ, tmp_path, "measure", "127.0.0.1", "--tech", "hopcount", *options)
    (tmp_path / "kept.json").write_text(kept.out, encoding="utf-8")
    again = client(environ, tmp_path, "show", "--re-estimate", str(tmp_path / "kept.json"))
    assert (again.code, again.out) == (
        Exit.OK,
        "this host → 127.0.0.1 (hopcount): the same\n",
    )


@needs_raw
def test_master_agent_and_client_use_it(
    environ: Mapping[str, str], daemon: Start, tmp_path: Path
) -> None:
    master = daemon("master", "--listen-agents=tcp:0", "--listen-clients=tcp:0")
    # One line each, and it serves all the same.
    master.said(r"plug-in 'broken' \(emodis_broken:Technique\): ModuleNotFoundError")
    agents = master.said(r"^listening for agents on tcp:(127\.0\.0\.1:\d+)$")[1]
    clients = master.said(r"^listening for clients on tcp:(127\.0\.0\.1:\d+)$")[1]
    agent = daemon("agent", "--master", agents, "--allow", "hopcount", "--allow", "ping")
    agent.said("^online at ")

    asked = client(
        environ,
        tmp_path,
        *("request", "127.0.0.1", "--tech", "hopcount", "--agents", "ALL", "--master", clients),
        *("-o", "max_ttl=9", "--fail-if", "hops>1", "--format", "json"),
    )
    assert asked.code == Exit.OK, asked.err
    printed, schema = json.loads(asked.out), load("results-1.json")
    assert problems(printed, schema, schema) == []
    (measurement,) = printed["measurements"]
    assert measurement["answers"] == ["Towards 127.0.0.1: 1 hop away."]
    (run,) = measurement["runs"]
    assert (run["end"], run["result"]["hops"], run["result"]["exact"]) == ("done", 1, True)
    assert measurement["parameters"]["max_ttl"] == 9

    table = client(environ, tmp_path, "results", measurement["measurement_id"], "--master", clients)
    assert table.out.startswith("Towards 127.0.0.1: 1 hop away.\n")
    assert re.search(r"^agent +hops +exact +probes +rtt min +quality$", table.out, re.M)
    assert re.search(r"^ *1 +127\.0\.0\.1 +yes$", table.out, re.M)


@needs_raw
def test_an_agent_whose_volunteer_did_not_name_it_never_gets_it(
    environ: Mapping[str, str], daemon: Start, tmp_path: Path
) -> None:
    master = daemon("master", "--listen-agents=tcp:0", "--listen-clients=tcp:0")
    agents = master.said(r"^listening for agents on tcp:(127\.0\.0\.1:\d+)$")[1]
    clients = master.said(r"^listening for clients on tcp:(127\.0\.0\.1:\d+)$")[1]
    agent = daemon("agent", "--master", agents)
    agent.said("^online at ")
    call = ("request", "127.0.0.1", "--agents", "ALL", "--master", clients, "--tech")
    assert client(environ, tmp_path, *call, "hopcount").code == Exit.NO_AGENT
    assert client(environ, tmp_path, *call, "ping", "-o", "count=1").code == Exit.OK
    # What is not enabled is not even imported: this one would have complained.
    assert not [line for line in agent.lines if "'broken'" in line]
