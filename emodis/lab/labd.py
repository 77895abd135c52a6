"""The process that is a lab: PID 1 of its own pid namespace, holder of all its networks.

The networks are anonymous, kept by this process's descriptors alone; every process in the lab is in
this pid namespace. So when labd dies, of whatever signal, the kernel kills and frees all of it.
It ends by SIGTERM, when its owner's pipe is closed (if it has an owner), or when one of its workers
(cross traffic, wires) dies, because the truth would then be false. Started by `launch`, never by
hand.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import IO

from emodis.lab import asmap, kernel, names
from emodis.lab import state as states
from emodis.lab.build import build
from emodis.lab.errors import LabError
from emodis.lab.isolation import isolate, refused
from emodis.lab.launch import AS_MAP_FILE, NO_OWNER, TOPOLOGY_FILE
from emodis.lab.plan import Plan, make_plan
from emodis.lab.topofile import load
from emodis.lab.workers import start_workers

STDOUT = 1
SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}


def main(directory: Path, name: str, state_fd: int, owner_fd: int) -> None:
    """Isolate, become PID 1, build, say so on stdout, stay. Errors go to stdout as JSON."""
    answer = os.dup(STDOUT)
    os.set_inheritable(answer, False)
    os.dup2(2, STDOUT)
    try:
        user_namespace = isolate()
        if os.fork():
            os._exit(0)
        state_file = os.fdopen(state_fd, "w")
        os.set_inheritable(state_fd, False)
        plan = make_plan(load(directory / TOPOLOGY_FILE))
        directory, workers = _raise_lab(plan, directory, name, state_file, answer, user_namespace)
    except LabError as error:
        os.write(answer, json.dumps({"error": str(error)}).encode() + b"\n")
        return
    except BrokenPipeError:
        return
    wake = _signals_as_bytes()
    try:
        os.write(answer, b"{}\n")
        os.close(answer)
        _stay(wake, owner_fd, workers)
    except BrokenPipeError:
        pass  # whoever wanted the lab died meanwhile
    finally:
        states.discard(directory)


def _raise_lab(
    plan: Plan, directory: Path, name: str, state_file: IO[str], answer: int, user_namespace: bool
) -> tuple[Path, dict[int, str]]:
    """Everything from an empty pid namespace to a lab that is listed."""
    pid = int(os.readlink("/proc/self"))  # as seen from outside: /proc is still the outer one
    networks = build(plan)
    asmap.write(plan, directory / AS_MAP_FILE)
    try:
        kernel.make_mounts_private()
        names.install(plan, directory)
    except OSError as error:
        raise refused("to show a hosts file inside the lab", error) from error
    with contextlib.suppress(PermissionError):  # in some containers; ps then shows too much
        kernel.mount("proc", "/proc", "proc")
    workers = start_workers(plan, networks, not_for_them=(state_file.fileno(), answer))
    values = states.LabState(
        name=name,
        pid=pid,
        user_namespace=user_namespace,
        fds=networks,
        since_unix_s=time.clock_gettime(time.CLOCK_REALTIME),
    )
    return states.bear(directory, state_file, values), workers


def _signals_as_bytes() -> int:
    """Handle signals as PID 1 must (it has no default actions): each becomes a byte to read."""
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in SIGNALS:
        signal.signal(number, lambda *_: None)
    return reader


def _stay(wake: int, owner_fd: int, workers: dict[int, str]) -> None:
    """Reap orphans until it is time to end."""
    poll = select.poll()
    poll.register(wake, select.POLLIN)
    if owner_fd != NO_OWNER:
        fcntl.fcntl(owner_fd, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
        poll.register(owner_fd, select.POLLIN | select.POLLHUP)
    # Reaping comes first: who died before the handlers stood has left no byte.
    while not (lost := _reap() & workers.keys()):
        ready = {descriptor for descriptor, _ in poll.poll()}
        if owner_fd in ready or set(os.read(wake, 4096)) - {signal.SIGCHLD}:
            return
    what = workers[lost.pop()]
    print(f"the {what} died, so the lab was taken down", file=sys.stderr)  # noqa: T201


def _reap() -> set[int]:
    dead: set[int] = set()
    with contextlib.suppress(ChildProcessError):
        while pid := os.waitpid(-1, os.WNOHANG)[0]:
            dead.add(pid)
    return dead


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
