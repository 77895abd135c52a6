"""BRoute's answer: the ways into a destination, what each has to give, and why who was chosen."""

from __future__ import annotations

from collections.abc import Mapping

from emodis.client.render.columns import Column, Grid
from emodis.client.render.decoded import Decoded
from emodis.client.render.words import address, count, listed, megabits, owner, percent, rate
from emodis.client.report import Report
from emodis.wire.v1.broute_pb2 import BrouteBranch, BrouteLink, BrouteResult
from emodis.wire.v1.client_pb2 import Selected

UNCOVERED = "not covered"


def summary(whither: str, result: BrouteResult) -> str:
    """One sentence, without its full stop."""
    ways = "one way in is" if len(result.branches) == 1 else f"{len(result.branches)} ways in are"
    head = f"{whither[0].upper()}{whither[1:]} {ways} known"
    bounded = [branch for branch in result.branches if not branch.uncovered]
    if not bounded:
        return f"{head}, none of them measured"
    words = [f"{_name(branch)} {_bound_words(branch)}" for branch in bounded]
    missing = len(result.branches) - len(bounded)
    rest = f"; {missing} not covered" if missing else ""
    return (
        f"{head}: {listed(words)}{rest}; what was measured speaks for "
        f"{percent(result.coverage_ratio)} of {count(result.routes, 'agent')}"
    )


def branches_grid(report: Report, run: Decoded) -> Grid:
    """One line a branch; `available` is that of its tightest link: at most, or at least."""
    result: BrouteResult = run.value
    names = as_names(report)
    grid = Grid(
        [
            Column("branch", right=True),
            Column("entry AS", gives=True),
            Column("upstream AS", gives=True),
            Column("available", right=True),
            Column("measured by", gives=True),
            Column("agents", right=True),
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


def bound(branch: BrouteBranch) -> str:
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


def _name(branch: BrouteBranch) -> str:
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
