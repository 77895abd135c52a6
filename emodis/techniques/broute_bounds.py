"""What one Pathneck run says of the last links of its path, and what several say together.

Rates are IP-layer bits per second. A bottleneck among the last links bounds them from above;
one before them only shows how much of a train still arrived (TECHNIQUES.md 5, "Build").
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from emodis.wire.v1.broute_pb2 import BrouteLink, BrouteMeasure
from emodis.wire.v1.techniques_pb2 import Bound, PathneckHop, PathneckResult

# A lower bound so much above an upper one contradicts it.
TOLERANCE = 0.2


@attrs.frozen(kw_only=True)
class Finding:
    """One run's word on the edge: an upper bound with its link, or a lower one."""

    measure: BrouteMeasure
    upper_bps: int | None = None
    lower_bps: int | None = None
    bottleneck: BrouteLink | None = None
    confidence: float = 0.0


@attrs.frozen(kw_only=True)
class Bounds:
    """Those of a branch."""

    upper: Finding | None
    lower_bps: int | None
    inconsistent: bool


def finding(measure: BrouteMeasure, links: int) -> Finding | None:
    """What a run says of the last `links` links between answering hops; None if nothing.

    Whether the last of them let as much through is not known where it could not be measured.
    """
    result = measure.result
    answered = [hop for hop in result.hops if hop.address]
    edge = answered[1:][-links:]
    if not edge:
        return None
    if result.HasField("bottleneck") and _lies_on(result, answered[-len(edge) - 1].ttl):
        link = result.bottleneck
        return Finding(
            measure=measure,
            upper_bps=link.bound_bps,
            bottleneck=BrouteLink(from_address=link.from_address, to_address=link.to_address),
            confidence=link.confidence,
        )
    last = _last_measured(result)
    if last is None or last.ttl < edge[-1].ttl:
        return None
    return Finding(measure=measure, lower_bps=last.rate_bps)


def finding_out(measure: BrouteMeasure, links: int, start: bytes) -> Finding | None:
    """What a run says of the first `links` links, out of the host at `start`; None if nothing.

    A train shows every link on its way that is tighter than those before it, not only the
    bottleneck: the last of these choke points among the first links bounds them from above.
    Without one, they have at least what arrived behind them.
    """
    answered = [hop for hop in measure.result.hops if hop.address]
    edge = answered[:links]
    measured = [hop for hop in edge if hop.HasField("rate_bps")]
    if not measured:
        return None
    chokes = [hop for hop in measured if hop.choke_point and hop.bound == Bound.BOUND_UPPER]
    if not chokes:
        return Finding(measure=measure, lower_bps=measured[-1].rate_bps)
    choke = chokes[-1]
    place = answered.index(choke)
    return Finding(
        measure=measure,
        upper_bps=choke.bound_bps,
        bottleneck=BrouteLink(
            from_address=answered[place - 1].address if place else start,
            to_address=choke.address,
        ),
        confidence=choke.detection_ratio,
    )


def combined(findings: Sequence[Finding]) -> Bounds | None:
    """The least upper and the greatest lower bound; None without any."""
    if not findings:
        return None
    uppers = [one for one in findings if one.upper_bps is not None]
    upper = min(uppers, key=lambda one: one.upper_bps or 0) if uppers else None
    lower_bps = max((one.lower_bps for one in findings if one.lower_bps is not None), default=None)
    return Bounds(
        upper=upper,
        lower_bps=lower_bps,
        inconsistent=upper is not None
        and upper.upper_bps is not None
        and lower_bps is not None
        and lower_bps > (1 + TOLERANCE) * upper.upper_bps,
    )


def _lies_on(result: PathneckResult, from_ttl: int) -> bool:
    """The bottleneck's link begins at this hop or behind it."""
    return result.bottleneck.from_ttl >= from_ttl


def _last_measured(result: PathneckResult) -> PathneckHop | None:
    measured = [hop for hop in result.hops if hop.HasField("rate_bps")]
    return measured[-1] if measured else None
