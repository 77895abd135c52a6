"""BRoute's answer: the ways into a destination, what each has to give, and why who was chosen."""

from __future__ import annotations

from collections.abc import Mapping

from emodis.client.render.columns import Column, Grid
from emodis.client.render.decoded import Decoded
from emodis.client.render.words import address, count, listed, megabits, owner, percent, rate
from emodis.client.report import Report
from emodis.wire.v1.broute_pb2 import BrouteBranch, BrouteEstimate, BrouteLink, BrouteResult
from emodis.wire.v1.client_pb2 import Selected

UNCOVERED = "not covered"
_NO_ESTIMATE = {
    "no_common_as": "the ways out of here and into it share no AS: no estimate",
    "no_bandwidth": "an edge of it was not measured: no estimate",
    "same_as": "it is in this host's AS: measure it",
    "asmap_missing": "no address-to-AS map for both ends: no estimate",
}


def summary(whither: str, result: BrouteResult) -> str:
    """One sentence, without its full stop."""
    one, more = ("way out", "ways out") if result.source else ("way in", "ways in")
    ways = f"one {one} is" if len(result.branches) == 1 else f"{len(result.branches)} {more} are"
    start = "from this host" if result.source else whither
    head = f"{start[0].upper()}{start[1:]} {ways} known"
    bounded = [branch for branch in result.branches if not branch.uncovered]
    if not bounded:
        return f"{head}, none of them measured"
    words = [f"{name_of(branch)} {_bound_words(branch)}" for branch in bounded]
    missing = len(result.branches) - len(bounded)
    rest = f"; {missing} not covered" if missing else ""
    return (
        f"{head}: {listed(words)}{rest}; what was measured speaks for "
        f"{percent(result.coverage_ratio)} of {count(result.routes, _noun(result))}"
    )


def _noun(result: BrouteResult) -> str:
    return "landmark" if result.source else "agent"


def branches_grid(report: Report, run: Decoded) -> Grid:
    """One line a branch; `available` is that of its tightest link: at most, or at least."""
    result: BrouteResult = run.value
    names = as_names(report)
    grid = Grid(
        [
            Column("branch", right=True),
            Column("behind AS" if result.source else "entry AS", gives=True),
            Column("upstream AS", gives=True),
            Column("available", right=True),
            Column("measured to" if result.source else "measured by", gives=True),
            Column(f"{_noun(result)}s", right=True),
        ]
    )
    for number, branch in enumerate(result.branches, start=1):
        grid.add(
            str(number),
            _system(branch.entry_asn, names),
            _system(branch.upstream_asn, names),
            bound(branch),
            ", ".join(report.agent_name(agent) for agent in branch.measured_by),
            str(len(branch.agents)),
            marked=branch.HasField("upper_bps"),
        )
    return grid


def links_lines(result: BrouteResult) -> list[str]:
    """The links of each branch in the direction of the packets, and what is to be said of it."""
    return [
        f"  {number}: {_route(branch)}{_remark(branch)}"
        for number, branch in enumerate(result.branches, start=1)
    ]


def landmark_lines(report: Report, result: BrouteResult) -> list[str]:
    """Who was to measure, and for which branches."""
    lines = []
    for landmark in result.landmarks:
        numbers = [str(index + 1) for index in landmark.branches]
        noun = "branch" if len(numbers) == 1 else "branches"
        what = f"for {noun} {listed(numbers)}" if numbers else "for nothing that others do not see"
        lines.append(f"  {report.agent_name(landmark.agent_id)}: {what}")
    return lines


def estimates_grid(report: Report, result: BrouteResult) -> Grid:
    """Paths from here that nobody measured: what their edges say of them."""
    names = as_names(report)
    grid = Grid(
        [
            Column("destination", gives=True),
            Column("available", right=True),
            Column("ASes", gives=True),
            Column("common AS", gives=True),
            Column("remark"),
        ]
    )
    for found in result.estimates:
        where = address(found.address)
        grid.add(
            f"{found.name} ({where})" if found.name and found.name != where else where,
            bound(found),
            " ".join(str(asn) for asn in found.asns),
            _system(found.common_asn, names),
            _doubts(found),
        )
    return grid


def _doubts(found: BrouteEstimate) -> str:
    if found.reason:
        return _NO_ESTIMATE.get(found.reason, found.reason)
    doubts = ["its bottleneck may lie in the core"] if found.core else []
    if found.one_sided:
        doubts.append("one of its edges was not measured and may have less")
    if found.HasField("ambiguity") and found.ambiguity == 0:
        doubts.append(f"or they meet in AS{found.runner_up_asn}")
    return "; ".join(doubts)


def explained(selected: Selected) -> list[str]:
    """Why each agent was chosen, and what nobody chosen sees."""
    lines = []
    for choice in selected.agents:
        where = f" in {choice.place}" if choice.place else ""
        system = f" (AS {choice.asn})" if choice.asn else ""
        lines.append(f"  {choice.agent_id}{where}{system}: {choice.why}")
        lines += [f"    {branch}" for branch in choice.new_branches]
    lines += [f"  nobody chosen sees: {branch}" for branch in selected.uncovered]
    return lines


def bound(branch: BrouteBranch | BrouteEstimate) -> str:
    """≤ 9.6, ≥ 96.0, or both."""
    parts = []
    if branch.HasField("lower_bps"):
        parts.append(f"≥ {megabits(branch.lower_bps)}")
    if branch.HasField("upper_bps"):
        parts.append(f"≤ {megabits(branch.upper_bps)}")
    return ", ".join(parts)


def as_names(report: Report) -> Mapping[int, str]:
    """What the ASes are called, as far as the owners of addresses tell."""
    return {found.asn: owner(found) for found in report.owners.values() if found.asn}


def _bound_words(branch: BrouteBranch) -> str:
    parts = []
    if branch.HasField("lower_bps"):
        parts.append(f"at least {rate(branch.lower_bps)}")
    if branch.HasField("upper_bps"):
        parts.append(f"at most {rate(branch.upper_bps)}")
    return " and ".join(parts)


def name_of(branch: BrouteBranch) -> str:
    """By whom it comes, or goes."""
    if branch.upstream_asn:
        return f"by AS{branch.upstream_asn}"
    return f"by {address(branch.links[0].from_address)}" if branch.links else "by an unknown way"


def _system(asn: int, names: Mapping[int, str]) -> str:
    return names.get(asn, f"AS{asn}") if asn else ""


def _remark(branch: BrouteBranch) -> str:
    if branch.uncovered:
        return f" ({UNCOVERED}: {branch.uncovered})"
    if branch.inconsistent:
        return " (agents contradict each other)"
    if not branch.HasField("upper_bps"):
        return " (the bottleneck lies elsewhere)"
    return ""


def _route(branch: BrouteBranch) -> str:
    words = [address(branch.links[0].from_address)] if branch.links else []
    for link in branch.links:
        arrow = "[→]" if _ends_slowest(branch, link) else "→"
        words += [arrow, address(link.to_address)]
    return " ".join(words)


def _ends_slowest(branch: BrouteBranch, link: BrouteLink) -> bool:
    return branch.HasField("upper_bps") and branch.bottleneck.to_address == link.to_address
