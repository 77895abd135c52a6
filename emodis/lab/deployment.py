"""A whole Emodis in a lab: master, agents and clients as the real processes a user would start.

The demo, the tests and the benchmarks stand on it. It knows the other faces only by their command
lines, and whether something is ready only by what it prints.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import attrs

from emodis.lab.lab import Lab
from emodis.lab.unprivileged import wrapped

POLL_S = 0.02
READY_S = 30.0
STOP_S = 10.0


class NotReady(Exception):
    """A daemon did not say what was expected of it in time; the text ends with its log."""


def program(name: str) -> str:
    """The console script of this very installation."""
    return str(Path(sys.executable).parent / name)


@attrs.define
class Daemon:
    """One running master or agent, and its log."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def lines(self) -> list[str]:
        return self.log.read_text(errors="replace").splitlines()

    def wait_for(self, text: str, *, times: int = 1, deadline_s: float = READY_S) -> str:
        """Wait until a line that contains `text` was logged `times` times; return the last one.

        Raises:
            NotReady: when it ended or the deadline passed before.
        """
        for _ in range(int(deadline_s / POLL_S)):
            ended = self.process.poll() is not None
            found = [line for line in self.lines() if text in line]
            if len(found) >= times:
                return found[times - 1]
            if ended:
                break
            time.sleep(POLL_S)
        raise NotReady(f"{self.name} never said {text!r}:\n" + "\n".join(self.lines()[-20:]))

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def stop(self) -> int:
        """SIGTERM, and SIGKILL to one that does not obey; its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait(STOP_S)


@attrs.define
class Deployment:
    """Starts the processes of one Emodis inside a lab; they end with the lab at the latest."""

    lab: Lab
    home: Path
    master_host: str = "m1"
    # Agents run without any capability.
    unprivileged: bool = False
    # And if so, whether they may open ICMP datagram sockets all the same.
    echo: bool = True
    daemons: list[Daemon] = attrs.field(factory=list, init=False)

    @property
    def master_uri(self) -> str:
        return f"tcp://{self.lab.address(self.master_host)}"

    def start_master(self, *options: str) -> Daemon:
        """Start the master and wait until both listeners are there."""
        argv = [program("emodis-master"), "run", "--insecure"]
        argv += ["--state-dir", str(self.home / "master"), "--as-map", str(self.lab.as_map)]
        master = self._start("master", self.master_host, [*argv, *options])
        master.wait_for("listening for agents on")
        master.wait_for("listening for clients on")
        return master

    def start_agent(self, host: str, *options: str, wait: bool = True) -> Daemon:
        """Start the agent of a host and wait until the master has welcomed it."""
        argv = [program("emodis-agent"), "run", "--insecure", "--master", self.master_uri]
        argv += ["--state-dir", str(self.home / host), "--place", host]
        argv += options
        agent = self._start(
            host, host, wrapped(argv, echo=self.echo) if self.unprivileged else argv
        )
        if wait:
            agent.wait_for("online at")
        return agent

    def client_argv(self, *args: str) -> list[str]:
        """The command line of a client of this deployment."""
        argv = [program("emodis-client"), "--insecure", "--master", self.master_uri]
        return [*argv, "--as-map", str(self.lab.as_map), *args]

    def client(
        self, host: str, *args: str, timeout: float = 120.0, **more: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a client command to its end; stdout and stderr are captured as text."""
        more = {"capture_output": True, "text": True, "timeout": timeout, **more}
        return self.lab.run(host, self.client_argv(*args), **more)

    def stop(self) -> None:
        for daemon in reversed(self.daemons):
            daemon.stop()

    def _start(self, name: str, host: str, argv: list[str]) -> Daemon:
        log = self.home / f"{name}-{len(self.daemons)}.log"
        with log.open("wb") as sink:
            process = self.lab.popen(host, argv, stdout=sink, stderr=sink, stdin=subprocess.DEVNULL)
        daemon = Daemon(name, process, log)
        self.daemons.append(daemon)
        return daemon
