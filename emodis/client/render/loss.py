"""Loss in words and tables: how much, how surely, in what pattern, and from where on. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from emodis.client.render.columns import Column, Grid
from emodis.client.render.decoded import Decoded
from emodis.client.render.plain import word
from emodis.client.render.words import (
    address,
    count,
    milliseconds,
    owner,
    percent,
)
from emodis.client.report import Report
from emodis.wire.v1.common_pb2 import Quality
from emodis.wire.v1.loss_pb2 import (
    HOP_LOSS_BEFORE,
    HOP_LOSS_BEHIND,
    HOP_LOSS_SILENT,
    HOP_LOSS_UNRELIABLE,
    LossHop,
    LossPlace,
    LossResult,
)

_SHOWS = {
    HOP_LOSS_SILENT: "silent",
    HOP_LOSS_UNRELIABLE: "drops its own answers",
    HOP_LOSS_BEFORE: "before the loss",
    HOP_LOSS_BEHIND: "has the loss",
}


def sentence(report: Report, whither: str, runs: Sequence[Decoded]) -> str:
    """The answer for one destination, without the full stop: that of the agent that loses most."""
    worst = max(runs, key=lambda run: run.value.loss_ratio)
    result: LossResult = worst.value
    total = sum(run.value.sent for run in runs)
    if not result.loss_ratio:
        least = max(run.value.loss_high_ratio for run in runs)
        none = f"None of {count(total, 'probe')} {whither} was lost"
        return f"{none}: the loss is less than {percent(least)}"
    amount = (
        f"{percent(result.loss_ratio)} of the probes {whither} were lost"
        f" ({_interval(result.loss_low_ratio, result.loss_high_ratio)})"
    )
    where = _where(report, worst)
    if len(runs) == 1:
        return f"{amount}{_pattern(result)}; {where}"
    others = [run.value.loss_ratio for run in runs if run is not worst]
    agent = report.agent_name(worst.run.run.agent_id)
    span = f"at most {percent(max(others))} from the other{'s' if len(others) > 1 else ''}"
    return f"From {agent} {amount}{_pattern(result)}, {span}; {where}"


def series_grid(report: Report, place: Callable[[int], str], runs: Sequence[Decoded]) -> Grid:
    """One line a run."""
    grid = Grid(
        [
            Column("agent", gives=True),
            Column("destination", gives=True),
            *(Column(heading, right=True) for heading in ("sent", "lost", "95 % interval")),
            *(Column(heading, right=True) for heading in ("longest run", "late", "RTT ms")),
            Column("begins"),
            Column("quality"),
        ]
    )
    several = len(report.targets) > 1
    for run in runs:
        result: LossResult = run.value
        grid.add(
            report.agent_name(run.run.run.agent_id),
            place(run.run.run.destination) if several else "",
            str(result.sent),
            percent(result.loss_ratio),
            _interval(result.loss_low_ratio, result.loss_high_ratio),
            str(result.loss_max_run or ""),
            str(result.late or ""),
            milliseconds(result.rtt_median_ns) if result.HasField("rtt_median_ns") else "",
            _between(result.begins) if _is_found(result) else "",
            word(Quality.Word.DESCRIPTOR, run.run.outcome.quality.word),
        )
    return grid


def hops_grid(report: Report, run: Decoded) -> Grid:
    """One line a router that was asked; marked where the loss shows first."""
    result: LossResult = run.value
    owners = {str(known): found for known, found in report.owners.items()}
    numbers = [Column(name, right=True) for name in ("asked", "lost", "95 % interval")]
    place = [Column("hop", right=True), Column("address"), Column("AS", gives=True)]
    grid = Grid([*place, *numbers, Column(""), Column("")])
    for hop in result.hops:
        where = address(hop.address)
        grid.add(
            str(hop.ttl),
            where,
            owner(owners.get(where)),
            str(hop.asked),
            percent(hop.loss_ratio) if hop.answered else "",
            _interval(hop.loss_low_ratio, hop.loss_high_ratio) if hop.answered else "",
            _SHOWS.get(hop.shows, ""),
            "rate-limited" if hop.rate_limited else "",
            marked=starts_here(hop, result),
        )
    return grid


def shows(hop: LossHop) -> str:
    """What a hop says of the loss, in words; empty where that is nothing."""
    words = [_SHOWS.get(hop.shows, ""), "rate-limited" if hop.rate_limited else ""]
    return ", ".join(word for word in words if word)


def starts_here(hop: LossHop, result: LossResult) -> bool:
    """Whether the loss begins on the link to this hop."""
    return _is_found(result) and hop.ttl == result.begins.to_ttl


def _where(report: Report, run: Decoded) -> str:
    result: LossResult = run.value
    if result.rate_limited_suspected:
        return "but the destination seems to ration its answers, so nothing follows about the path"
    if not result.hops:
        return "routers were not asked, so where is not known"
    if not result.HasField("begins"):
        return "too few to say where"
    if not _is_found(result):
        return "where it begins could not be told"
    place = result.begins
    start = address(place.from_address) if place.from_ttl else _host(report, run)
    end = address(place.to_address)
    if place.to_ttl - place.from_ttl == 1:
        words = f"it begins on the link {start} → {end}"
    else:
        after = f"hop {place.from_ttl} ({start})" if place.from_ttl else start
        until = f"hop {place.to_ttl} ({end})" if place.to_ttl else end
        words = f"it begins between {after} and {until}"
    if result.HasField("more_behind_ttl"):
        words += f", and more is lost behind hop {result.more_behind_ttl}"
    return words


def _is_found(result: LossResult) -> bool:
    """Whether the place is narrower than the whole path."""
    if not result.HasField("begins"):
        return False
    place = result.begins
    whole = not place.from_ttl and place.to_ttl in {0, result.hop_count}
    return not whole or place.to_ttl == 1


def _between(place: LossPlace) -> str:
    return f"hop {place.from_ttl} → {place.to_ttl or 'end'}"


def _pattern(result: LossResult) -> str:
    if result.loss_max_run < 2:
        return ""
    return f", up to {result.loss_max_run} in a row"


def _interval(low: float, high: float) -> str:
    return f"{percent(low).removesuffix(' %')} to {percent(high)}"


def _host(report: Report, run: Decoded) -> str:
    return "this host" if report.upstream else report.agent_name(run.run.run.agent_id)
