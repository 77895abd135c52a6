"""`emodis-lab bench broute`: are the ways into a host found, and are their bounds right?

Each destination is a host of a random Internet; all other hosts are agents. The truth is the lab's:
by which AS each agent's packets come into the destination's, and how fast a fluid train arrives.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from emodis.lab.deployment import Deployment
from emodis.lab.generate import random_internet
from emodis.lab.lab import Lab
from emodis.lab.topology import Topology
from emodis.lab.truth import Truth
from emodis.techniques.stats import median, wilson

RUN_TIMEOUT_S = 400.0
# Links of a branch, and how far a bound may be off.
EDGE_LINKS = 4
TOLERANCE = 0.2
FAST_BPS = 100_000_000


@attrs.frozen(kw_only=True)
class Trial:
    """One destination. `errors` has an entry for each branch whose bottleneck is at the edge."""

    name: str
    # The upstream ASes with the agents that come by each.
    true_ways: dict[int, frozenset[str]]
    found_ways: dict[int, frozenset[str]]
    errors: tuple[float, ...] = ()
    # Branches with an upper bound though no bottleneck of theirs is at the edge, or without one.
    wrong_kind: int = 0
    sent_bytes: int = 0
    note: str = ""

    @property
    def right(self) -> bool:
        return self.true_ways == self.found_ways


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


def measure(seed: int) -> Trial:
    """Build the Internet, start everything, ask once, compare."""
    topology, destination, agents = internet(seed)
    with tempfile.TemporaryDirectory(prefix="emodis-bench-") as home, Lab.up(topology) as lab:
        deployment = Deployment(lab=lab, home=Path(home), master_host=agents[0])
        try:
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
        finally:
            deployment.stop()
        truths = {agent: lab.truth(agent, destination) for agent in agents}
    name = f"{topology.name} to {destination}"
    try:
        (measurement,) = json.loads(done.stdout)["measurements"]
    except ValueError:
        note = done.stderr.strip().splitlines()[-1] if done.stderr else "no answer"
        return Trial(name=name, true_ways=ways_of(truths), found_ways={}, note=note)
    return judge(name, measurement, truths)


def judge(name: str, measurement: Mapping[str, Any], truths: Mapping[str, Truth]) -> Trial:
    """Compare what the client printed with the truth, by agent's place."""
    places = {choice["agent_id"]: choice["place"] for choice in measurement["agents"]}
    runs = measurement["runs"]
    result = (runs[0]["result"] if runs else None) or {"branches": []}
    found: dict[int, frozenset[str]] = {}
    errors: list[float] = []
    wrong = 0
    for branch in result["branches"]:
        asn = branch["upstream_asn"]
        agents = frozenset(places[agent] for agent in branch["agents"])
        found[asn] = found.get(asn, frozenset()) | agents
        verdict = _bound_error(branch, [truths[places[agent]] for agent in branch["measured_by"]])
        if isinstance(verdict, float):
            errors.append(verdict)
        elif verdict:
            wrong += 1
    return Trial(
        name=name,
        true_ways=ways_of(truths),
        found_ways=found,
        errors=tuple(errors),
        wrong_kind=wrong,
        sent_bytes=measurement["cost"]["sent_bytes"],
        note="; ".join(run["hint"] for run in runs if run["hint"]),
    )


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


def run(seed: int, count: int, say: Callable[[str], None]) -> list[Trial]:
    """Measure so many destinations; a line for each, then the shares."""
    trials = []
    for k in range(seed, seed + count):
        trial = measure(k)
        trials.append(trial)
        off = ", ".join(f"{error:.1%}" for error in trial.errors)
        say(
            f"{trial.name}: {len(trial.found_ways)} of {len(trial.true_ways)} ways in, "
            f"{'right' if trial.right else 'WRONG'}; errors of bounds {off or 'none'}"
            f"{f', {trial.wrong_kind} of the wrong kind' if trial.wrong_kind else ''}; "
            f"{trial.sent_bytes / 1e3:.0f} kB{f' [{trial.note}]' if trial.note else ''}"
        )
    say(_share("the ways in are right", [trial.right for trial in trials]))
    errors = [error for trial in trials for error in trial.errors]
    wrong = sum(trial.wrong_kind for trial in trials)
    say(_share("bounds within 20 %", [e <= TOLERANCE for e in errors] + [False] * wrong))
    if errors:
        say(f"median error of a bound: {median(errors):.1%}")
    return trials


def _share(label: str, outcomes: Sequence[bool]) -> str:
    if not outcomes:
        return f"{label}: not measured"
    low, high = wilson(sum(outcomes), len(outcomes))
    return f"{label}: {sum(outcomes)} of {len(outcomes)} (95 % interval {low:.0%} to {high:.0%})"
