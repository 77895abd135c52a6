"""A client command in the background of a test."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import attrs

from emodis.lab.deployment import Deployment


@attrs.define
class Asked:
    """A running (or finished) `emodis-client`."""

    process: subprocess.Popen[bytes]
    stdout: Path
    stderr: Path

    def exit_code(self, deadline_s: float = 120.0) -> int:
        return self.process.wait(deadline_s)

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def output(self) -> str:
        return self.stdout.read_text() + self.stderr.read_text()


def ask(emodis: Deployment, *args: str, host: str = "c1") -> Asked:
    """Start a client command at a host."""
    number = len(list(emodis.home.glob("asked-*.out")))
    stdout, stderr = (emodis.home / f"asked-{number}.{kind}" for kind in ("out", "err"))
    with stdout.open("wb") as out, stderr.open("wb") as err:
        argv = emodis.client_argv(*args)
        process = emodis.lab.popen(host, argv, stdout=out, stderr=err, stdin=subprocess.DEVNULL)
    return Asked(process, stdout, stderr)
