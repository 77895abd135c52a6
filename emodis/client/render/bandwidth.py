"""IGI/PTR's answer and table: PTR is the number (or the precise one), IGI only where valid."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

import attrs

from emodis.client.render.columns import Column, Grid
from emodis.client.render.decoded import Decoded
from emodis.client.render.plain import word
from emodis.client.render.words import count, megabits, percent, rate
from emodis.client.report import Report
from emodis.wire.v1.common_pb2 import Quality
from emodis.wire.v1.igi_pb2 import IgiResult

# More loss than this may be that of a queue that others keep full; then little is available.
_MUCH_LOSS = 0.1


def sentence(report: Report, where: str, runs: Sequence[Decoded]) -> str:
    """Available bandwidth in words, one clause for each way that the probes went."""
    clauses = []
    for upstream in (False, True):
        of_way = [
            attrs.evolve(run, value=value)
            for run in runs
            for value in ways(run.value)
            if is_upstream(value) == upstream and value.HasField("ptr_bps")
        ]
        if of_way:
            clauses.append(_clause(report, of_way, "from you" if upstream else where, upstream))
    return "; ".join(clauses)


def _clause(report: Report, runs: Sequence[Decoded], where: str, upstream: bool) -> str:
    """Every run has a turning point."""
    preposition = "to" if upstream else "from"
    found = sorted(runs, key=lambda run: answer_bps(run.value))
    middle_bps = median(answer_bps(run.value) for run in found)
    if len(found) == 1:
        agent = report.agent_name(found[0].run.run.agent_id)
        span, caveat = _span(found[0].value), _caveat(found)
        return f"{rate(middle_bps)} are available {where} {preposition} {agent}{span}{caveat}"
    worst, best = found[0], found[-1]
    return (
        f"{rate(middle_bps)} are available {where} (median of {count(len(found), 'agent')}), "
        f"from {rate(answer_bps(worst.value))} at {report.agent_name(worst.run.run.agent_id)} "
        f"to {rate(answer_bps(best.value))} at {report.agent_name(best.run.run.agent_id)}"
        f"{_caveat(found)}"
    )


def answer_bps(value: IgiResult) -> int:
    """The best number that there is; 0 where none is."""
    return value.precise_bps if value.HasField("precise_bps") else value.ptr_bps


def bandwidth_grid(report: Report, runs: Sequence[Decoded]) -> Grid:
    """One line a run, also for those that found bounds only; rates in Mbit/s."""
    values = [(run, value) for run in runs for value in ways(run.value)]
    fields = {
        "Mbit/s": "ptr_bps",
        "at least": "low_bps",
        "at most": "high_bps",
        "IGI": "igi_bps",
        "capacity": "capacity_bps",
    }
    if any(value.HasField("precise_bps") for _, value in values):
        precise = {
            "Mbit/s": "precise_bps",
            "at least": "precise_low_bps",
            "at most": "precise_high_bps",
        }
        fields = {**fields, **precise, "PTR": "ptr_bps"}
    headings = (*fields, "lost", "trains", "spoiled")
    two_ways = any(is_upstream(value) for _, value in values)
    grid = Grid(
        [
            Column("agent", gives=True),
            *([Column("way")] if two_ways else []),
            *(Column(heading, right=True) for heading in headings),
            Column("quality"),
        ]
    )
    for run, value in values:
        grid.add(
            report.agent_name(run.run.run.agent_id),
            *(["from you" if is_upstream(value) else "to you"] if two_ways else []),
            *(
                megabits(getattr(value, name)) if value.HasField(name) else ""
                for name in fields.values()
            ),
            percent(value.loss_ratio),
            str(value.trains),
            str(value.trains_discarded) if value.trains_discarded else "",
            word(Quality.Word.DESCRIPTOR, run.run.outcome.quality.word),
        )
    return grid


def ways(value: IgiResult) -> list[Any]:
    """What was found in each direction."""
    if not value.HasField("upstream"):
        return [value]
    return [value, value.upstream] if value.phases else [value.upstream]


def is_upstream(value: IgiResult) -> bool:
    """Whether the probes went from the host that asks to the agent."""
    return value.direction == "upstream"


def way_words(value: IgiResult) -> str:
    """How the two ends came together, where that was not the usual way."""
    if not value.relayed:
        return ""
    return (
        "its connection did not arrive at this host, so the two spoke through the master and "
        "this host opened the path"
    )


def _caveat(runs: Sequence[Decoded]) -> str:
    """Packets that arrive as they were sent, but not all of them, are no proof of free capacity."""
    most = max(run.value.loss_ratio for run in runs)
    if most <= _MUCH_LOSS:
        return ""
    return f"; {percent(most)} of the probes were lost, and unless that is random, it is far less"


def _span(value: IgiResult) -> str:
    if value.HasField("precise_bps"):
        if not value.HasField("precise_low_bps") or not value.HasField("precise_high_bps"):
            return ""
        return f", between {rate(value.precise_low_bps)} and {rate(value.precise_high_bps)}"
    if not value.HasField("low_bps") or not value.HasField("high_bps"):
        return ""
    return f", between {rate(value.low_bps)} and {rate(value.high_bps)}"
