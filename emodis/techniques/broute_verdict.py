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
        missed = next((f": {m.agent_id}: {m.failure}" for m in observations.misses), "")
        whose = "no agent has a route that shows the destination's edge"
        if observations.source:
            whose = "no route to a landmark shows the edge of this host"
        return failed("too_few_routes", f"{whose}{missed}", Blame.BLAME_NETWORK)
    if all(branch.uncovered for branch in result.branches):
        return failed(
            "no_bandwidth",
            f"ways {_whither(result)} were found, and none could be measured: "
            f"{result.branches[0].uncovered}",
            Blame.BLAME_NETWORK,
        )
    return DONE


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
