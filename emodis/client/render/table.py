"""A report for people: the answer first, then what it rests on."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from emodis.client.render import generic, loss
from emodis.client.render.answers import answers, place
from emodis.client.render.bandwidth import bandwidth_grid, way_words
from emodis.client.render.columns import Column, Grid
from emodis.client.render.decoded import Decoded, decoded
from emodis.client.render.edges import branches_grid, estimates_grid, landmark_lines, links_lines
from emodis.client.render.hops import parallel_routes, path_end, pathneck_grid, traceroute_grid
from emodis.client.render.plain import word
from emodis.client.render.tables import show_grid, show_line
from emodis.client.render.words import count, milliseconds, percent
from emodis.client.report import Report
from emodis.wire.v1.client_pb2 import Result
from emodis.wire.v1.common_pb2 import END_DONE, TRANSPORT_UNPRIVILEGED, End, Quality
from emodis.wire.v1.techniques_pb2 import PingResult

NO_MAP = (
    "No address-to-AS map was at hand, so hops are shown without their AS "
    "(give the master one, or --as-map FILE)."
)
# Techniques whose results have paths: one table a run.
_PATHS = frozenset({"pathneck", "traceroute", "loss"})
# Columns of ping's table that are there only where something stands in them.
_ODDITIES = ("late", "duplicates", "reordered", "ambiguous")


def show(reports: Sequence[Report], out: Console) -> None:
    """Print everything; a report with nothing in it prints nothing."""
    for number, report in enumerate(reports):
        if number:
            out.print()
        _show(report, out)
    with_paths = [r for r in reports if _has_paths(r)]
    if with_paths and not any(report.as_map for report in with_paths):
        out.print()
        show_line(NO_MAP, out)


def _show(report: Report, out: Console) -> None:
    for sentence in answers(report):
        show_line(sentence, out, "bold")
    show_tables(report, out)
    show_ends(report, out)


def show_tables(report: Report, out: Console) -> None:
    """What the runs that came off have found."""
    runs = decoded(report)
    match report.call.technique:
        case "pathneck":
            for run in runs:
                _path(report, run, pathneck_grid(report, run), out)
        case "traceroute":
            for run in runs:
                _path(report, run, traceroute_grid(report, run), out)
                for line in (path_end(run.value), parallel_routes(run.value)):
                    if line:
                        show_line(line, out)
        case "ping" if runs:
            out.print()
            show_grid(ping_grid(report, runs), out)
            for run in runs:
                if run.run.outcome.quality.reasons or _unprivileged(run.run):
                    agent = report.agent_name(run.run.run.agent_id)
                    show_line(f"{agent}: {_quality(run.run)}", out)
        case "broute":
            for run in runs:
                _edges(report, run, out)
        case "loss" if runs:
            out.print()
            show_grid(loss.series_grid(report, lambda index: place(report, index), runs), out)
            for run in runs:
                if run.value.hops:
                    _path(report, run, loss.hops_grid(report, run), out)
        case "igi":
            _bandwidth(report, decoded(report, failed_too=True), out)
        case _ if runs:
            _unknown(report, runs, out)
        case _:
            pass


def _has_paths(report: Report) -> bool:
    return report.call.technique in _PATHS and any(run.value.hops for run in decoded(report))


def show_ends(report: Report, out: Console) -> None:
    """The runs that came to nothing, if there are any."""
    without = [result for result in report.ordered if result.outcome.ending.end != END_DONE]
    if without:
        out.print()
        show_grid(_ends_grid(report, without), out)


def _edges(report: Report, run: Decoded, out: Console) -> None:
    out.print()
    where = "you" if report.to_me else place(report, run.run.run.destination)
    ways = "ways out of" if run.value.source else "ways into"
    show_line(f"{ways} {where}: {_quality(run.run)}", out)
    show_grid(branches_grid(report, run), out)
    show_line("links, [→] the slowest:", out)
    for line in links_lines(run.value):
        show_line(line, out)
    show_line("chosen to measure to:" if run.value.source else "chosen to measure:", out)
    for line in landmark_lines(report, run.value):
        show_line(line, out)
    if run.value.estimates:
        out.print()
        show_line("paths that nobody measured, by both their edges (Mbit/s):", out)
        show_grid(estimates_grid(report, run.value), out)


def _bandwidth(report: Report, runs: Sequence[Decoded], out: Console) -> None:
    if not runs:
        return
    out.print()
    show_grid(bandwidth_grid(report, runs), out)
    for run in runs:
        agent = report.agent_name(run.run.run.agent_id)
        if run.run.outcome.quality.reasons:
            show_line(f"{agent}: {_quality(run.run)}", out)
        if words := way_words(run.value):
            show_line(f"{agent}: {words}", out)


def _unknown(report: Report, runs: Sequence[Decoded], out: Console) -> None:
    """A technique that has no table of its own here."""
    out.print()
    show_grid(generic.grid(report, lambda index: place(report, index), runs), out)
    for run in runs:
        agent = report.agent_name(run.run.run.agent_id)
        if run.run.outcome.quality.reasons:
            show_line(f"{agent}: {_quality(run.run)}", out)
        for name, grid in generic.lists(run.value):
            out.print()
            show_line(f"{agent}: {name}", out)
            show_grid(grid, out)


def ping_grid(report: Report, runs: Sequence[Decoded]) -> Grid:
    """One line a run; round-trip times in ms."""
    headings = ("sent", "lost", "min ms", "median", "p95", "max", "ipdv", *_ODDITIES)
    grid = Grid(
        [
            Column("agent", gives=True),
            Column("destination", gives=True),
            *(Column(heading, right=True) for heading in headings),
            Column("quality"),
        ]
    )
    several = len(report.targets) > 1
    for run in runs:
        value = run.value
        names = ("rtt_min_ns", "rtt_median_ns", "rtt_p95_ns", "rtt_max_ns", "ipdv_ns")
        grid.add(
            report.agent_name(run.run.run.agent_id),
            place(report, run.run.run.destination) if several else "",
            str(value.sent),
            _lost(value),
            *(milliseconds(getattr(value, name)) if value.HasField(name) else "" for name in names),
            *(str(getattr(value, name)) if getattr(value, name) else "" for name in _ODDITIES),
            word(Quality.Word.DESCRIPTOR, run.run.outcome.quality.word),
        )
    return grid


def _lost(value: PingResult) -> str:
    """With a question mark where it may be the destination that rations its answers."""
    return f"{percent(value.loss_ratio)}{' ?' if value.rate_limited_suspected else ''}"


def _path(report: Report, run: Decoded, grid: Grid, out: Console) -> None:
    out.print()
    agent = report.agent_name(run.run.run.agent_id)
    where = "you" if report.to_me else place(report, run.run.run.destination)
    show_line(f"{agent} → {where}: {_quality(run.run)}{_trains(report, run)}", out)
    show_grid(grid, out)


def _quality(result: Result) -> str:
    quality = result.outcome.quality
    grade = word(Quality.Word.DESCRIPTOR, quality.word)
    reasons = f" ({'; '.join(quality.reasons)})" if quality.reasons else ""
    late = ", came late" if result.late else ""
    beside = f", beside {count(len(result.overlapped), 'other run')}" if result.overlapped else ""
    how = ", without raw sockets" if _unprivileged(result) else ""
    return f"{grade} quality{reasons}{how}{late}{beside}"


def _unprivileged(result: Result) -> bool:
    return result.outcome.transport == TRANSPORT_UNPRIVILEGED


def _trains(report: Report, run: Decoded) -> str:
    if report.call.technique != "pathneck":
        return ""
    value = run.value
    found = ""
    if value.HasField("bottleneck"):
        found = f", confidence {percent(value.bottleneck.confidence)}"
    sees = f", resolution {percent(value.resolution_ratio)}"
    return f"; {value.trains_used} of {count(value.trains_sent, 'train')} used{found}{sees}"


def _ends_grid(report: Report, results: Sequence[Result]) -> Grid:
    """Runs that did not end well, and why."""
    grid = Grid(
        [
            Column("agent", gives=True),
            Column("destination", gives=True),
            Column("ended"),
            Column("why", wraps=True),
        ]
    )
    for result in results:
        ending = result.outcome.ending
        grid.add(
            report.agent_name(result.run.agent_id),
            place(report, result.run.destination),
            word(End.DESCRIPTOR, ending.end),
            report.with_names(ending.hint or ending.reason),
        )
    return grid
