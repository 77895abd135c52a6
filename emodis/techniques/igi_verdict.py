"""Why a search of IGI/PTR ended without an answer, and what to do about it. Sentences for people.

They are read at the client's host: "this host" receives downstream and sends upstream.
"""

from __future__ import annotations

import attrs

from emodis.techniques.skeleton import failed
from emodis.wire.v1.common_pb2 import BLAME_AGENT, BLAME_NETWORK, BLAME_TARGET, Ending

_LIMITS = {
    "max_phases": "max_phases",
    "max_time": "max_time_s",
    "max_bytes": "max_bytes",
    "min_rate": "min_rate_bps",
}


@attrs.frozen
class Way:
    """How a search went: who sent, and how the two ends spoke."""

    upstream: bool
    # Through the master, because the agent's connection did not arrive.
    relayed: bool


def without_answer(stopped: str, way: Way) -> Ending:
    """The end of a search that found no turning point; `stopped` is its own word for it."""
    if stopped == "udp_blocked":
        return failed("udp_blocked", _udp_blocked(way), BLAME_NETWORK)
    if stopped == "all_lost":
        hint = "Every packet of three trains in a row was lost; try again."
        return failed("all_lost", hint, BLAME_NETWORK)
    if stopped == "self_congested":
        return _too_busy(way)
    limit = _LIMITS.get(stopped, "the search's limits")
    change = "lower" if stopped == "min_rate" else "raise"
    return failed(
        "not_converged",
        f"No rate was found that the path carries before {limit} was reached; {change} that, or "
        "take the upper bound for the answer.",
        BLAME_NETWORK,
    )


def _udp_blocked(way: Way) -> str:
    """Words passed and probes did not; who has to let them in depends on where they went."""
    spoke = "The two ends could speak through the master" if way.relayed else "TCP got through"
    if way.upstream:
        return (
            f"{spoke}, but no UDP packet of three trains reached the agent; a firewall or NAT "
            "before it must let UDP in, or one before this host out; another agent tells which."
        )
    inward = "answers to this host's own UDP packets in" if way.relayed else "UDP in"
    return (
        f"{spoke}, but no UDP packet of three trains did; a firewall on the way or on this host "
        f"must let {inward}."
    )


def _too_busy(way: Way) -> Ending:
    """Whoever sends is to blame."""
    if way.upstream:
        hint = "This host was too busy to keep its own pace; try again when it has less to do."
        return failed("self_congested", hint, BLAME_TARGET)
    hint = "The sending host was too busy to keep its own pace; try again, or choose another agent."
    return failed("self_congested", hint, BLAME_AGENT)
