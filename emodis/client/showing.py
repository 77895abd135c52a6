"""From `show` to its exit code: read, estimate again or ask the master, print, judge."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from emodis.client import service, upstream, verdict
from emodis.client.exits import Exit, Trouble
from emodis.client.finish import Way
from emodis.client.measuring import complain, fill_owners
from emodis.client.reestimate import Comparison, compare
from emodis.client.render import as_json
from emodis.client.render.columns import Column, Grid
from emodis.client.render.full import facts, probes_grid, trains, trains_grid
from emodis.client.render.plots import DRAWINGS, show_plots
from emodis.client.render.table import show_tables
from emodis.client.render.tables import console, show_grid, show_line
from emodis.client.render.words import count
from emodis.client.report import Report
from emodis.client.runname import parse
from emodis.client.shell import Shell
from emodis.client.stored import BadStored, runs

# A stored measurement of a hundred agents with every probe.
LARGEST_FILE_BYTES = 256 << 20


def re_estimate(shell: Shell, file: str) -> int:
    """Do what `show --re-estimate` was asked to: 0 if all is as stored, 1 if not."""
    settings = shell.settings
    try:
        compared = [compare(run) for run in runs(_read(file))]
    except BadStored as error:
        raise Trouble(f"cannot estimate {file} again: {error}", Exit.USAGE) from error
    done = [one for one in compared if not one.skipped]
    if settings.format == "json":
        click.echo(as_json.re_estimates(compared))
    else:
        for one in compared:
            _show(one)
    sys.stdout.flush()
    if not done:
        raise Trouble(
            f"nothing in {file} can be estimated again; print it with --observations --format json",
            Exit.USAGE,
        )
    differing = [one for one in done if one.differences]
    shell.say(f"{len(done) - len(differing)} of {count(len(done), 'run')} as stored")
    return Exit.FAILED if differing else Exit.OK


def one_run(shell: Shell, run: str, *, probes: bool) -> int:
    """Do what `show RUN` was asked to. 0 whenever there is something to show."""
    settings = shell.settings
    wanted = parse(run)
    as_map = upstream.open_map(settings.as_map)
    report = shell.runtime(settings).run(
        lambda desk: service.one_run(desk, wanted, lambda message: None)
    )
    complain(shell, report.finish)
    if not report.results or report.finish.way is not Way.COMPLETE:
        return verdict.of_finish(report.finish) or Exit.FAILED
    fill_owners([report], as_map)
    if settings.format == "json":
        click.echo(as_json.results([report], observations=True))
    else:
        _show_run(report, probes=probes)
    return Exit.OK


def _show_run(report: Report, *, probes: bool) -> None:
    out = console()
    (result,) = report.results.values()
    known = facts(report, result)
    for name, words in known:
        show_line(f"{name:<{max(len(other) for other, _ in known)}}  {words}", out)
    out.print()
    show_plots([report], out)
    if report.call.technique in DRAWINGS:
        show_tables(report, out)
    found = trains(report, result)
    for grid in (trains_grid(found), probes_grid(found))[: 2 if probes else 1]:
        if grid.rows:
            out.print()
            show_grid(grid, out)


def _read(file: str) -> str:
    try:
        if file == "-":
            return sys.stdin.read(LARGEST_FILE_BYTES)
        if os.stat(file).st_size > LARGEST_FILE_BYTES:
            raise Trouble(f"{file} is larger than {LARGEST_FILE_BYTES >> 20} MiB", Exit.USAGE)
        return Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise Trouble(f"cannot read {file}: {reason}", Exit.USAGE) from error


def _show(one: Comparison) -> None:
    out = console()
    head = f"{one.run.label} ({one.run.technique.NAME}): "
    if one.skipped:
        show_line(f"{head}left out, {one.skipped}", out)
        return
    if not one.differences:
        show_line(f"{head}the same", out)
        return
    show_line(f"{head}{count(len(one.differences), 'difference')}", out, "bold")
    grid = Grid([Column("field"), Column("stored", gives=True), Column("now", gives=True)])
    for difference in one.differences:
        grid.add(difference.field, _word(difference.stored), _word(difference.now))
    show_grid(grid, out)


def _word(value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"{count(len(value), 'entry').replace('entrys', 'entries')}"
    return "absent" if value is None else "present" if isinstance(value, dict) else str(value)
