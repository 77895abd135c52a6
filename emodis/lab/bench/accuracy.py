"""`emodis-lab bench accuracy`: does Pathneck name the right link, on seeded random paths?

Each path is a lab of its own; `emodis-client measure` runs in it as a user would run it, and the
link it names is compared with the fluid train's choke. On a flat path every link is alike, and only
the first one stretches a train: whatever else is named is a false bottleneck.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import attrs

from emodis.lab.deployment import program
from emodis.lab.generate import random_path
from emodis.lab.lab import Lab
from emodis.lab.topology import Topology
from emodis.techniques.stats import wilson

SOURCE, DESTINATION = "h1", "h2"
RUN_TIMEOUT_S = 130.0
NS_PER_S = 1_000_000_000


@attrs.frozen(kw_only=True)
class Trial:
    """One path, measured once. Bandwidths are IP bits per second at the load's packet size."""

    name: str
    links: int
    choke_ttl: int
    cross_ratio: float
    # 0: no bottleneck was named; -1: there was no result at all.
    named_ttl: int
    # Hops joined by silence: the named link begins at this TTL.
    named_from_ttl: int
    bound_bps: int
    capacity_bps: int
    duration_s: float
    sent_bytes: int
    word: str
    note: str

    @property
    def right(self) -> bool:
        return (self.named_from_ttl, self.named_ttl) == (self.choke_ttl - 1, self.choke_ttl)

    @property
    def false(self) -> bool:
        """A link behind the first was named on a flat path."""
        return self.named_ttl > 1


def paths(seed: int, count: int) -> Iterator[Topology]:
    """Paths with one bottleneck: a fifth on the first link, a fifth on the last; half loaded."""
    for k in range(seed, seed + count):
        links = random_path(k).links
        place = {0: 1, 1: len(links)}.get(k % 5)
        yield random_path(k, links=len(links), bottleneck=place)


def flat_paths(seed: int, count: int) -> Iterator[Topology]:
    """Paths whose links are all alike and idle."""
    return (random_path(k, flat=True) for k in range(seed, seed + count))


def measure(topology: Topology) -> Trial:
    """Build the lab, measure once, compare."""
    with Lab.up(topology) as lab:
        truth = lab.truth(SOURCE, DESTINATION)
        argv = [program("emodis-client"), "--insecure", "measure", "--tech", "pathneck"]
        done = lab.run(
            SOURCE,
            [*argv, DESTINATION, "--format", "json"],
            capture_output=True,
            text=True,
            timeout=RUN_TIMEOUT_S,
        )
    run = _only_run(done)
    result = run.get("result") or {}
    bottleneck = result.get("bottleneck") or {}
    return Trial(
        name=topology.name,
        links=len(truth.links),
        choke_ttl=truth.choke.ttl,
        cross_ratio=truth.choke.cross_ethernet_bps / truth.choke.capacity_ethernet_bps,
        named_ttl=bottleneck.get("ttl", 0) if result else -1,
        named_from_ttl=bottleneck.get("from_ttl", 0),
        bound_bps=int(bottleneck.get("bound_bps", 0)),
        capacity_bps=round(truth.choke.capacity_ip_bps),
        duration_s=run.get("duration_ns", 0) / NS_PER_S,
        sent_bytes=int((run.get("cost") or {}).get("sent_bytes", 0)),
        word=(run.get("quality") or {}).get("word", ""),
        note="; ".join([run.get("reason", ""), *(run.get("quality") or {}).get("reasons", [])]),
    )


def _only_run(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    try:
        measurements = json.loads(done.stdout)["measurements"]
        run: dict[str, Any] = measurements[0]["runs"][0]
    except (ValueError, KeyError, IndexError):
        return {"reason": done.stderr.strip().splitlines()[-1] if done.stderr else "no answer"}
    return run


def run(
    seed: int, count: int, flat: int, say: Callable[[str], None]
) -> tuple[list[Trial], list[Trial]]:
    """Measure `count` paths with a bottleneck and `flat` ones without; a line for each."""
    found = list(_told(paths(seed, count), say))
    plain = list(_told(flat_paths(seed, flat), say))
    say(_share("the right link was named", [t.right for t in found]))
    for label, group in (("idle", _idle(found)), ("loaded", _loaded(found))):
        say(_share(f"  {label}", [trial.right for trial in group]))
    say(_share("a false bottleneck was named on a flat path", [t.false for t in plain]))
    return found, plain


def _told(topologies: Iterable[Topology], say: Callable[[str], None]) -> Iterator[Trial]:
    for topology in topologies:
        trial = measure(topology)
        say(
            f"{trial.name}: {trial.links} links, choke {trial.choke_ttl} of "
            f"{trial.capacity_bps / 1e6:.1f} Mbit/s at {trial.cross_ratio:.0%} load; "
            f"named {trial.named_ttl} (at most {trial.bound_bps / 1e6:.1f} Mbit/s) in "
            f"{trial.duration_s:.1f} s, {trial.sent_bytes / 1e3:.0f} kB, {trial.word}"
            + (f" [{trial.note.strip('; ')}]" if trial.note.strip("; ") else "")
        )
        yield trial


def _idle(trials: Sequence[Trial]) -> list[Trial]:
    return [trial for trial in trials if not trial.cross_ratio]


def _loaded(trials: Sequence[Trial]) -> list[Trial]:
    return [trial for trial in trials if trial.cross_ratio]


def _share(label: str, outcomes: Sequence[bool]) -> str:
    if not outcomes:
        return f"{label}: not measured"
    low, high = wilson(sum(outcomes), len(outcomes))
    return f"{label}: {sum(outcomes)} of {len(outcomes)} (95 % interval {low:.0%} to {high:.0%})"
