"""Build and validate a request before any master hears of it. Pure.

Parameters are checked by the technique itself, so that bad ones never leave this host.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import attrs

from emodis.client.exits import Exit, Trouble
from emodis.techniques import registry
from emodis.techniques.base import BadParameters, Option, Technique
from emodis.wire.framing import CAP_BYTES
from emodis.wire.v1.client_pb2 import (
    DIRECTION_DOWNSTREAM,
    DISCIPLINE_RAN,
    DISCIPLINE_SYN,
    POLICY_LOCK,
    POLICY_RING,
    Agents,
    All,
    Any,
    Auto,
    Discipline,
    Ids,
    Policy,
    Request,
    Schedule,
)
from emodis.wire.v1.common_pb2 import Body

_DISCIPLINES: Mapping[str, Discipline.ValueType] = {
    "syn": DISCIPLINE_SYN,
    "ran": DISCIPLINE_RAN,
}
_POLICIES: Mapping[str, Policy.ValueType] = {"ring": POLICY_RING, "lock": POLICY_LOCK}
_NAME = re.compile(r"[A-Za-z0-9._:%-]{1,253}")


@attrs.frozen(kw_only=True)
class Wishes:
    """What the user said, as said."""

    technique: str
    options: Mapping[str, str] = attrs.field(factory=dict)
    destinations: tuple[str, ...] = ()
    # 6, or 0 = IPv4 where there is a choice.
    family: int = 0
    agents: str = "AUTO"
    schedule: str | None = None
    policy: str | None = None
    min_agents: int = 0
    timeout_s: float = 0.0
    detach: bool = False
    dry_run: bool = False


def technique_named(name: str) -> Technique:
    """A technique of this installation.

    Raises:
        Trouble: (usage) for any other name; the text lists those that there are.
    """
    try:
        return registry.get(name)
    except registry.UnknownTechnique as error:
        raise Trouble(str(error), Exit.USAGE) from error


def call(technique: Technique, options: Mapping[str, str]) -> Body:
    """The technique's call, defaults filled in.

    Raises:
        Trouble: (usage) for a bad parameter; the text lists all parameters with their ranges.
    """
    try:
        return technique.call(options)
    except BadParameters as error:
        listed = "".join(f"\n  {line}" for line in option_lines(technique.options()))
        raise Trouble(
            f"{error}\nParameters of {technique.NAME} (-o name=value):{listed}", Exit.USAGE
        ) from error


def option_lines(options: Sequence[Option]) -> list[str]:
    """One line a parameter, aligned."""
    width = max((len(option.name) for option in options), default=0)
    return [
        f"{option.name:<{width}}  {option.help} ({_range(option)}; default {_word(option.default)})"
        for option in options
    ]


def technique_lines() -> tuple[list[str], tuple[str, ...]]:
    """One line a technique, and one for each plug-in that cannot be used."""
    working, complaints = registry.usable(registry.names())
    width = max(len(name) for name in working)
    lines = [
        f"{name:<{width}}  {technique.SUMMARY}{_origin(name)}"
        for name, technique in working.items()
    ]
    return lines, complaints


def build(wishes: Wishes, call: Body, idempotency: bytes) -> Request:
    """The message to the master.

    Raises:
        Trouble: (usage) for names or agents that cannot be meant.
    """
    for name in wishes.destinations:
        check_name(name)
    schedule = Schedule()
    if wishes.schedule is not None:
        schedule.discipline = _DISCIPLINES[wishes.schedule]
    if wishes.policy is not None:
        schedule.policy = _POLICIES[wishes.policy]
    request = Request(
        idempotency=idempotency,
        call=call,
        direction=DIRECTION_DOWNSTREAM,
        destinations=wishes.destinations,
        family=wishes.family,
        agents=agents(wishes.agents),
        schedule=schedule,
        min_agents=wishes.min_agents,
        timeout_s=wishes.timeout_s,
        detach=wishes.detach,
        dry_run=wishes.dry_run,
    )
    if request.ByteSize() > CAP_BYTES // 2:
        raise Trouble("too many destinations for one request; split it", Exit.USAGE)
    return request


def agents(text: str) -> Agents:
    """`AUTO`, `ALL`, `ANY` (in any case) or ids separated by commas."""
    match text.upper():
        case "AUTO":
            return Agents(auto=Auto())
        case "ALL":
            return Agents(all=All())
        case "ANY":
            return Agents(any=Any())
        case _:
            ids = [part.strip() for part in text.split(",")]
            if not all(ids):
                raise Trouble(
                    f"--agents {text!r} has an empty id; write AUTO, ALL, ANY or ID,ID,…",
                    Exit.USAGE,
                )
            return Agents(ids=Ids(ids=ids))


def check_name(name: str) -> None:
    """Refuse what is neither a host name nor an address, before anybody resolves it."""
    if not _NAME.fullmatch(name):
        raise Trouble(f"{name!r} is neither a host name nor an address", Exit.USAGE)


def _origin(name: str) -> str:
    point = registry.PLUGINS.installed.get(name)
    if point is None:
        return ""
    return f" [{point.dist.name} {point.dist.version}]" if point.dist else f" [{point.module}]"


def _range(option: Option) -> str:
    return f"{option.bounds} {option.unit}".strip()


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)
