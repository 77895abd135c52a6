"""Which run of a measurement is meant: ID/AGENT/DEST/ROUND, each part as far as it is needed. Pure.

An agent is named by the beginning of its id or by its place, a destination by name, address or
number.
"""

from __future__ import annotations

import attrs

from emodis.client.exits import Exit, Trouble
from emodis.client.render.words import address
from emodis.client.report import Report
from emodis.wire.v1.client_pb2 import Result

_PARTS = 4
_LISTED = 8


@attrs.frozen
class RunName:
    """What was said; an empty part is any."""

    measurement_id: str
    agent: str = ""
    destination: str = ""
    round: str = ""


def parse(text: str) -> RunName:
    """Take `ID[/AGENT[/DEST[/ROUND]]]` apart.

    Raises:
        Trouble: (usage) if it is none.
    """
    parts = text.split("/")
    if len(parts) > _PARTS or not parts[0] or (len(parts) == _PARTS and not _is_round(parts[3])):
        raise Trouble(f"{text!r} names no run; write ID/AGENT/DEST/ROUND", Exit.USAGE)
    return RunName(*parts)


def choose(report: Report, wanted: RunName) -> Result:
    """The run that is meant.

    Raises:
        Trouble: (usage) if there is none, or several; the text lists them.
    """
    found = [result for result in report.ordered if _fits(report, result, wanted)]
    if len(found) == 1:
        return found[0]
    listed = found or report.ordered
    names = "".join(f"\n  {name_of(report, result)}" for result in listed[:_LISTED])
    more = f"\n  … and {len(listed) - _LISTED} more" if len(listed) > _LISTED else ""
    if found:
        raise Trouble(f"{len(found)} runs are called so; say which:{names}{more}", Exit.USAGE)
    if not listed:
        raise Trouble("that measurement has no run yet", Exit.USAGE)
    raise Trouble(f"no run is called so; there are:{names}{more}", Exit.USAGE)


def name_of(report: Report, result: Result) -> str:
    """A name that only this run has."""
    run = result.run
    target = report.target(run.destination)
    where = target.name or address(target.address)
    if where == "*" or [t.name for t in report.targets].count(target.name) > 1:
        where = str(run.destination)
    return f"{report.measurement_id}/{run.agent_id}/{where}/{run.round}"


def _fits(report: Report, result: Result, wanted: RunName) -> bool:
    run = result.run
    target = report.target(run.destination)
    places = {target.name, address(target.address), str(run.destination)}
    return (
        _is_agent(report, run.agent_id, wanted.agent)
        and (not wanted.destination or wanted.destination in places)
        and (not wanted.round or int(wanted.round) == run.round)
    )


def _is_agent(report: Report, agent_id: str, said: str) -> bool:
    return agent_id.startswith(said) or report.agent_name(agent_id) == said


def _is_round(text: str) -> bool:
    return not text or (text.isascii() and text.isdecimal())
