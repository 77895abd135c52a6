"""A report for people: the answer first, then what it rests on."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from emodis.client.render.answers import answers, place
from emodis.client.render.decoded import Decoded, decoded
from emodis.client.render.hops import path_end, pathneck_table, traceroute_table
from emodis.client.render.plain import word
from emodis.client.render.tables import new_table
from emodis.client.render.words import count, percent, rate, time
from emodis.client.report import Report
from emodis.wire.v1.client_pb2 import Result
from emodis.wire.v1.common_pb2 import END_DONE, End, Quality

NO_MAP = (
    "No address-to-AS map was at hand, so hops are shown without their AS "
    "(give the master one, or --as-map FILE)."
)
# Techniques whose results are paths: one table a run.
_PATHS = frozenset({"pathneck", "traceroute"})


def show(reports: Sequence[Report], out: Console) -> None:
    """Print everything; a report with nothing in it prints nothing."""
    for number, report in enumerate(reports):
        if number:
            out.print()
        _show(report, out)
    with_paths = [r for r in reports if r.call.technique in _PATHS and r.done]
    if with_paths and not any(report.as_map for report in with_paths):
        out.print()
        _line(out, NO_MAP)


def _show(report: Report, out: Console) -> None:
    for sentence in answers(report):
        _line(out, sentence, style="bold")
    runs = decoded(report)
    match report.call.technique:
        case "pathneck":
            for run in runs:
                _path(report, run, pathneck_table(report, run), out)
        case "traceroute":
            for run in runs:
                _path(report, run, traceroute_table(report, run), out)
                if path_end(run.value):
                    _line(out, path_end(run.value))
        case "ping" if runs:
            out.print()
            out.print(ping_table(report, runs))
        case _:
            pass
    without = [result for result in report.ordered if result.outcome.ending.end != END_DONE]
    if without:
        out.print()
        out.print(_ends_table(report, without))


def ping_table(report: Report, runs: Sequence[Decoded]) -> Table:
    """One line a run."""
    table = new_table()
    table.add_column("agent", no_wrap=True, overflow="ellipsis", min_width=8)
    if len(report.targets) > 1:
        table.add_column("destination", no_wrap=True, overflow="ellipsis", min_width=8)
    for heading in ("sent", "lost", "RTT min", "median", "p95", "max", "variation"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("quality", no_wrap=True)
    for run in runs:
        value = run.value
        cells = [report.agent_name(run.run.run.agent_id)]
        if len(report.targets) > 1:
            cells.append(place(report, run.run.run.destination))
        names = ("rtt_min_ns", "rtt_median_ns", "rtt_p95_ns", "rtt_max_ns", "ipdv_ns")
        times = [time(getattr(value, name)) if value.HasField(name) else "" for name in names]
        quality = word(Quality.Word.DESCRIPTOR, run.run.outcome.quality.word)
        table.add_row(*cells, str(value.sent), percent(value.loss_ratio), *times, quality)
    return table


def _path(report: Report, run: Decoded, table: Table, out: Console) -> None:
    out.print()
    agent = report.agent_name(run.run.run.agent_id)
    where = "you" if report.to_me else place(report, run.run.run.destination)
    _line(out, f"{agent} → {where}: {_quality(run.run)}{_trains(report, run)}")
    out.print(table)


def _quality(result: Result) -> str:
    quality = result.outcome.quality
    grade = word(Quality.Word.DESCRIPTOR, quality.word)
    reasons = f" ({'; '.join(quality.reasons)})" if quality.reasons else ""
    late = ", came late" if result.late else ""
    beside = f", beside {count(len(result.overlapped), 'other run')}" if result.overlapped else ""
    return f"{grade} quality{reasons}{late}{beside}"


def _trains(report: Report, run: Decoded) -> str:
    if report.call.technique != "pathneck":
        return ""
    value = run.value
    found = ""
    if value.HasField("bottleneck"):
        bound, sure = value.bottleneck.bound_bps, value.bottleneck.confidence
        found = f", at most {rate(bound)}, confidence {percent(sure)}"
    return f"; {value.trains_used} of {count(value.trains_sent, 'train')} used{found}"


def _ends_table(report: Report, results: Sequence[Result]) -> Table:
    """Runs that did not end well, and why."""
    table = new_table()
    table.add_column("agent", no_wrap=True, overflow="ellipsis", min_width=8)
    table.add_column("destination", no_wrap=True, overflow="ellipsis", min_width=8)
    table.add_column("ended", no_wrap=True)
    table.add_column("why", overflow="fold")
    for result in results:
        ending = result.outcome.ending
        table.add_row(
            report.agent_name(result.run.agent_id),
            place(report, result.run.destination),
            word(End.DESCRIPTOR, ending.end),
            ending.hint or ending.reason,
        )
    return table


def _line(out: Console, text: str, style: str = "") -> None:
    out.print(Text(text, style=style), soft_wrap=not out.is_terminal)
