"""One path, measured once by Pathneck as a user would run it, beside what is true of it."""

from __future__ import annotations

import enum
import json
import subprocess
from typing import Any

import attrs

from emodis.lab.bench.paths import CLEAR_RATIO
from emodis.lab.deployment import program
from emodis.lab.lab import Lab
from emodis.lab.topology import IcmpLimits, Topology
from emodis.lab.truth import Truth
from emodis.lab.unprivileged import wrapped

SOURCE, DESTINATION = "h1", "h2"
RUN_TIMEOUT_S = 130.0
NS_PER_S = 1_000_000_000


class Access(enum.Enum):
    """With which rights the measuring host measures."""

    FULL = "full"
    UNPRIVILEGED = "unprivileged"


@attrs.frozen(kw_only=True)
class Trial:
    """What was true and what was said. Bandwidths are IP bits per second at the load's size."""

    name: str
    kind: str
    number: int
    links: int
    choke_ttl: int
    # The link as it can be named: hops that never answer belong to it. Nothing can be named where
    # nothing behind the choke answers: then `true_ttl` is 0.
    true_from_ttl: int
    true_ttl: int
    # The tight link is the choke as well, and much tighter than the next.
    clear: bool
    cross_ratio: float
    # 0: no bottleneck was named; -1: there was no result at all.
    named_ttl: int
    # Hops joined by silence: the named link begins at this TTL.
    named_from_ttl: int
    bound_bps: int
    capacity_bps: int
    duration_s: float
    sent_packets: int
    sent_bytes: int
    word: str
    note: str
    # "raw" or "unprivileged", as the result says; empty where there is none.
    transport: str = ""

    @property
    def right(self) -> bool:
        """Exactly the right link was named."""
        return (self.named_from_ttl, self.named_ttl) == (self.true_from_ttl, self.true_ttl)

    @property
    def false(self) -> bool:
        """A link behind the first was named on a flat path."""
        return self.named_ttl > 1

    @property
    def bound_error_ratio(self) -> float | None:
        """Of the capacity, where the right link was named on an idle path."""
        if not self.right or self.cross_ratio or not self.capacity_bps:
            return None
        return abs(self.bound_bps - self.capacity_bps) / self.capacity_bps

    def as_json(self) -> dict[str, Any]:
        return {**attrs.asdict(self), "right": self.right}


def measure(topology: Topology, kind: str, number: int, *, access: Access = Access.FULL) -> Trial:
    """Build the lab, measure once, compare.

    Without capabilities load packets cannot be muted, so a destination that rations its answers
    leaves the last link unmeasured. That is known; what is judged then are paths whose last hop
    answers freely.
    """
    if access is Access.UNPRIVILEGED:
        topology = with_free_destination(topology)
    with Lab.up(topology) as lab:
        truth = lab.truth(SOURCE, DESTINATION)
        argv = [program("emodis-client"), "measure", "--tech", "pathneck"]
        argv += [DESTINATION, "--format", "json"]
        try:
            done = lab.run(
                SOURCE,
                wrapped(argv) if access is Access.UNPRIVILEGED else argv,
                capture_output=True,
                text=True,
                timeout=RUN_TIMEOUT_S,
            )
            run = only_run(done.stdout, done.stderr)
        except subprocess.TimeoutExpired:
            run = {"reason": f"no answer within {RUN_TIMEOUT_S:.0f} s"}
    return compare(topology, truth, run, kind=kind, number=number)


def with_free_destination(topology: Topology) -> Topology:
    """The same path, to a host that answers every packet."""
    host = attrs.evolve(topology.nodes[DESTINATION], icmp=IcmpLimits.FREE)
    return attrs.evolve(topology, nodes={**topology.nodes, DESTINATION: host})


def only_run(stdout: str, stderr: str) -> dict[str, Any]:
    """The run that was printed as JSON; one with nothing but a reason where none was."""
    try:
        run: dict[str, Any] = json.loads(stdout)["measurements"][0]["runs"][0]
    except (ValueError, KeyError, IndexError):
        return {"reason": stderr.strip().splitlines()[-1] if stderr.strip() else "no answer"}
    return run


def compare(
    topology: Topology, truth: Truth, run: dict[str, Any], *, kind: str, number: int
) -> Trial:
    """What was printed beside what is so."""
    result = run.get("result") or {}
    bottleneck = result.get("bottleneck") or {}
    cost = run.get("cost") or {}
    choke = truth.choke
    start, end = as_seen(topology, truth)
    return Trial(
        name=topology.name,
        kind=kind,
        number=number,
        links=len(truth.links),
        choke_ttl=choke.ttl,
        true_from_ttl=start,
        true_ttl=end,
        clear=is_clear(truth),
        cross_ratio=choke.cross_ethernet_bps / choke.capacity_ethernet_bps,
        named_ttl=bottleneck.get("ttl", 0) if result else -1,
        named_from_ttl=bottleneck.get("from_ttl", 0),
        bound_bps=int(bottleneck.get("bound_bps", 0)),
        capacity_bps=round(choke.capacity_ip_bps),
        duration_s=run.get("duration_ns", 0) / NS_PER_S,
        sent_packets=int(cost.get("sent_packets", 0)),
        sent_bytes=int(cost.get("sent_bytes", 0)),
        word=(run.get("quality") or {}).get("word", ""),
        note="; ".join([run.get("reason", ""), *(run.get("quality") or {}).get("reasons", [])]),
        transport=run.get("transport", ""),
    )


def is_clear(truth: Truth) -> bool:
    """One link has much less room than all others, and it is the one that stretches trains."""
    tight = truth.tight
    others = [link.avail_ethernet_bps for link in truth.links if link is not tight]
    return tight is truth.choke and min(others) >= CLEAR_RATIO * tight.avail_ethernet_bps


def as_seen(topology: Topology, truth: Truth) -> tuple[int, int]:
    """TTLs of the hops between which the choke lies for one who hears only those that answer."""
    heard = [
        hop.ttl for hop in truth.hops if topology.nodes[hop.node].icmp is not IcmpLimits.SILENT
    ]
    choke = truth.choke.ttl
    before = [ttl for ttl in heard if ttl < choke]
    behind = [ttl for ttl in heard if ttl >= choke]
    return (before[-1] if before else 0, behind[0]) if behind else (0, 0)
