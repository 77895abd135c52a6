"""ping's round-trip time against the delays of the links there and back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import attrs

from emodis.lab.bench.tally import Share, share
from emodis.lab.bench.trial import Run, Trial, common
from emodis.lab.topology import Topology
from emodis.lab.truth import Truth

NS_PER_MS = 1_000_000
# Routers take their time as well, and the truth counts none of it.
TOLERANCE_NS = NS_PER_MS


@attrs.frozen(kw_only=True)
class PingTrial(Trial):
    """Times in ns; the truth is what the links are declared to take, and nothing else."""

    TECHNIQUE: ClassVar[str] = "ping"

    true_rtt_ns: int
    true_loss_ratio: float
    # 0 where nothing was answered.
    rtt_min_ns: int
    rtt_median_ns: int
    sent: int
    answered: int

    @property
    def error_ns(self) -> int | None:
        return self.rtt_median_ns - self.true_rtt_ns if self.answered else None

    @property
    def right(self) -> bool:
        return self.error_ns is not None and abs(self.error_ns) <= TOLERANCE_NS

    def line(self) -> str:
        return (
            f"{self.true_rtt_ns / NS_PER_MS:.3f} ms there and back; said "
            f"{self.rtt_median_ns / NS_PER_MS:.3f} (least {self.rtt_min_ns / NS_PER_MS:.3f}), "
            f"{self.answered} of {self.sent} answered"
        )


def compare(topology: Topology, truth: Truth, run: Run, *, kind: str, number: int) -> PingTrial:
    """What was printed beside what is so."""
    result = run.get("result") or {}
    return PingTrial(
        **common(topology.name, len(truth.links), run, kind, number),
        true_rtt_ns=truth.rtt_ns,
        true_loss_ratio=truth.round_trip_loss_ratio,
        rtt_min_ns=result.get("rtt_min_ns") or 0,
        rtt_median_ns=result.get("rtt_median_ns") or 0,
        sent=result.get("sent", 0),
        answered=result.get("answered", 0),
    )


def shares(trials: Sequence[PingTrial]) -> Iterator[Share]:
    """The median RTT, and how far it is off."""
    errors = [trial.error_ns for trial in trials]
    hits = [trial.right for trial in trials]
    yield from share("median RTT within 1 ms", trials, hits, errors, error_unit="ns")
