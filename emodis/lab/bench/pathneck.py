"""Pathneck against the truth: is exactly the right link named, and how near is its bound?

On a flat path every link is alike, and only the first one stretches a train: whatever else is named
is a false bottleneck.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

import attrs

from emodis.lab.bench.paths import CLEAR_RATIO, JUDGED_LOADS
from emodis.lab.bench.tally import Share, share
from emodis.lab.bench.trial import Run, Trial, common
from emodis.lab.topology import IcmpLimits, Topology
from emodis.lab.truth import Truth

MBPS = 1_000_000


@attrs.frozen(kw_only=True)
class PathneckTrial(Trial):
    """What was true and what was said. Bandwidths are IP bits per second at the load's size."""

    TECHNIQUE: ClassVar[str] = "pathneck"

    choke_ttl: int
    # The link as it can be named: hops that never answer belong to it. Nothing can be named where
    # nothing behind the choke answers: then `true_ttl` is 0.
    true_from_ttl: int
    true_ttl: int
    # The tight link is the choke as well, and much tighter than the next.
    clear: bool
    cross_ratio: float
    # 0: no bottleneck was named.
    named_ttl: int
    # Hops joined by silence: the named link begins at this TTL.
    named_from_ttl: int
    bound_bps: int
    capacity_bps: int

    @property
    def right(self) -> bool:
        """Exactly the right link was named."""
        named = (self.named_from_ttl, self.named_ttl)
        return self.done and named == (self.true_from_ttl, self.true_ttl)

    @property
    def false(self) -> bool:
        """A link behind the first was named on a flat path."""
        return self.done and self.named_ttl > 1

    @property
    def verdict(self) -> str:
        """On a flat path only a false bottleneck is wrong; none is as good as the first link."""
        if self.kind != "flat" or not self.done:
            return super().verdict
        return "FALSE" if self.false else "right"

    @property
    def bound_error_ratio(self) -> float | None:
        """Of the capacity, where the right link was named on an idle path."""
        if not self.right or self.cross_ratio or not self.capacity_bps:
            return None
        return abs(self.bound_bps - self.capacity_bps) / self.capacity_bps

    def line(self) -> str:
        return (
            f"choke {self.choke_ttl} of {self.capacity_bps / MBPS:.1f} Mbit/s at "
            f"{self.cross_ratio:.0%} load; named {self.named_ttl} "
            f"(at most {self.bound_bps / MBPS:.1f} Mbit/s)"
        )


def compare(topology: Topology, truth: Truth, run: Run, *, kind: str, number: int) -> PathneckTrial:
    """What was printed beside what is so."""
    bottleneck = (run.get("result") or {}).get("bottleneck") or {}
    choke = truth.choke
    start, end = as_seen(topology, truth)
    return PathneckTrial(
        **common(topology.name, len(truth.links), run, kind, number),
        choke_ttl=choke.ttl,
        true_from_ttl=start,
        true_ttl=end,
        clear=is_clear(truth),
        cross_ratio=choke.cross_ethernet_bps / choke.capacity_ethernet_bps,
        named_ttl=bottleneck.get("ttl", 0),
        named_from_ttl=bottleneck.get("from_ttl", 0),
        bound_bps=int(bottleneck.get("bound_bps", 0)),
        capacity_bps=round(choke.capacity_ip_bps),
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


def shares(trials: Sequence[PathneckTrial]) -> Iterator[Share]:
    """Every group that has a trial in it, the ones with targets first."""
    found = [trial for trial in trials if trial.kind != "flat"]
    open_hops = [trial for trial in found if trial.kind not in {"quiet", "lossy"}]
    clear = [trial for trial in open_hops if trial.clear]
    groups = {
        "right link, clear, idle": [t for t in clear if not t.cross_ratio],
        "right link, clear, 30 to 70 % load": [t for t in clear if _medium(t)],
        "right link, clear, other loads": [t for t in clear if _other_load(t)],
        "  of those, bottleneck on the first link": [t for t in clear if t.choke_ttl == 1],
        "  bottleneck on the last link": [t for t in clear if t.choke_ttl == t.links],
        "right link, not clear": [t for t in open_hops if not t.clear],
        "right link, silent or limited routers": [t for t in found if t.kind == "quiet"],
        "right link, loss on the way": [t for t in found if t.kind == "lossy"],
    }
    for label, group in groups.items():
        yield from _share(label, group, lambda trial: trial.right)
    flat = [trial for trial in trials if trial.kind == "flat"]
    yield from _share("false bottleneck on a flat path", flat, lambda trial: trial.false)


def _medium(trial: PathneckTrial) -> bool:
    least, most = JUDGED_LOADS
    return least <= trial.cross_ratio <= most


def _other_load(trial: PathneckTrial) -> bool:
    return trial.cross_ratio > 0 and not _medium(trial)


def _share(
    label: str, group: Sequence[PathneckTrial], hit: Callable[[PathneckTrial], bool]
) -> Iterator[Share]:
    errors = [trial.bound_error_ratio for trial in group]
    yield from share(label, group, [hit(trial) for trial in group], errors)
