"""On which link several vantage points agree: Pathneck's answer, before it is put into words. Pure.

A router answers with the address of the interface that the probe came in by. So one link has one
`to_address` whoever looks down it, while its `from_address` differs between agents that enter the
router before it from different sides: the ingress of the far router names the link. Where hops
were silent a bottleneck is a stretch of links; it agrees with a link that lies on that stretch.
An agent whose own access link is the slowest sees nothing behind it, so it neither agrees nor
disagrees.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from emodis.client.render.decoded import Decoded
from emodis.wire.v1.techniques_pb2 import PathneckBottleneck, PathneckResult


@attrs.frozen
class Sighting:
    """One agent's bottleneck."""

    agent_id: str
    result: PathneckResult

    @property
    def link(self) -> PathneckBottleneck:
        return self.result.bottleneck

    @property
    def width(self) -> int:
        """Links that it might be: 1, more where hops before its end were silent."""
        return self.link.ttl - self.link.from_ttl

    @property
    def bound_bps(self) -> int:
        return self.link.bound_bps


@attrs.define
class Camp:
    """Agents that mean the same link; the first names it most exactly."""

    sightings: list[Sighting]

    @property
    def link(self) -> PathneckBottleneck:
        return self.sightings[0].link

    @property
    def bound_bps(self) -> int:
        """Every one is an upper bound, so the least holds."""
        return min(sighting.bound_bps for sighting in self.sightings)

    @property
    def agents(self) -> list[str]:
        return sorted(sighting.agent_id for sighting in self.sightings)


@attrs.frozen(kw_only=True)
class Opinion:
    """What all runs to one destination say together."""

    # Largest first; empty: nobody found one.
    camps: Sequence[Camp]
    # Limited by their own first link; these are not in `camps` unless they are all there is.
    blinded: Sequence[Sighting]
    # Found none; the coarsest resolution among them.
    clear: Sequence[str]
    clear_resolution_ratio: float
    # Runs whose last link could not be measured.
    unmeasured: Sequence[str]
    total: int


def opinion(runs: Sequence[Decoded], *, total: int, access_counts: bool = False) -> Opinion:
    """Sort the agents into camps.

    Args:
        runs: decoded Pathneck results towards one destination.
        total: how many runs towards it there were, with or without a result.
        access_counts: the first link is what was asked about (this host measures upstream).
    """
    found = [
        Sighting(run.run.run.agent_id, run.value)
        for run in runs
        if run.value.HasField("bottleneck")
    ]
    clear = [run for run in runs if not run.value.HasField("bottleneck")]
    blinded = [] if access_counts else [sighting for sighting in found if sighting.link.access]
    return Opinion(
        camps=_camps([sighting for sighting in found if sighting not in blinded]),
        blinded=blinded,
        clear=[run.run.run.agent_id for run in clear],
        clear_resolution_ratio=max((run.value.resolution_ratio for run in clear), default=0.0),
        unmeasured=[run.run.run.agent_id for run in runs if run.value.last_link == "unmeasured"],
        total=total,
    )


def same_link(one: Sighting, other: Sighting) -> bool:
    """Whether the two mean one and the same link, as far as can be known."""
    if one.link.to_address == other.link.to_address:
        return True
    return _within(one, other) or _within(other, one)


def _within(narrow: Sighting, wide: Sighting) -> bool:
    """The stretch begins and ends on the other's path, around its link."""
    if wide.width < 2:
        return False
    ttls = {hop.address: hop.ttl for hop in narrow.result.hops if hop.address}
    begin = ttls.get(wide.link.from_address) if wide.link.from_address else None
    end = ttls.get(wide.link.to_address)
    if begin is None or end is None:
        return False
    return begin <= narrow.link.from_ttl and narrow.link.ttl <= end


def _camps(sightings: Sequence[Sighting]) -> list[Camp]:
    camps: list[Camp] = []
    for sighting in sorted(sightings, key=lambda s: (s.width, -s.link.confidence, s.agent_id)):
        for camp in camps:
            if same_link(camp.sightings[0], sighting):
                camp.sightings.append(sighting)
                break
        else:
            camps.append(Camp([sighting]))
    return sorted(camps, key=lambda camp: (-len(camp.sightings), camp.bound_bps))
