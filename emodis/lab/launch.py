"""Start a labd and wait until its lab stands. The caller may have threads: nothing forks here."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from pathlib import Path
from typing import IO

from emodis.lab import state as states
from emodis.lab.errors import LabError
from emodis.lab.topofile import render
from emodis.lab.topology import Topology

UP_TIMEOUT_S = 60.0
NO_OWNER = -1
TOPOLOGY_FILE = "topology.toml"
AS_MAP_FILE = "as-map.mmdb"


def launch(topology: Topology, *, detached: bool) -> tuple[Path, states.LabState, IO[bytes] | None]:
    """Build the lab of that topology, under the topology's name.

    Returns:
        The lab's directory, its state, and the pipe whose closing ends it (None if detached).

    Raises:
        LabError: if the name is taken or the kernel refuses something.
    """
    directory, state_file = states.conceive()
    named = directory.with_name(topology.name)
    if named.exists():
        state_file.close()
        states.clean()
        raise LabError(states.already_up(topology.name))
    (directory / TOPOLOGY_FILE).write_text(render(topology), encoding="utf-8")
    reader, writer = (None, None) if detached else os.pipe()
    try:
        with state_file:
            _start(directory, topology.name, state_file.fileno(), reader)
    except BaseException:
        if writer is not None:
            os.close(writer)
        states.clean()
        raise
    finally:
        if reader is not None:
            os.close(reader)
    owner = None if writer is None else os.fdopen(writer, "wb", buffering=0)
    try:
        return named, states.read(named), owner
    except FileNotFoundError as error:
        raise LabError(f"lab {topology.name} ended at once; see {named}.log") from error


def _start(directory: Path, name: str, lock: int, owner: int | None) -> None:
    """Run labd until it says that the lab stands.

    Raises:
        LabError: with its word why not, else with the last line of its log.
    """
    own = NO_OWNER if owner is None else owner
    command = [sys.executable, "-P", "-m", "emodis.lab.labd", str(directory), name]
    log = directory / states.LOG
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [*command, str(lock), str(own)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=sink,
            pass_fds=[fd for fd in (lock, owner) if fd is not None],
            start_new_session=True,
        )
    with process:
        assert process.stdout is not None
        if not select.select([process.stdout], [], [], UP_TIMEOUT_S)[0]:
            process.kill()
            raise LabError(f"the lab did not come up within {UP_TIMEOUT_S:.0f} s")
        word = process.stdout.readline()
    if not word:
        lines = log.read_text().splitlines() or ["no word"]
        raise LabError(f"the lab's process died at its start: {lines[-1]}")
    if fault := json.loads(word).get("error"):
        raise LabError(fault)
