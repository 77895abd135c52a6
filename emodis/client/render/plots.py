"""A report drawn instead of tabled, for the techniques that there is a drawing for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from google.protobuf.message import DecodeError
from rich.console import Console
from rich.text import Text

from emodis.client.render.answers import answers, place
from emodis.client.render.bandwidth import is_upstream, ways
from emodis.client.render.decoded import Decoded, decoded
from emodis.client.render.plot_edges import branch_lines
from emodis.client.render.plot_gaps import gap_lines
from emodis.client.render.plot_losses import loss_lines
from emodis.client.render.plot_paths import SILENT, Path, tree_lines
from emodis.client.render.plot_phases import phase_lines
from emodis.client.render.plot_series import Sent, series_lines
from emodis.client.render.table import show, show_ends
from emodis.client.render.tables import show_line
from emodis.client.render.words import address, owner, time
from emodis.client.report import Report
from emodis.techniques.ping_statistics import Manner, is_answer
from emodis.techniques.records import rtt_ns
from emodis.techniques.stats import NS_PER_S
from emodis.wire.v1.techniques_pb2 import (
    PingObservations,
    PingParameters,
    ProbeRecord,
    TracerouteHop,
    TracerouteResult,
)

# A pipe has no width; our tables' 200 columns would be long bars.
PIPE_COLUMNS = 100
Draw = Callable[[Report, Sequence[Decoded], Console], None]


def show_plots(reports: Sequence[Report], out: Console) -> None:
    """Print every report: what can be drawn is, the rest as `table.show` does it."""
    for number, report in enumerate(reports):
        if number:
            out.print()
        draw = DRAWINGS.get(report.call.technique)
        runs = decoded(report)
        if draw is None or not runs:
            show([report], out)
            continue
        for sentence in answers(report):
            show_line(sentence, out, "bold")
        draw(report, runs, out)
        show_ends(report, out)


def _gaps(report: Report, runs: Sequence[Decoded], out: Console) -> None:
    for run in runs:
        _head(report, run, out)
        host = "this host" if report.upstream else "the agent"
        for line in gap_lines(run, _width(out), host):
            _print(line.text, out, "bold" if line.marked else "")


def _phases(report: Report, runs: Sequence[Decoded], out: Console) -> None:
    for run in runs:
        for value in ways(run.value):
            _head(report, run, out, back=is_upstream(value))
            for line in phase_lines(value, _width(out)):
                _print(line.text, out, "bold" if line.marked else "")


def _series(report: Report, runs: Sequence[Decoded], out: Console) -> None:
    for run in runs:
        _head(report, run, out)
        series = _sent(report, run)
        if not series:
            _print("what each probe met was not kept", out)
        for line in series_lines(series, _width(out)) if series else ():
            _print(line, out)


def _sent(report: Report, run: Decoded) -> list[Sent]:
    """Every probe of a ping that left, by its time; answered and lost as its statistics have it."""
    try:
        chosen = PingParameters.FromString(report.call.body)
        observed = PingObservations.FromString(run.run.outcome.observations)
    except DecodeError:
        return []
    manner = Manner(timeout_s=chosen.timeout_s, proto=chosen.proto, target=observed.target)
    sent = [
        (train.t0_unix_ns + probe.sent_ns, _in_time_ns(probe, manner))
        for train in observed.trains
        for probe in train.probes
        if probe.HasField("sent_ns")
    ]
    start_ns = min((at_ns for at_ns, _ in sent), default=0)
    return [Sent(at_ns - start_ns, took_ns) for at_ns, took_ns in sorted(sent, key=lambda s: s[0])]


def _in_time_ns(probe: ProbeRecord, manner: Manner) -> int | None:
    took_ns = rtt_ns(probe) if is_answer(probe, manner) else None
    in_time = took_ns is not None and 0 <= took_ns <= manner.timeout_s * NS_PER_S
    return took_ns if in_time else None


def _paths(report: Report, runs: Sequence[Decoded], out: Console) -> None:
    owners = {str(known): found for known, found in report.owners.items()}

    def words(hop: TracerouteHop) -> str:
        places = dict.fromkeys(answer.address for answer in hop.answers if answer.address)
        if not places:
            return SILENT
        names = [f"{address(one)}  {owner(owners.get(address(one)))}".rstrip() for one in places]
        return " or ".join(names)

    for index in range(max(len(report.targets), 1)):
        ways = [_path(report, run, words) for run in runs if run.run.run.destination == index]
        if ways:
            out.print()
            root = "you" if report.to_me else place(report, index)
            for line in tree_lines(root, ways, _width(out)):
                _print(line, out, "bold" if "●" in line else "")


def _path(report: Report, run: Decoded, words: Callable[[TracerouteHop], str]) -> Path:
    result: TracerouteResult = run.value
    hops: list[Any] = list(result.hops)
    start = report.agent_name(run.run.run.agent_id)
    if result.reached and hops:
        last = hops.pop()
        took = [answer.rtt_ns for answer in last.answers if answer.HasField("rtt_ns")]
        start += f": {len(hops) + 1} hops" + (f", {time(median(took))}" if took else "")
    return Path(start, tuple(words(hop) for hop in hops), result.reached)


def _losses(report: Report, runs: Sequence[Decoded], out: Console) -> None:
    for run in runs:
        _head(report, run, out)
        for line in loss_lines(run, _end(report, run), _width(out)):
            _print(line.text, out, "bold" if line.marked else "")


def _edges(report: Report, runs: Sequence[Decoded], out: Console) -> None:
    for run in runs:
        out.print()
        for line in branch_lines(_end(report, run), run.value, _width(out)):
            _print(line.text, out, "bold" if line.marked else "")


def _end(report: Report, run: Decoded) -> str:
    return "you" if report.to_me else place(report, run.run.run.destination)


def _width(out: Console) -> int:
    return out.width if out.is_terminal else min(out.width, PIPE_COLUMNS)


def _head(report: Report, run: Decoded, out: Console, *, back: bool = False) -> None:
    out.print()
    ends = [report.agent_name(run.run.run.agent_id), _end(report, run)]
    show_line(" → ".join(reversed(ends) if back else ends), out)


def _print(line: str, out: Console, style: str = "") -> None:
    # Never folded: half a bar on the next line says nothing.
    out.print(Text(line, style=style), soft_wrap=True)


DRAWINGS: dict[str, Draw] = {
    "igi": _phases,
    "pathneck": _gaps,
    "ping": _series,
    "traceroute": _paths,
    "loss": _losses,
    "broute": _edges,
}
