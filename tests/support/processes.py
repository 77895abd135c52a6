"""Looking at processes and at what reached a host, for tests that wait for conditions."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from emodis.lab.lab import Lab

POLL_S = 0.02


def eventually(holds: Callable[[], bool], what: str, *, deadline_s: float = 30.0) -> None:
    """Wait for a condition; the deadline is a guard against hanging, not an assertion of speed."""
    for _ in range(int(deadline_s / POLL_S)):
        if holds():
            return
        time.sleep(POLL_S)
    raise AssertionError(f"never happened: {what}")


def descendants(pid: int) -> list[int]:
    """All living children of a process, and theirs."""
    parents = dict(_parents())
    found: list[int] = []
    frontier = [pid]
    while frontier:
        parent = frontier.pop()
        children = [child for child, its_parent in parents.items() if its_parent == parent]
        found += children
        frontier += children
    return found


def signal_all(pid: int, number: signal.Signals) -> None:
    """Signal a process and all its descendants."""
    for each in (pid, *descendants(pid)):
        os.kill(each, number)


def alive(pid: int) -> bool:
    """True unless the process is gone or only waits to be reaped."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in {"Z", "X"}


def udp_arrivals(lab: Lab, host: str) -> int:
    """UDP packets that reached a host so far, wrong checksums and closed ports included."""
    return _counted(lab, host, "Udp:", ("InDatagrams", "NoPorts", "InErrors"))


def echo_arrivals(lab: Lab, host: str) -> int:
    """ICMP echo requests that reached a host so far."""
    return _counted(lab, host, "Icmp:", ("InEchos",))


def _counted(lab: Lab, host: str, protocol: str, names: tuple[str, ...]) -> int:
    done = lab.run(host, ["cat", "/proc/net/snmp"], capture_output=True, text=True, timeout=10)
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith(protocol)]
    counters = dict(zip(*lines, strict=True))
    return sum(int(counters[name]) for name in names)


def _parents() -> Iterator[tuple[int, int]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                rest = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if rest[0] != "Z":
                yield int(entry.name), int(rest[1])
