"""What a benchmark leaves: a JSON file that says what was measured, with what and where."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import emodis
from emodis.lab.errors import LabError

SCHEMA = "emodis.accuracy/2"
# Trials of one file share all of this.
SAME = ("schema", "software", "commit", "machine", "seeds", "access")
GIT_TIMEOUT_S = 10.0


def origin() -> dict[str, Any]:
    """With what and where: version, commit ("" outside a checkout; "+" with changes), machine."""
    return {"software": f"emodis {emodis.__version__}", "commit": _commit(), "machine": _machine()}


def write(file: Path, content: Mapping[str, Any]) -> None:
    """Replace the file at once, so that it is whole whenever somebody looks.

    Raises:
        LabError: if that is not possible.
    """
    beside = file.with_name(f"{file.name}.new")
    try:
        beside.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        beside.replace(file)
    except OSError as error:
        raise LabError(f"cannot write {file}: {error.strerror}") from error


def read(file: Path) -> dict[str, Any]:
    """What `write` wrote.

    Raises:
        LabError: if it cannot be read, or is no JSON of a benchmark.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise LabError(f"cannot read {file}: {error.strerror}") from error
    except ValueError as error:
        raise LabError(f"{file} is no JSON: {error}") from error
    if not isinstance(content, dict) or "schema" not in content:
        raise LabError(f"{file} was not written by emodis-lab bench; give what --json FILE left")
    return dict(content)


def continuable(file: Path, now: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a run that was broken off has left, if trials of this moment may join it.

    Raises:
        LabError: if they may not, because something else was measured, or elsewhere.
    """
    if not file.exists():
        return None
    before = read(file)
    for key in SAME:
        if before.get(key) != now[key]:
            raise LabError(
                f"{file} cannot be continued: its {key} is {before.get(key)!r}, not {now[key]!r}; "
                "name another file, or leave out --resume to begin anew"
            )
    return before


def _commit() -> str:
    """Changes count only in the package: figures written into a page are none."""
    package = Path(emodis.__file__).parent
    name = _git(package, "describe", "--always", "--exclude=*")
    return name + ("+" if name and _git(package, "status", "--porcelain", ".") else "")


def _git(directory: Path, *words: str) -> str:
    git = shutil.which("git")
    if git is None:
        return ""
    said = subprocess.run(
        [git, *words],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=GIT_TIMEOUT_S,
        check=False,
    )
    return said.stdout.strip() if said.returncode == 0 else ""


def _machine() -> str:
    """Processors and kernel: what figures depend on, and nothing that names the machine."""
    count = os.cpu_count() or 0
    python = platform.python_version()
    return f"{count} x {_processor()}, {platform.system()} {platform.release()}, Python {python}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()
