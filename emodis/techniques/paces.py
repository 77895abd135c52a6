"""How fast agents send probes for whom. Pure."""

from __future__ import annotations

# For anybody; managers and a host's own user may go faster (TECHNIQUES.md 1, parameters).
LEAST_REQUESTERS_INTERVAL_S = 0.1


def for_managers(interval_s: float) -> str:
    """Why only managers may have probes sent so fast; empty: everybody may."""
    if interval_s >= LEAST_REQUESTERS_INTERVAL_S:
        return ""
    return f"an interval_s below {LEAST_REQUESTERS_INTERVAL_S:g} s is for managers only"
