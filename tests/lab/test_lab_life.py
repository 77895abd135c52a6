"""Labs begin whole and end without a trace, whoever is killed."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from emodis.lab import state as states
from emodis.lab.lab import Lab, LabError
from tests.support.processes import eventually

pytestmark = pytest.mark.lab

SLEEP = ["sh", "-c", "trap '' TERM HUP; exec setsid sleep 600"]
# Owns a lab, starts a stubborn process in it, says its own pids, and waits to be killed.
OWNER = """
import sys
from emodis.lab.lab import Lab
with Lab.up("diamond", sys.argv[1]) as lab:
    inside = lab.popen("c1", ["sh", "-c", "trap '' TERM HUP; exec setsid sleep 600"])
    print(lab.pid, inside.pid, flush=True)
    sys.stdin.read()
"""
NOBODY = 65534
ROOTLESS = """
import subprocess, sys
from emodis.lab.attempt import why_not
from emodis.lab.lab import Lab
if reason := why_not():
    print("skip", reason)
    raise SystemExit
with Lab.up("path") as lab:
    code = "import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, 1);" + (
        "print(socket.gethostbyname('h2'))"
    )
    done = lab.run("h1", [sys.executable, "-c", code], capture_output=True, text=True, timeout=20)
    print("said", done.stdout.strip(), lab.address("h2"), lab.alive())
    # Everything that a topology can ask for: wires, rules, translation, short quotes.
    with Lab.up("hard") as hard:
        code = "import socket; s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM);" + (
            "s.connect(('s1', 5000)); print(s.getpeername()[0])"
        )
        done = hard.run("c1", [sys.executable, "-c", code], capture_output=True, text=True)
        print("hard", done.stdout.strip(), hard.address6("s1"), hard.alive())
    # This limit is of our own user namespace: here the kernel refuses, and nobody else is hurt.
    code = "echo 0 > /proc/sys/user/max_net_namespaces; $0 -P -m emodis.lab.attempt"
    done = lab.run("h1", ["sh", "-c", code, sys.executable], stderr=subprocess.PIPE, text=True)
    print(done.returncode, done.stderr)
"""


def networks(lab_pid: int) -> set[str]:
    """The network namespaces that a labd holds, as the kernel names them."""
    return {name for name in links(f"/proc/{lab_pid}/fd") if name.startswith("net:")}


def links(folder: str) -> Iterator[str]:
    with contextlib.suppress(OSError):
        for entry in os.listdir(folder):
            with contextlib.suppress(OSError):
                yield os.readlink(f"{folder}/{entry}")


def dead(pidfd: int) -> bool:
    """Whether the process behind a pidfd has ended (a zombie has)."""
    return bool(select.select([pidfd], [], [], 0)[0])


def still_held(names: set[str]) -> set[str]:
    """Which of these namespaces any process of this machine is in, or holds open."""
    held: set[str] = set()
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        held |= names & {*links(f"/proc/{pid}/ns"), *links(f"/proc/{pid}/fd")}
    return held


def cli(*arguments: str, timeout: float = 30) -> subprocess.CompletedProcess[str]:
    script = str(Path(sys.executable).parent / "emodis-lab")
    return subprocess.run(
        [script, *arguments], capture_output=True, text=True, timeout=timeout, check=False
    )


@pytest.fixture
def owner() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", OWNER, f"owned-{time.monotonic_ns()}"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


def test_a_lab_is_used_from_the_command_line_and_leaves_nothing(lab_home: Path) -> None:
    up = cli("up", "diamond", "--name", "shell")
    assert up.returncode == 0, up.stderr
    assert up.stdout == "shell is up: 11 nodes, hosts: a1 a2 m1 c1\n"
    assert "shell  11 nodes" in cli("list").stdout
    assert cli("exec", "shell", "c1", "--", "sh", "-c", "exit 5").returncode == 5
    assert cli("exec", "shell", "c1", "--", "sh", "-c", "kill -9 $$").returncode == 137
    held = cli("exec", "shell", "c1", "--unprivileged", "--", "grep", "CapEff", "/proc/self/status")
    assert int(held.stdout.split()[1], 16) == 0
    assert cli("exec", "shell", "c1", "--unprivileged", "--", "no-such").returncode == 127
    shown = cli("truth", "shell", "a1", "c1")
    assert "choke of a fluid train: r2 -> r4" in shown.stdout
    again = cli("up", "diamond", "--name", "shell")
    assert again.returncode == 1
    assert again.stderr.startswith("emodis-lab: a lab 'shell' is up already")
    pid = states.find("shell")[1].pid
    spaces = networks(pid)
    assert len(spaces) >= 11
    assert cli("down", "shell").returncode == 0
    assert not (lab_home / "shell").exists()
    eventually(lambda: not still_held(spaces), "all namespaces freed")


def test_everything_in_a_lab_dies_with_it() -> None:
    with Lab.up("path") as lab:
        process = lab.popen("h1", SLEEP)
    assert process.wait(10) == -signal.SIGKILL
    assert not lab.alive()


def test_killing_labd_leaves_nothing(lab_home: Path) -> None:
    with Lab.up("path") as lab:
        held = networks(lab.pid)
        process = lab.popen("h1", SLEEP)
        os.kill(lab.pid, signal.SIGKILL)
        assert process.wait(10) == -signal.SIGKILL
        eventually(lambda: not lab.alive(), "labd dead")
        with pytest.raises(LabError, match="the lab is gone"):
            lab.run("h1", ["true"])
    eventually(lambda: not still_held(held), "all namespaces freed")
    states.clean()
    assert not (lab_home / lab.name).exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_lab_ends_with_its_owner(
    owner: subprocess.Popen[str], number: signal.Signals, lab_home: Path
) -> None:
    assert owner.stdout is not None
    pids = [int(word) for word in owner.stdout.readline().split()]
    held = networks(pids[0])
    pidfds = [os.pidfd_open(pid) for pid in pids]
    owner.send_signal(number)
    try:
        eventually(lambda: all(dead(pidfd) for pidfd in pidfds), "labd and its child dead")
    finally:
        for pidfd in pidfds:
            os.close(pidfd)
    eventually(lambda: not still_held(held), "all namespaces freed")
    eventually(lambda: not list(lab_home.glob("owned-*")), "state removed by labd itself")


@pytest.mark.parametrize("after_s", [0.05, 0.2, 0.4, 0.6, 0.8])
def test_up_killed_at_any_moment_leaves_a_whole_lab_or_none(after_s: float, lab_home: Path) -> None:
    name = f"cut-{round(after_s * 1000)}"
    script = str(Path(sys.executable).parent / "emodis-lab")
    process = subprocess.Popen([script, "up", "path", "--name", name], stdout=subprocess.DEVNULL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(after_s)
    process.kill()
    process.wait()

    def settled() -> bool:
        states.clean()
        return not list(lab_home.glob(f"{states.BORN}*"))

    eventually(settled, "nothing half born")
    # A lab whose caller died while it said "ready" is listed for a moment, and then ends.
    with contextlib.suppress(LabError):
        lab = Lab.attach(name)
        assert lab.run("h2", ["true"], timeout=10).returncode == 0
        lab.down()
    eventually(lambda: name not in [state.name for _, state in states.living()], "no lab left")


def test_labs_stand_side_by_side_and_do_not_meet() -> None:
    with Lab.up("path") as one, Lab.up("path") as other:
        assert one.name != other.name
        assert one.address("h1") == other.address("h1")
        assert not networks(one.pid) & networks(other.pid)
        one.down()
        assert other.run("h1", ["true"], timeout=10).returncode == 0


def test_a_lab_whose_cross_traffic_died_ends_and_says_why(lab_home: Path) -> None:
    with Lab.up("demo", "silent") as lab:
        children = Path(f"/proc/{lab.pid}/task/{lab.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGKILL)
        eventually(lambda: not lab.alive(), "labd dead")
    assert "the cross traffic died" in (lab_home / "silent.log").read_text()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("nodes = [", "not valid TOML"),
        ('[nodes]\nh1 = { kind = "host" }\n', "[nodes.h1]: asn is missing"),
        ("", "there is no host"),
    ],
)
def test_a_broken_file_is_one_line_and_no_lab(
    tmp_path: Path, lab_home: Path, text: str, complaint: str
) -> None:
    (tmp_path / "broken.toml").write_text(text)
    up = cli("up", str(tmp_path / "broken.toml"))
    assert up.returncode == 1
    assert up.stdout == ""
    assert up.stderr.startswith(f"emodis-lab: {tmp_path}/broken.toml: ")
    assert complaint in up.stderr
    assert up.stderr.count("\n") == 1
    assert not (lab_home / "broken").exists()


def version_of(python: str) -> tuple[int, ...]:
    """Version of an interpreter as an unprivileged user finds it; () if that user cannot run it."""
    show = "import sys; print(*sys.version_info[:2])"
    try:
        done = subprocess.run(
            [python, "-c", show], user=NOBODY, cwd="/", capture_output=True, text=True, check=False
        )
    except OSError:
        return ()
    return tuple(int(word) for word in done.stdout.split())


def test_a_user_without_privileges_builds_a_lab_too() -> None:
    if os.getuid() != 0:
        pytest.skip("we are that user already: every test here proves it")
    ours = sys.version_info[:2]
    python = next((p for p in (sys.executable, "/usr/bin/python3") if version_of(p) == ours), None)
    if python is None:
        pytest.skip(f"user {NOBODY} can run no Python {ours[0]}.{ours[1]} on this machine")
    with tempfile.TemporaryDirectory() as place:
        os.chown(place, NOBODY, NOBODY)
        done = subprocess.run(
            [python, "-c", ROOTLESS],
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
            cwd="/",
            env={
                "PATH": "/usr/bin:/bin",
                "PYTHONPATH": f"{Path(__file__).parents[2]}:{sysconfig.get_path('purelib')}",
                "PYTHONDONTWRITEBYTECODE": "1",
                "EMODIS_LAB_DIR": f"{place}/labs",
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    if done.stdout.startswith("skip"):
        pytest.skip(done.stdout.removeprefix("skip ").strip())
    assert done.returncode == 0, done.stderr
    easy, hard, refused = done.stdout.splitlines()[:3]
    for built in (easy, hard):
        _, said, wanted, alive = built.split()
        assert (said, alive) == (wanted, "True")
    assert refused.startswith("1 no lab here: the kernel refuses new namespaces (No space left")
    assert "Traceback" not in done.stdout
