"""What may be chosen about BRoute."""

from __future__ import annotations

import attrs

from emodis.techniques.parameters import choice, real, whole

DIRECTIONS = ("sink", "source", "both")
_DAY_S = 86_400.0


@attrs.frozen(kw_only=True)
class Parameters:
    """Everything that a requester may choose."""

    links: int = whole(4, 1, 8, unit="links", text="last links of a route that make a branch")
    max_agents: int = whole(5, 1, 50, unit="agents", text="most landmarks, which measure bandwidth")
    coverage_ratio: float = real(
        0.95, 0.0, 1.0, unit="", text="share of the branches that shall be covered"
    )
    trace_max_age_s: float = real(
        _DAY_S, 0.0, 7 * _DAY_S, unit="s", text="routes older than this are measured anew"
    )
    bandwidth_max_age_s: float = real(
        1800.0, 0.0, _DAY_S, unit="s", text="Pathneck runs older than this are done anew"
    )
    trains: int = whole(5, 3, 10, unit="", text="trains of each Pathneck run")
    direction: str = choice(
        "sink", *DIRECTIONS, text="ways into the destination, out of this host, or both"
    )
