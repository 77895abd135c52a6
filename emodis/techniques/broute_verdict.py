"""How BRoute ended and how far its summary can be trusted, with the reasons for people."""

from __future__ import annotations

from emodis.techniques.broute_parameters import Parameters
from emodis.techniques.skeleton import DONE, failed, grade
from emodis.wire.v1.broute_pb2 import BrouteObservations, BrouteResult
from emodis.wire.v1.common_pb2 import Blame, Ending, Quality

_NO_MAP = (
    "no address-to-AS map: branches are told apart by their addresses alone, and there is no tree "
    "of ASes (give {who})"
)
NO_MAP = _NO_MAP.format(who="the master a map: as_map in its configuration")
NO_MAP_HERE = _NO_MAP.format(who="this host one: --as-map FILE")


def ending(observations: BrouteObservations, result: BrouteResult) -> Ending:
    if not result.branches:
        return failed("too_few_routes", _too_few_routes(observations), Blame.BLAME_NETWORK)
    if all(branch.uncovered for branch in result.branches):
        return failed(
            "no_bandwidth",
            f"Ways {_whither(result)} were found, and none could be measured: "
            f"{_fact(result.branches[0].uncovered)}; {_more(result.source)}, and let more of them "
            "have their bandwidth measured (-o max_agents=20).",
            Blame.BLAME_NETWORK,
        )
    return DONE


def _too_few_routes(observations: BrouteObservations) -> str:
    """With the first route that failed, which often is why."""
    missed = next((f": {m.agent_id}: {_fact(m.failure)}" for m in observations.misses), "")
    more = _more(observations.source)
    if observations.source:
        return f"No route to a landmark shows the edge of this host{missed}; {more}."
    return (
        f"No agent has a route that shows the destination's edge{missed}; {more}, or have routes "
        "traced anew (-o trace_max_age_s=0)."
    )


def _fact(failure: str) -> str:
    """What went wrong, without the advice to whoever asks for that run alone."""
    return failure.partition("; ")[0].rstrip(".")


def _more(source: bool) -> str:
    if source:
        return "take more landmarks (--agents ALL; with measure, name more hosts)"
    return "ask more agents (--agents ALL)"


def quality(chosen: Parameters, observations: BrouteObservations, result: BrouteResult) -> Quality:
    fair, poor = [], []
    if not observations.as_map:
        fair.append(NO_MAP_HERE if result.source else NO_MAP)
    if result.destination_silent:
        fair.append("the destination answered no traceroute: its last links may be missing")
    if result.branches and result.coverage_ratio < chosen.coverage_ratio:
        share = f"{1 - result.coverage_ratio:.0%} of the {_ends(result)}"
        fair.append(f"the ways {_whither(result)} of {share} have no bound")
    if observations.routes_left_out:
        fair.append(f"{observations.routes_left_out} older routes of other agents were left out")
    if any(branch.inconsistent for branch in result.branches):
        who = _ends(result)
        fair.append(f"{who} contradict each other on a branch: its load changed meanwhile")
    if not result.branches or all(branch.uncovered for branch in result.branches):
        poor.append("nothing could be bounded")
    return grade(fair, poor)


def _whither(result: BrouteResult) -> str:
    return "out" if result.source else "in"


def _ends(result: BrouteResult) -> str:
    return "landmarks" if result.source else "agents"
