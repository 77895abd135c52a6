"""Measure one path: one lab for all techniques that it is meant for, one after the other."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import attrs

from emodis.lab.bench import broute
from emodis.lab.bench.paths import Seeds, path
from emodis.lab.bench.subjects import SUBJECTS
from emodis.lab.bench.trial import DESTINATION, SOURCE, Access, Run, Trial, only_run
from emodis.lab.deployment import Deployment, NotReady, program
from emodis.lab.lab import Lab
from emodis.lab.topology import IcmpLimits, Topology
from emodis.lab.truth import Truth
from emodis.lab.unprivileged import wrapped

RUN_TIMEOUT_S = 130.0
# Internets have no name for their set; so far apart they never meet.
REPORTED_FROM = 1_000_000


@attrs.frozen(kw_only=True)
class Task:
    """A path by kind, set and number, and what is to be measured on it."""

    kind: str
    seeds: Seeds
    number: int
    techniques: Sequence[str]
    access: Access = Access.FULL

    @property
    def alone(self) -> bool:
        """Something here needs the processors for itself: paced trains, or many daemons."""
        paired = any(SUBJECTS[technique].paired for technique in self.techniques)
        return paired or self.kind == broute.KIND


def measure(task: Task) -> list[Trial]:
    """Build the path, ask each technique once, compare."""
    unprivileged = task.access is Access.UNPRIVILEGED
    if task.kind == broute.KIND:
        seed = task.number + (REPORTED_FROM if task.seeds is Seeds.REPORTED else 0)
        return [broute.measure(seed, task.number, unprivileged=unprivileged)]
    topology = path(task.kind, task.seeds, task.number)
    if unprivileged:
        topology = with_free_destination(topology)
    with Lab.up(topology) as lab:
        truth = lab.truth(SOURCE, DESTINATION)
        return [
            _compared(technique, run, topology, truth, task)
            for technique, run in _runs(lab, task.techniques, task.access)
        ]


def with_free_destination(topology: Topology) -> Topology:
    """The same path, to a host that answers every packet.

    Without capabilities load packets cannot be muted, so a destination that rations its answers
    leaves the last link unmeasured. That is known; what is judged then are paths whose last hop
    answers freely.
    """
    host = attrs.evolve(topology.nodes[DESTINATION], icmp=IcmpLimits.FREE)
    return attrs.evolve(topology, nodes={**topology.nodes, DESTINATION: host})


def _compared(technique: str, run: Run, topology: Topology, truth: Truth, task: Task) -> Trial:
    compare = SUBJECTS[technique].compare
    assert compare is not None
    return compare(topology, truth, run, kind=task.kind, number=task.number)


def _runs(lab: Lab, techniques: Sequence[str], access: Access) -> Iterator[tuple[str, Run]]:
    """The techniques of one host first, so that no daemon runs beside them."""
    for technique in techniques:
        if not SUBJECTS[technique].paired:
            yield technique, _alone(lab, SUBJECTS[technique].words, access)
    if paired := [technique for technique in techniques if SUBJECTS[technique].paired]:
        with _deployed(lab, access) as deployment:
            for technique in paired:
                yield technique, _asked(deployment, SUBJECTS[technique].words)


def _alone(lab: Lab, words: Sequence[str], access: Access) -> Run:
    argv = [program("emodis-client"), "measure", "--tech", *words, DESTINATION, "--format", "json"]
    if access is Access.UNPRIVILEGED:
        argv = wrapped(argv)
    try:
        done = lab.run(SOURCE, argv, capture_output=True, text=True, timeout=RUN_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return {"reason": f"no answer within {RUN_TIMEOUT_S:.0f} s"}
    return only_run(done.stdout, done.stderr)


@contextmanager
def _deployed(lab: Lab, access: Access) -> Iterator[Deployment | str]:
    """An agent at the source, the master beside the client; or why they did not start."""
    unprivileged = access is Access.UNPRIVILEGED
    with tempfile.TemporaryDirectory(prefix="emodis-bench-") as home:
        deployment = Deployment(
            lab=lab, home=Path(home), master_host=DESTINATION, unprivileged=unprivileged
        )
        try:
            yield _started(deployment)
        finally:
            deployment.stop()


def _started(deployment: Deployment) -> Deployment | str:
    try:
        deployment.start_master()
        deployment.start_agent(SOURCE, "--allow", "igi")
    except NotReady as error:
        return str(error).splitlines()[0]
    return deployment


def _asked(deployment: Deployment | str, words: Sequence[str]) -> Run:
    if isinstance(deployment, str):
        return {"reason": deployment}
    request = ["request", "--tech", *words, "--agents", "ALL", "--format", "json"]
    try:
        done = deployment.client(DESTINATION, *request, timeout=RUN_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return {"reason": f"no answer within {RUN_TIMEOUT_S:.0f} s"}
    return only_run(done.stdout, done.stderr)
