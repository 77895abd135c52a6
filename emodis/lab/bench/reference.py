"""Small C programs to hold ours against: compiled on the spot, where there is a compiler."""

from __future__ import annotations

import shutil
import subprocess
from importlib import resources
from pathlib import Path

from emodis.lab.errors import LabError

COMPILERS = ("cc", "gcc", "clang")
COMPILE_TIMEOUT_S = 60.0
NAME = "C reference"


def compiler() -> str | None:
    """The C compiler of this machine, if there is one."""
    return next(filter(None, map(shutil.which, COMPILERS)), None)


def compiled(name: str, directory: Path) -> Path | None:
    """The program of that name, built into the directory; None without a compiler.

    Raises:
        LabError: if it does not compile here.
    """
    found = compiler()
    if found is None:
        return None
    program = directory / name
    source = resources.files("emodis.lab.bench") / "reference" / f"{name}.c"
    with resources.as_file(source) as file:
        done = subprocess.run(
            [found, "-O2", "-o", program, file],
            capture_output=True,
            text=True,
            timeout=COMPILE_TIMEOUT_S,
            check=False,
        )
    if done.returncode:
        first = (done.stderr.strip().splitlines() or ["no word"])[0]
        raise LabError(f"{found} does not compile the reference {name}.c: {first}")
    return program
