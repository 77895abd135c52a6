"""BRoute against the truth: are the ways into a host found, and are their bounds right?

Each destination is a host of a random Internet; all other hosts are agents. The truth is the lab's:
by which AS each agent's packets come into the destination's, and how fast a fluid train arrives.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import attrs

from emodis.lab.bench.tally import Share, share
from emodis.lab.bench.trial import Trial, common
from emodis.lab.deployment import Deployment, NotReady
from emodis.lab.generate import random_internet
from emodis.lab.lab import Lab
from emodis.lab.topology import Topology
from emodis.lab.truth import Truth

RUN_TIMEOUT_S = 400.0
# Links of a branch, and how far a bound may be off.
EDGE_LINKS = 4
KIND = "internet"
TOLERANCE = 0.2
FAST_BPS = 100_000_000


@attrs.frozen(kw_only=True)
class BrouteTrial(Trial):
    """One destination. `errors` has an entry for each branch whose bottleneck is at the edge."""

    TECHNIQUE: ClassVar[str] = "broute"

    # Each upstream AS with the agents that come by it, as `written`.
    true_ways: tuple[str, ...]
    found_ways: tuple[str, ...]
    errors: tuple[float, ...]
    # Branches with an upper bound though no bottleneck of theirs is at the edge, or without one.
    wrong_kind: int

    @property
    def right(self) -> bool:
        return self.true_ways == self.found_ways

    def line(self) -> str:
        off = ", ".join(f"{error:.1%}" for error in self.errors)
        return (
            f"{len(self.found_ways)} of {len(self.true_ways)} ways in; errors of bounds "
            f"{off or 'none'}{f', {self.wrong_kind} of the wrong kind' if self.wrong_kind else ''}"
        )


def internet(seed: int) -> tuple[Topology, str, list[str]]:
    """A random Internet, the destination in it, and where agents stand.

    Of even seeds the agents have fast access, so that what limits them is not before their eyes.
    """
    topology = random_internet(seed)
    hosts = [name for name in topology.nodes if name.startswith("h")]
    destination = hosts[seed % len(hosts)]
    agents = [host for host in hosts if host != destination]
    if seed % 2 == 0:
        links = tuple(
            attrs.evolve(link, capacity_up_bps=FAST_BPS, capacity_down_bps=FAST_BPS)
            if link.a in agents
            else link
            for link in topology.links
        )
        topology = attrs.evolve(topology, links=links)
    return topology, destination, agents


def measure(seed: int, number: int, *, unprivileged: bool = False) -> BrouteTrial:
    """Build the Internet of that seed, start everything, ask once, compare."""
    topology, destination, agents = internet(seed)
    with tempfile.TemporaryDirectory(prefix="emodis-bench-") as home, Lab.up(topology) as lab:
        deployment = Deployment(
            lab=lab, home=Path(home), master_host=agents[0], unprivileged=unprivileged
        )
        try:
            measurement = _asked(deployment, agents, destination)
        except (NotReady, subprocess.TimeoutExpired) as error:
            measurement = {"runs": [{"reason": str(error).splitlines()[0]}]}
        finally:
            deployment.stop()
        truths = {agent: lab.truth(agent, destination) for agent in agents}
    return judge(f"{topology.name} to {destination}", measurement, truths, number)


def _asked(deployment: Deployment, agents: Sequence[str], destination: str) -> Mapping[str, Any]:
    """The measurement as the client printed it; one with nothing but a reason where none was."""
    deployment.start_master()
    for agent in agents:
        deployment.start_agent(agent, wait=False)
    for daemon in deployment.daemons[1:]:
        daemon.wait_for("online at")
    done = deployment.client(
        destination,
        *("request", "--tech", "broute", "--agents", "ALL", "--format", "json"),
        timeout=RUN_TIMEOUT_S,
    )
    try:
        (measurement,) = json.loads(done.stdout)["measurements"]
    except ValueError:
        reason = done.stderr.strip().splitlines()[-1] if done.stderr else "no answer"
        return {"runs": [{"reason": reason}]}
    return dict(measurement)


def judge(
    name: str, measurement: Mapping[str, Any], truths: Mapping[str, Truth], number: int = 0
) -> BrouteTrial:
    """Compare what the client printed with the truth, by agent's place."""
    places = {choice["agent_id"]: choice["place"] for choice in measurement.get("agents", ())}
    run = (measurement["runs"] or [{}])[0]
    found: dict[int, frozenset[str]] = {}
    errors: list[float] = []
    wrong = 0
    for branch in (run.get("result") or {}).get("branches", ()):
        asn = branch["upstream_asn"]
        agents = frozenset(places[agent] for agent in branch["agents"])
        found[asn] = found.get(asn, frozenset()) | agents
        verdict = _bound_error(branch, [truths[places[agent]] for agent in branch["measured_by"]])
        if isinstance(verdict, float):
            errors.append(verdict)
        elif verdict:
            wrong += 1
    whole = {**run, "cost": measurement.get("cost")}
    links = max(len(truth.links) for truth in truths.values())
    return BrouteTrial(
        **common(name, links, whole, KIND, number),
        true_ways=written(ways_of(truths)),
        found_ways=written(found),
        errors=tuple(errors),
        wrong_kind=wrong,
    )


def written(ways: Mapping[int, frozenset[str]]) -> tuple[str, ...]:
    """One text for each upstream AS, in order."""
    return tuple(f"{asn}: {' '.join(sorted(ways[asn]))}" for asn in sorted(ways))


def ways_of(truths: Mapping[str, Truth]) -> dict[int, frozenset[str]]:
    """By which AS each agent's packets come into the destination's AS."""
    ways: dict[int, frozenset[str]] = {}
    for agent, truth in truths.items():
        home = truth.hops[-1].asn
        upstream = next((hop.asn for hop in reversed(truth.hops) if hop.asn != home), 0)
        ways[upstream] = ways.get(upstream, frozenset()) | {agent}
    return ways


def _bound_error(branch: Mapping[str, Any], truths: Sequence[Truth]) -> float | bool:
    """The relative error of its upper bound; True if there is one without reason, or none."""
    at_edge = [
        truth.choke.avail_ip_bps
        for truth in truths
        if truth.choke.ttl > max(1, len(truth.hops) - EDGE_LINKS)
    ]
    upper_bps = branch["upper_bps"]
    if at_edge and upper_bps is not None:
        return abs(float(upper_bps) / min(at_edge) - 1)
    return bool(at_edge) != (upper_bps is not None)


def shares(trials: Sequence[BrouteTrial]) -> Iterator[Share]:
    """Whole destinations, then their branches whose bottleneck is at the edge."""
    hits = [trial.right for trial in trials]
    yield from share("all ways in are right", trials, hits, [])
    errors = [error for trial in trials for error in trial.errors]
    missing = sum(trial.wrong_kind for trial in trials)
    near = [error <= TOLERANCE for error in errors] + [False] * missing
    yield from share("bounds of branches within 20 %", trials, near, errors)
