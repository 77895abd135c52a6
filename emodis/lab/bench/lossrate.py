"""The loss rate against the truth: does its interval hold it, and is the right link named?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import attrs

from emodis.lab.bench.tally import Share, share
from emodis.lab.bench.trial import Run, Trial, common
from emodis.lab.topology import Topology
from emodis.lab.truth import Truth


@attrs.frozen(kw_only=True)
class LossTrial(Trial):
    """Shares of packets that are lost there and back, 0..1."""

    TECHNIQUE: ClassVar[str] = "loss"

    true_ratio: float
    # The link that loses leads to this hop; 0: none does.
    lossy_ttl: int
    said_ratio: float
    low_ratio: float
    high_ratio: float
    # The stretch it is said to begin on, by TTL; 0 and 0: none was named.
    named_from_ttl: int
    named_to_ttl: int

    @property
    def right(self) -> bool:
        """The interval holds the truth."""
        return self.done and self.low_ratio <= self.true_ratio <= self.high_ratio

    @property
    def placed(self) -> bool:
        """A stretch was named; the whole path is none."""
        return self.named_to_ttl > 0 and self.named_to_ttl - self.named_from_ttl < self.links

    @property
    def well_placed(self) -> bool:
        """The stretch that was named holds the link that loses."""
        return self.placed and self.named_from_ttl < self.lossy_ttl <= self.named_to_ttl

    def line(self) -> str:
        named = f"{self.named_from_ttl} to {self.named_to_ttl}" if self.placed else "nowhere"
        return (
            f"loses {self.true_ratio:.2%} at hop {self.lossy_ttl}; said {self.said_ratio:.2%} "
            f"({self.low_ratio:.2%} to {self.high_ratio:.2%}), {named}"
        )


def compare(topology: Topology, truth: Truth, run: Run, *, kind: str, number: int) -> LossTrial:
    """What was printed beside what is so."""
    result = run.get("result") or {}
    begins = result.get("begins") or {}
    lossy = [link.ttl for link in truth.links if link.impairment.loss_ratio]
    # The destination, where its number of hops is not known, is written as hop 0.
    end_ttl = (begins["to_ttl"] or len(truth.hops)) if begins else 0
    return LossTrial(
        **common(topology.name, len(truth.links), run, kind, number),
        true_ratio=truth.round_trip_loss_ratio,
        lossy_ttl=lossy[0] if lossy else 0,
        said_ratio=result.get("loss_ratio", 0.0),
        low_ratio=result.get("loss_low_ratio", 0.0),
        high_ratio=result.get("loss_high_ratio", 0.0),
        named_from_ttl=begins.get("from_ttl", 0),
        named_to_ttl=end_ttl,
    )


def shares(trials: Sequence[LossTrial]) -> Iterator[Share]:
    """Coverage with the error in percentage points, then where the loss was placed."""
    lossy = [trial for trial in trials if trial.lossy_ttl]
    idle = [trial for trial in trials if not trial.lossy_ttl]
    placed = [trial for trial in lossy if trial.placed]
    for label, group in (
        ("the interval holds the loss", lossy),
        ("the interval holds none", idle),
    ):
        errors = [t.said_ratio - t.true_ratio if t.done else None for t in group]
        hits = [trial.right for trial in group]
        yield from share(label, group, hits, errors, error_unit="points")
    hits = [trial.well_placed for trial in placed]
    yield from share("  the place holds it, where one is named", placed, hits, [])
