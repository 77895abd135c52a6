"""IGI/PTR's answer and table: PTR is the number, IGI only where it is valid."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from emodis.client.render.columns import Column, Grid
from emodis.client.render.decoded import Decoded
from emodis.client.render.plain import word
from emodis.client.render.words import count, megabits, percent, rate
from emodis.client.report import Report
from emodis.wire.v1.common_pb2 import Quality
from emodis.wire.v1.igi_pb2 import IgiResult


def sentence(report: Report, where: str, runs: Sequence[Decoded]) -> str:
    """Available bandwidth in words; every run has a turning point."""
    found = sorted(runs, key=lambda run: run.value.ptr_bps)
    middle_bps = median(run.value.ptr_bps for run in found)
    if len(found) == 1:
        agent = report.agent_name(found[0].run.run.agent_id)
        return f"{rate(middle_bps)} are available {where} from {agent}{_span(found[0].value)}"
    worst, best = found[0], found[-1]
    return (
        f"{rate(middle_bps)} are available {where} (median of {count(len(found), 'agent')}), "
        f"from {rate(worst.value.ptr_bps)} at {report.agent_name(worst.run.run.agent_id)} "
        f"to {rate(best.value.ptr_bps)} at {report.agent_name(best.run.run.agent_id)}"
    )


def bandwidth_grid(report: Report, runs: Sequence[Decoded]) -> Grid:
    """One line a run, also for those that found bounds only; rates in Mbit/s."""
    headings = ("Mbit/s", "at least", "at most", "IGI", "capacity", "lost", "trains", "spoiled")
    grid = Grid(
        [
            Column("agent", gives=True),
            *(Column(heading, right=True) for heading in headings),
            Column("quality"),
        ]
    )
    for run in runs:
        value = run.value
        names = ("ptr_bps", "low_bps", "high_bps", "igi_bps", "capacity_bps")
        grid.add(
            report.agent_name(run.run.run.agent_id),
            *(megabits(getattr(value, name)) if value.HasField(name) else "" for name in names),
            percent(value.loss_ratio),
            str(value.trains),
            str(value.trains_discarded) if value.trains_discarded else "",
            word(Quality.Word.DESCRIPTOR, run.run.outcome.quality.word),
        )
    return grid


def _span(value: IgiResult) -> str:
    if not value.HasField("low_bps") or not value.HasField("high_bps"):
        return ""
    return f", between {rate(value.low_bps)} and {rate(value.high_bps)}"
