"""Available bandwidth by IGI/PTR against the truth at the size of its probes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import attrs

from emodis.lab.bench.tally import Share, share
from emodis.lab.bench.trial import Run, Trial, common
from emodis.lab.plan import make_plan
from emodis.lab.topology import Topology
from emodis.lab.truth import Truth, path_truth

MBPS = 1_000_000
# What counts as right; the error itself says more.
TOLERANCE = 0.2
# Loads and rates that the targets are about.
MOST_CROSS_RATIO, SLOW_BPS = 0.7, 40 * MBPS


@attrs.frozen(kw_only=True)
class BandwidthTrial(Trial):
    """Rates in IP bits per second at the size of the last probes."""

    TECHNIQUE: ClassVar[str] = "igi"

    capacity_bps: int
    avail_bps: int
    # Of the tight link.
    cross_ratio: float
    # The tight link is the narrow one as well.
    clear: bool
    # 0 without a result.
    said_bps: int
    low_bps: int
    high_bps: int
    converged: bool

    @property
    def error_ratio(self) -> float | None:
        return self.said_bps / self.avail_bps - 1 if self.done else None

    @property
    def right(self) -> bool:
        return self.done and abs(self.said_bps / self.avail_bps - 1) <= TOLERANCE

    def line(self) -> str:
        return (
            f"{self.avail_bps / MBPS:.2f} Mbit/s left of {self.capacity_bps / MBPS:.1f} at "
            f"{self.cross_ratio:.0%} load; said {self.said_bps / MBPS:.2f} "
            f"({self.low_bps / MBPS:.2f} to {self.high_bps / MBPS:.2f})"
        )


class PreciseTrial(BandwidthTrial):
    """The same, gone on to the better answer."""

    TECHNIQUE: ClassVar[str] = "precise"


def compare(
    topology: Topology,
    truth: Truth,
    run: Run,
    *,
    kind: str,
    number: int,
    trial: type[BandwidthTrial] = BandwidthTrial,
) -> BandwidthTrial:
    """What was printed beside what is so; the better answer where one was asked for and found."""
    result = run.get("result") or {}
    if phases := result.get("phases"):
        ends = (truth.source, truth.destination)
        size_bytes = phases[-1]["size_bytes"]
        truth = path_truth(make_plan(topology), *ends, packet_bytes=size_bytes)
    tight = truth.tight
    return trial(
        **common(topology.name, len(truth.links), run, kind, number),
        capacity_bps=round(tight.capacity_ip_bps),
        avail_bps=round(tight.avail_ip_bps),
        cross_ratio=tight.cross_ethernet_bps / tight.capacity_ethernet_bps,
        clear=tight is truth.narrow,
        said_bps=int(result.get("precise_bps") or result.get("ptr_bps") or 0),
        low_bps=int(result.get("precise_low_bps") or result.get("low_bps") or 0),
        high_bps=int(result.get("precise_high_bps") or result.get("high_bps") or 0),
        converged=bool(result.get("converged")),
    )


def shares(trials: Sequence[BandwidthTrial]) -> Iterator[Share]:
    """All that the targets are about, then the parts of it."""
    wanted = [trial for trial in trials if trial.cross_ratio <= MOST_CROSS_RATIO]
    groups = {
        "within 20 %, loads 0 to 70 %": wanted,
        "  of those, idle": [t for t in wanted if not t.cross_ratio],
        "  up to 40 % load": [t for t in wanted if 0 < t.cross_ratio <= 0.4],
        "  40 to 70 % load": [t for t in wanted if t.cross_ratio > 0.4],
        "  tight link is not the narrow one": [t for t in wanted if not t.clear],
        "  path of at most 40 Mbit/s": [t for t in wanted if t.capacity_bps <= SLOW_BPS],
    }
    for label, group in groups.items():
        errors = [trial.error_ratio for trial in group]
        yield from share(label, group, [trial.right for trial in group], errors)
