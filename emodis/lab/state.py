"""Which labs are up: one directory each, whose state file is locked as long as its labd lives.

The kernel drops the lock when the last holder dies, however it dies, so a directory whose lock can
be had belongs to nobody and is removed. Process ids are never trusted for this: a dead labd may
stay a zombie, and its number may be given away. A lab is born under a temporary name and appears
under its own by rename: complete, and only once.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import attrs

from emodis.lab.errors import LabError

STATE = "state.json"
BORN = ".born-"
LOG = "log"


class StateError(LabError):
    """The directory of labs cannot be used, or has no such lab; one line for the user."""


@attrs.frozen(kw_only=True)
class LabState:
    """What every process needs to find a lab and to enter it."""

    name: str
    pid: int
    user_namespace: bool
    fds: Mapping[str, int]
    since_unix_s: float


def home() -> Path:
    """Where labs keep their state: $EMODIS_LAB_DIR, else the user's runtime directory."""
    if chosen := os.environ.get("EMODIS_LAB_DIR"):
        return Path(chosen)
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(runtime) / "emodis-lab"
    return Path(tempfile.gettempdir()) / f"emodis-lab-{os.getuid()}"


def prepare() -> Path:
    """Make the directory of labs, for this user alone.

    Raises:
        StateError: if it cannot be made or belongs to somebody else.
    """
    place = home()
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = place.stat().st_uid
    except OSError as error:
        raise StateError(f"{place}: {error.strerror}; set EMODIS_LAB_DIR elsewhere") from error
    if owner != os.getuid():
        raise StateError(f"{place} belongs to another user; set EMODIS_LAB_DIR elsewhere")
    return place


@contextlib.contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Nobody else creates or removes directories meanwhile; held for milliseconds."""
    with (place / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _orphaned(directory: Path) -> bool:
    try:
        with (directory / STATE).open() as state:
            fcntl.flock(state, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except FileNotFoundError:
        return True
    return True


def clean() -> None:
    """Remove what dead labs left."""
    place = prepare()
    with _alone(place):
        for directory in [entry for entry in place.iterdir() if entry.is_dir()]:
            if _orphaned(directory):
                discard(directory)


def discard(directory: Path) -> None:
    """Remove a lab's directory; a log that says something is kept as NAME.log.

    Called by those who hold the lock, or know that nobody does.
    """
    log = directory / LOG
    if not directory.name.startswith(".") and log.exists() and log.stat().st_size:
        log.replace(directory.with_name(f"{directory.name}.log"))
    shutil.rmtree(directory, ignore_errors=True)


def conceive() -> tuple[Path, IO[str]]:
    """Make a directory under a temporary name; returns it and its open, locked state file.

    The lock belongs to the open file: whoever inherits it keeps the directory from being removed.
    """
    clean()
    place = prepare()
    with _alone(place):
        directory = Path(tempfile.mkdtemp(prefix=BORN, dir=place))
        state = (directory / STATE).open("w")
        fcntl.flock(state, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return directory, state


def bear(directory: Path, state: IO[str], values: LabState) -> Path:
    """Write the state and give the directory its name: from now on the lab is listed.

    Raises:
        StateError: if a lab of that name is up.
    """
    json.dump(attrs.asdict(values), state)
    state.flush()
    named = directory.with_name(values.name)
    try:
        return directory.rename(named)
    except OSError as error:
        raise StateError(already_up(values.name)) from error


def already_up(name: str) -> str:
    return f"a lab {name!r} is up already; `emodis-lab down {name}`, or give this one a --name"


def find(name: str) -> tuple[Path, LabState]:
    """The directory and state of a lab that is up.

    Raises:
        StateError: if there is none of that name.
    """
    for directory, state in living():
        if state.name == name:
            return directory, state
    raise StateError(f"no lab {name!r} is up; `emodis-lab list` shows those that are")


def living() -> list[tuple[Path, LabState]]:
    """All labs that are up, by name."""
    clean()
    found = []
    for directory in sorted(prepare().iterdir()):
        if directory.is_dir() and not directory.name.startswith("."):
            with contextlib.suppress(FileNotFoundError):
                found.append((directory, read(directory)))
    return found


def read(directory: Path) -> LabState:
    values: dict[str, Any] = json.loads((directory / STATE).read_text())
    return LabState(**values)
