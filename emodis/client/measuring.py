"""From a measuring command to its exit code: check, measure, print, judge.

What `request`, `measure` and `results` share. Everything that can be said without a master or a
packet is said first.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import attrs
import click

from emodis.client import outward, request, service, thresholds, two_ends, upstream, verdict
from emodis.client.config import Settings
from emodis.client.desk import Desk
from emodis.client.exits import Exit, Trouble
from emodis.client.finish import Finish, Way
from emodis.client.live import View, view
from emodis.client.naming import add_names
from emodis.client.render import as_json
from emodis.client.render.directory import choice as choice_line
from emodis.client.render.edges import explained
from emodis.client.render.plots import show_plots
from emodis.client.render.table import show
from emodis.client.render.tables import console
from emodis.client.render.words import seconds, size
from emodis.client.report import Report
from emodis.client.shell import Shell
from emodis.client.thresholds import Threshold
from emodis.techniques import registry
from emodis.techniques.base import Technique, cooperates, is_outward, is_peered, is_plan
from emodis.topology.asn import AsMap
from emodis.wire.v1.client_pb2 import Request
from emodis.wire.v1.common_pb2 import CODE_UNSPECIFIED, Body

IDEMPOTENCY_BYTES = 16


@attrs.frozen(kw_only=True)
class Manner:
    """How the results are to be shown."""

    # Every probe, too; JSON only.
    observations: bool = False
    # Drawn, where there is a drawing for it.
    plot: bool = False

    @property
    def needs_observations(self) -> bool:
        """A drawing may show what each probe met."""
        return self.observations or self.plot


@attrs.frozen(kw_only=True)
class Order:
    """A measuring command, as said."""

    wishes: request.Wishes
    direction: str
    fail_if: tuple[str, ...] = ()
    # Only list the technique's parameters.
    listing: bool = False
    # Say why each agent was chosen.
    explain: bool = False
    manner: Manner = Manner()
    # The capture to write, of what this host sends and receives.
    pcap: str | None = None
    # There is a master that could be asked for agents.
    agents_there: bool = True


@attrs.define
class Measuring:
    """An order that makes sense, on its way."""

    order: Order
    technique: Technique
    call: Body
    as_map: AsMap | None
    view: View
    # Absolute; "" = no capture.
    pcap_path: str = ""
    reports: list[Report] = attrs.field(factory=list)

    async def work(self, desk: Desk) -> list[Report]:
        """Measure, then look up who was met on the way."""
        reports = await self._measure(desk)
        await add_names(desk, reports)
        return reports

    async def _measure(self, desk: Desk) -> list[Report]:
        """This host first, then the agents, so that the two do not disturb each other."""
        here = None
        if self.order.direction in {"upstream", "both"}:
            found = await self._from_here(desk)
            if isinstance(found, Report):
                return [found]
            here = found
            self.reports.append(await here.measure())
            if self.reports[-1].finish.way is Way.INTERRUPTED:
                return self.reports
        if self.order.direction in {"downstream", "both"}:
            wanted = request.build(self.order.wishes, self.call, os.urandom(IDEMPOTENCY_BYTES))
            self.reports.append(await self._ask(desk, wanted))
            if self.order.manner.needs_observations:
                await service.add_observations(desk, self.reports[-1])
        if isinstance(here, outward.OwnSide):
            here.join(self.reports[1:])
        return self.reports

    async def _from_here(self, desk: Desk) -> upstream.Upstream | Report:
        """What this host is to measure; a report where it could not be found out."""
        wishes, direction = self.order.wishes, self.order.direction
        places: outward.Landmarks | None = None
        if is_outward(self.technique):
            found = await outward.places(desk, wishes, direction)
            if isinstance(found, Report):
                return found
            places, targets = found, list(found.targets)
        else:
            targets = await upstream.targets_of(desk, wishes.destinations, wishes.family)
        common = (desk, self.technique, self.call, targets, self.as_map, self.view.take)
        if places is None:
            return upstream.Upstream(*common, pcap_path=self.pcap_path)
        return outward.OwnSide(*common, pcap_path=self.pcap_path, landmarks=places)

    async def _ask(self, desk: Desk, wanted: Request) -> Report:
        """Have it measured; this host listens meanwhile where the technique has two ends."""
        if wanted.dry_run:
            return await service.request(desk, wanted, self.view.take)
        if is_peered(self.technique):
            return await two_ends.ask(desk, wanted, self.technique, self.view.take)
        return await self._ask_answering(desk, wanted)

    async def _ask_answering(self, desk: Desk, wanted: Request) -> Report:
        """Have it measured; this host answers meanwhile where it is the destination."""
        if not cooperates(self.technique) or wanted.destinations or wanted.detach:
            return await service.request(desk, wanted, self.view.take)
        answerer = desk.answerer()
        try:
            wanted.peer.CopyFrom(answerer.start())
        except OSError:
            # It is measured all the same, by what routers and kernels answer.
            return await service.request(desk, wanted, self.view.take)
        try:
            return await service.request(desk, wanted, self.view.take)
        finally:
            answerer.stop()


def carry_out(shell: Shell, order: Order) -> int:
    """Do what `request` or `measure` was asked to."""
    wishes = order.wishes
    if wishes.technique == "help":
        return _describe_techniques(shell)
    technique = request.technique_named(wishes.technique)
    if order.listing:
        for line in request.option_lines(technique.options()):
            click.echo(line)
        return Exit.OK
    options = outward.directed(technique, wishes.options, order.direction)
    options = two_ends.directed(technique, options, order.direction)
    call = request.call(technique, options)
    direction = outward.direction_of(technique, call, order.direction)
    order = attrs.evolve(order, direction=two_ends.direction_of(technique, direction))
    limits = [thresholds.parse(text, wishes.technique) for text in order.fail_if]
    settings = shell.settings
    _check_manner(settings, order.manner)
    two_ends.check(wishes, technique, agents_there=order.agents_there)
    _check(order, technique)
    _check_direction(technique, order.direction)
    seen = _view(
        shell,
        settings,
        upstream=order.direction == "upstream",
        explain=order.explain and not wishes.dry_run,
    )
    as_map = upstream.open_map(settings.as_map)
    pcap_path = "" if order.pcap is None else _prepare_capture(order.pcap)
    measuring = Measuring(order, technique, call, as_map, seen, pcap_path)
    try:
        reports = shell.runtime(settings).run(measuring.work)
    finally:
        seen.close()
    if (wishes.dry_run or wishes.detach) and order.direction == "downstream":
        return _left_alone(shell, settings, reports[0], order)
    fill_owners(reports, as_map)
    return _conclude(shell, settings, reports, limits, manner=order.manner)


def read_back(
    shell: Shell, measurement_id: str, *, follow: bool, manner: Manner, fail_if: Sequence[str]
) -> int:
    """Do what `results` was asked to."""
    settings = shell.settings
    _check_manner(settings, manner)
    as_map = upstream.open_map(settings.as_map)
    seen = _view(shell, settings)

    async def work(desk: Desk) -> Report:
        found = await service.results(
            desk,
            measurement_id,
            seen.take,
            follow=follow,
            with_observations=manner.needs_observations,
        )
        await add_names(desk, [found])
        return found

    try:
        report = shell.runtime(settings).run(work)
    finally:
        seen.close()
    limits = [thresholds.parse(text, report.call.technique) for text in fail_if]
    fill_owners([report], as_map)
    return _conclude(shell, settings, [report], limits, manner=manner)


def complain(shell: Shell, finish: Finish) -> None:
    """Say why a conversation did not end well; nothing when it did."""
    if not finish.text:
        return
    text = finish.text
    if finish.way is Way.UNREACHABLE:
        text = f"the master is unreachable: {text}"
    elif finish.way is Way.LOST:
        text = f"the master is gone: {text}"
    hint = f" ({finish.hint})" if finish.hint else ""
    shell.say(f"emodis-client: {text}{hint}")


def _prepare_capture(file: str) -> str:
    from emodis.prober.capture import prepare

    path = Path(file).absolute()
    try:
        prepare(path)
    except OSError as error:
        raise Trouble(f"cannot write the capture {file}: {error.strerror}", Exit.USAGE) from error
    return str(path)


def _check_manner(settings: Settings, manner: Manner) -> None:
    if manner.observations and settings.format != "json":
        raise Trouble("--observations are for --format json only", Exit.USAGE)
    if manner.plot and settings.format == "json":
        raise Trouble("--plot draws for people; leave it out with --format json", Exit.USAGE)


def _describe_techniques(shell: Shell) -> int:
    lines, complaints = request.technique_lines()
    for line in lines:
        click.echo(line)
    for line in complaints:
        shell.say(f"emodis-client: {line}")
    return Exit.OK


def _check(order: Order, technique: Technique) -> None:
    """What options cannot go together."""
    wishes = order.wishes
    if order.direction != "downstream":
        if not wishes.destinations and not (is_outward(technique) and order.agents_there):
            raise Trouble("name at least one destination to measure from this host", Exit.USAGE)
        if wishes.detach or wishes.dry_run:
            raise Trouble(
                "--detach and --dry-run are for measurements by agents; "
                "this host would measure, too",
                Exit.USAGE,
            )
    if (wishes.detach or wishes.dry_run) and order.manner != Manner():
        raise Trouble(
            "--plot and --observations are for what was found; "
            "`emodis-client results` has them for a measurement that was left running",
            Exit.USAGE,
        )
    # Also for what only the master resolves: no round trip for a name that cannot be one.
    request.build(wishes, Body(), b"")


def _check_direction(technique: Technique, direction: str) -> None:
    """A plan is carried out by the master, over several agents, but for this host's own side."""
    if is_plan(technique) and not is_outward(technique) and direction != "downstream":
        raise Trouble(
            f"{technique.NAME} is measured by several agents towards a destination; "
            f"use `request --tech {technique.NAME}`, without --direction",
            Exit.USAGE,
        )


def _conclude(
    shell: Shell,
    settings: Settings,
    reports: Sequence[Report],
    limits: Sequence[Threshold],
    *,
    manner: Manner,
) -> int:
    """Print what has arrived, say how it went, and judge."""
    arrived = [report for report in reports if report.results or report.finish.way is Way.COMPLETE]
    if settings.format == "json":
        if arrived:
            click.echo(as_json.results(reports, observations=manner.observations))
    else:
        (show_plots if manner.plot else show)(arrived, console())
    sys.stdout.flush()
    for report in reports:
        complain(shell, report.finish)
        _sum_up(shell, report)
    held = thresholds.held(limits, reports)
    for line in held:
        shell.say(line)
    return verdict.of_reports(reports, held=bool(held))


def _sum_up(shell: Shell, report: Report) -> None:
    """What the measurement did, in a line."""
    ended = report.ended
    if ended is not None and ended.text:
        shell.say(f"emodis-client: {ended.text}")
    if not report.results:
        return
    first = min(r.outcome.started_unix_ns for r in report.results.values())
    last = max(r.outcome.started_unix_ns + r.outcome.duration_ns for r in report.results.values())
    took = f"took {seconds((last - first) / 1e9)}, " if first > 0 else ""
    name = f"measurement {report.measurement_id}: " if report.measurement_id else ""
    shell.say(f"{name}{took}sent {size(report.cost.sent_bytes)}")


def _left_alone(shell: Shell, settings: Settings, report: Report, order: Order) -> int:
    """After a dry run, or when the measurement goes on without us."""
    complain(shell, report.finish)
    code = verdict.of_finish(report.finish)
    ended = report.ended
    if not code and ended is not None and ended.code != CODE_UNSPECIFIED:
        shell.say(f"emodis-client: {ended.text}")
        code = verdict.of_code(ended.code)
    if code:
        return code
    if settings.format == "json":
        click.echo(as_json.results([report]))
    elif order.wishes.detach:
        click.echo(report.measurement_id)
    elif order.explain and report.selected is not None:
        for line in explained(report.selected):
            click.echo(line.removeprefix("  "))
    else:
        for choice in report.choices.values():
            click.echo(choice_line(choice).strip())
    return Exit.OK


def fill_owners(reports: Sequence[Report], as_map: AsMap | None) -> None:
    """The user's own map knows what the master's did not."""
    for report in reports:
        for result in report.results.values():
            try:
                technique = registry.get(result.outcome.result.technique)
            except registry.UnknownTechnique:
                continue
            upstream.add_owners(result, technique, as_map)


def _view(
    shell: Shell, settings: Settings, *, upstream: bool = False, explain: bool = False
) -> View:
    return view(
        sys.stderr,
        shell.environ,
        shell.now_s,
        upstream=upstream,
        verbose=settings.verbose,
        explain=explain,
    )
