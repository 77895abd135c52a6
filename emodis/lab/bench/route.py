"""traceroute against the truth: every router that answers at its place, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import attrs

from emodis.lab.bench.tally import Share, share
from emodis.lab.bench.trial import Run, Trial, common
from emodis.lab.topology import IcmpLimits, Topology
from emodis.lab.truth import Truth


@attrs.frozen(kw_only=True)
class RouteTrial(Trial):
    """Hops by address; a silent router's is empty. More than one at a hop are joined by commas."""

    TECHNIQUE: ClassVar[str] = "traceroute"

    true_hops: tuple[str, ...]
    said_hops: tuple[str, ...]

    @property
    def right(self) -> bool:
        """Exactly these hops, up to the destination."""
        return self.done and self.said_hops == self.true_hops

    def line(self) -> str:
        missing = sum(hop not in self.said_hops for hop in self.true_hops if hop)
        return f"{len(self.true_hops)} hops; said {len(self.said_hops)}, {missing} missing"


def compare(topology: Topology, truth: Truth, run: Run, *, kind: str, number: int) -> RouteTrial:
    """What was printed beside what is so."""
    silent = {name for name, node in topology.nodes.items() if node.icmp is IcmpLimits.SILENT}
    hops = (run.get("result") or {}).get("hops") or ()
    return RouteTrial(
        **common(topology.name, len(truth.links), run, kind, number),
        true_hops=tuple("" if hop.node in silent else str(hop.address) for hop in truth.hops),
        said_hops=tuple(_addresses(hop) for hop in hops),
    )


def _addresses(hop: dict[str, Any]) -> str:
    found = {answer.get("address") for answer in hop.get("answers", ())}
    return ",".join(sorted(address for address in found if address))


def shares(trials: Sequence[RouteTrial]) -> Iterator[Share]:
    """Whole routes."""
    yield from share("every hop right", trials, [trial.right for trial in trials], [])
