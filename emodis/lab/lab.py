"""A virtual Internet in the hand of a Python program: up, run things in it, know the truth, down.

    with Lab.up("demo") as lab:
        lab.run("c1", ["emodis-client", "agents"], timeout=10)

A lab made so ends with the program that made it, however that program ends: labd holds the other
end of a pipe. `detached=True` (the command `emodis-lab up`) makes one that stays until `down`.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import signal
import subprocess
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import attrs

from emodis.lab import state as states
from emodis.lab.capture import Capture, start_capture
from emodis.lab.errors import LabError as LabError
from emodis.lab.ipv6 import twin
from emodis.lab.launch import AS_MAP_FILE, TOPOLOGY_FILE, launch
from emodis.lab.plan import Plan, make_plan
from emodis.lab.process import LabProcess
from emodis.lab.topofile import find, load, parse
from emodis.lab.topology import LAB_NAME, Topology, TopologyError
from emodis.lab.truth import DEFAULT_PACKET_BYTES, Truth, path_truths

DOWN_TIMEOUT_S = 5.0
REAP_S = 0.02


@attrs.define
class Lab:
    """A lab that is up."""

    name: str
    directory: Path
    plan: Plan
    pid: int
    _pidfd: int
    # Held open for labd to see the end of; None if the lab is not ours.
    _owner: IO[bytes] | None = None
    _children: list[LabProcess] = attrs.field(factory=list, init=False)

    @classmethod
    def up(
        cls, topology: Topology | Path | str, name: str | None = None, *, detached: bool = False
    ) -> Lab:
        """Build a lab and wait until it stands.

        Args:
            topology: what to build; a text is the name of a shipped topology, or a file's path.
            name: what to call it; by default the topology's name, and unless it is detached
                something after it, so that many can stand side by side.
            detached: the lab stays until `down`, whoever dies.

        Raises:
            LabError: if the topology is broken, the name taken, or the kernel refuses; one line.
        """
        wanted = read_topology(topology)
        if name is None:
            name = wanted.name if detached else f"{wanted.name[:31]}-{secrets.token_hex(4)}"
        if not LAB_NAME.fullmatch(name):
            raise LabError(f"{name!r} cannot name a lab; use at most 40 of a-z, 0-9 and -")
        return _launch(attrs.evolve(wanted, name=name), detached=detached)

    @classmethod
    def attach(cls, name: str) -> Lab:
        """A handle on a lab that is up already; leaving it (`close`) does not take the lab down.

        Raises:
            LabError: if there is no such lab.
        """
        directory, found = states.find(name)
        text = (directory / TOPOLOGY_FILE).read_text(encoding="utf-8")
        topology = parse(text, place=str(directory / TOPOLOGY_FILE), default_name=name)
        return _handle(directory, found, make_plan(topology), None)

    @property
    def topology(self) -> Topology:
        return self.plan.topology

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names of the hosts, as the topology declares them."""
        return self.topology.hosts

    @property
    def as_map(self) -> Path:
        """An MMDB file from the lab's prefixes to its ASes, with the fields of GeoLite2-ASN."""
        return self.directory / AS_MAP_FILE

    def address(self, node: str) -> IPv4Address:
        """What others call a node by: a host's only address, a router's loopback."""
        return self.plan.nodes[self._known(node)].address

    def address6(self, node: str) -> IPv6Address:
        """The same in IPv6."""
        return twin(self.address(node))

    def truth(
        self,
        source: str,
        destination: str,
        *,
        packet_bytes: int = DEFAULT_PACKET_BYTES,
        ipv6: bool = False,
    ) -> Truth:
        """What a perfect measurement from one node to another would say; of equal paths, one."""
        return self.truths(source, destination, packet_bytes=packet_bytes, ipv6=ipv6)[0]

    def truths(
        self,
        source: str,
        destination: str,
        *,
        packet_bytes: int = DEFAULT_PACKET_BYTES,
        ipv6: bool = False,
    ) -> tuple[Truth, ...]:
        """The same for each path that routers spread flows over."""
        ends = self._known(source), self._known(destination)
        try:
            return path_truths(self.plan, *ends, packet_bytes=packet_bytes, ipv6=ipv6)
        except ValueError as error:
            raise LabError(str(error)) from error

    def popen(
        self, host: str, command: Sequence[str | Path], **options: Any
    ) -> subprocess.Popen[Any]:
        """Start a command at a node; options as for Popen. It is our child and dies with the lab.

        Raises:
            LabError: if there is no such node, no such command, or the lab is gone.
        """
        process = LabProcess(self.directory / states.STATE, self._known(host), command, **options)
        self._children = [child for child in self._children if child.poll() is None] + [process]
        return process

    def run(
        self,
        host: str,
        command: Sequence[str | Path],
        *,
        timeout: float | None = None,
        check: bool = False,
        input: str | bytes | None = None,  # noqa: A002 - as subprocess.run calls it
        capture_output: bool = False,
        **options: Any,
    ) -> subprocess.CompletedProcess[Any]:
        """Run a command at a node to its end, as subprocess.run does."""
        if capture_output:
            options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        if input is not None:
            options["stdin"] = subprocess.PIPE
        with self.popen(host, command, **options) as process:
            try:
                output, errors = process.communicate(input, timeout)
            except BaseException:
                process.kill()
                raise
        result = subprocess.CompletedProcess(process.args, process.returncode, output, errors)
        if check:
            result.check_returncode()
        return result

    def capture(self, host: str, path: Path) -> Capture:
        """Write what arrives at a host into a pcap file (ns stamps) until `stop` or `with` ends."""
        if self._known(host) not in self.hosts:
            raise LabError(f"{host} is a router; capture at a host ({', '.join(self.hosts)})")
        (interface,) = self.plan.nodes[host].interfaces
        return start_capture(self.popen, host, interface.name, path)

    def alive(self) -> bool:
        """Whether the lab stands; False for a closed handle."""
        return self._pidfd >= 0 and not select.select([self._pidfd], [], [], 0)[0]

    def down(self) -> None:
        """End the lab and everything in it; returns when all is gone. Twice is once."""
        if self._pidfd < 0:
            return
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGTERM)
        if not self._ends():
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            self._ends()
        self.close()
        states.clean()

    def _ends(self) -> bool:
        """Wait for labd's end, and reap our children in the lab.

        The kernel lets a PID 1 end only when every process of its namespace has been reaped.
        """
        for _ in range(int(DOWN_TIMEOUT_S / REAP_S)):
            if select.select([self._pidfd], [], [], REAP_S)[0]:
                return True
            for child in self._children:
                child.poll()
        return False

    def close(self) -> None:
        """Let go of the handle. A lab that is ours ends then."""
        if self._owner:
            self._owner.close()
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1

    def __enter__(self) -> Lab:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.down()

    def _known(self, node: str) -> str:
        if node not in self.plan.nodes:
            raise LabError(
                f"lab {self.name} has no node {node!r}; its hosts: {' '.join(self.hosts)}"
            )
        return node


def read_topology(topology: Topology | Path | str) -> Topology:
    """What `Lab.up` accepts, as a topology.

    Raises:
        LabError: one line that names file, table and remedy.
    """
    try:
        match topology:
            case Topology():
                return topology
            case Path():
                return load(topology)
            case _:
                return find(topology)
    except TopologyError as error:
        raise LabError(str(error)) from error


def _launch(topology: Topology, *, detached: bool) -> Lab:
    try:
        plan = make_plan(topology)
    except TopologyError as error:
        raise LabError(str(error)) from error
    directory, found, owner = launch(topology, detached=detached)
    return _handle(directory, found, plan, owner)


def _handle(directory: Path, found: states.LabState, plan: Plan, owner: IO[bytes] | None) -> Lab:
    try:
        pidfd = os.pidfd_open(found.pid)
    except ProcessLookupError as error:
        raise LabError(f"lab {found.name} ended this very moment") from error
    return Lab(
        name=found.name, directory=directory, plan=plan, pid=found.pid, pidfd=pidfd, owner=owner
    )
