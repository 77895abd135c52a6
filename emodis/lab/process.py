"""Processes inside a lab that are ordinary children outside: what `Lab.popen` returns."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from emodis.lab import enter
from emodis.lab.errors import LabError


class LabProcess(subprocess.Popen[Any]):
    """A Popen of a command inside a lab. `pid` is the command's own: signals reach it directly."""

    def __init__(self, state: Path, host: str, command: Sequence[str | Path], **options: Any):
        words = [os.fspath(word) for word in command]
        read_end, write_end = os.pipe()
        launcher = [sys.executable, "-IS", enter.__file__, str(state), host, str(write_end)]
        options["pass_fds"] = (*options.get("pass_fds", ()), write_end)
        options["env"] = with_scripts(options.get("env"))
        try:
            super().__init__([*launcher, *words], **options)
        except BaseException:
            os.close(read_end)
            raise
        finally:
            os.close(write_end)
        with os.fdopen(read_end) as report:
            first, _, fault = report.read().partition("\n")
        os.waitpid(self.pid, 0)  # the launcher, which is done
        if first.isdecimal():
            self.args, self.pid = words, int(first)
        if not first.isdecimal() or fault:
            self._bury(reap=first.isdecimal())
            raise LabError(f"{words[0]} could not be run at {host}: {fault or first or 'no word'}")

    def _bury(self, *, reap: bool) -> None:
        if reap:
            self.wait()
        else:
            self.returncode = 127
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream:
                stream.close()


def with_scripts(env: dict[str, str] | None) -> dict[str, str]:
    """An environment whose PATH finds the console scripts of this installation first."""
    env = dict(os.environ if env is None else env)
    scripts = str(Path(sys.executable).parent)
    env["PATH"] = f"{scripts}{os.pathsep}{env.get('PATH', os.defpath)}"
    return env
