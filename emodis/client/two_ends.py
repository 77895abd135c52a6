"""Techniques with two ends: what may be asked, and this host's part while it is measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from emodis.client import service
from emodis.client.desk import Desk, Partner, Prober
from emodis.client.exits import Exit, Trouble
from emodis.client.report import Report
from emodis.client.request import Wishes
from emodis.prober.driver import ProberUnavailable
from emodis.techniques.base import Peered, Technique, is_peered
from emodis.wire.v1.client_pb2 import Request, ToClient


def directed(technique: Technique, options: Mapping[str, str], direction: str) -> Mapping[str, str]:
    """The technique's options with `--direction` among them: both ends take part in any case.

    Raises:
        Trouble: (usage) if the two contradict each other.
    """
    if not is_peered(technique) or direction == "downstream":
        return options
    said = options.get("direction", direction)
    if said != direction:
        raise Trouble(
            f"--direction {direction} and -o direction={said} contradict each other; say one",
            Exit.USAGE,
        )
    return {**options, "direction": direction}


def direction_of(technique: Technique, direction: str) -> str:
    """Who has to begin: an agent, whichever way the probes go."""
    return "downstream" if is_peered(technique) else direction


def check(wishes: Wishes, technique: Technique, *, agents_there: bool) -> None:
    """An agent has to be at one end and this host at the other (Trouble)."""
    if not is_peered(technique):
        return
    name = technique.NAME
    if not agents_there:
        raise Trouble(
            f"{name} needs an agent at the other end: `emodis-client request --tech {name}`",
            Exit.USAGE,
        )
    if wishes.destinations:
        raise Trouble(
            f"{name} measures between an agent and this host; name no destination", Exit.USAGE
        )
    if wishes.detach:
        raise Trouble(f"{name} needs this host to stay; leave --detach out", Exit.USAGE)


async def ask(
    desk: Desk, wanted: Request, technique: Peered, watch: Callable[[ToClient], None]
) -> Report:
    """Have it measured; this host listens meanwhile, and sends where that is wanted.

    Raises:
        Trouble: if it can do neither.
    """
    partner = desk.partner()
    prober = desk.prober() if technique.partner_sends(wanted.call) else None
    try:
        try:
            wanted.peer.CopyFrom(partner.start())
        except OSError as error:
            raise Trouble(f"this host cannot listen: {error}", Exit.FAILED) from error
        if prober is not None:
            await _send_with(desk, partner, prober, wanted, technique)
        return await service.request(desk, wanted, watch, partner)
    finally:
        partner.stop()
        if prober is not None:
            await prober.stop()


async def _send_with(
    desk: Desk, partner: Partner, prober: Prober, wanted: Request, technique: Peered
) -> None:
    from emodis.client.pacer import Pacer

    try:
        await prober.start()
    except ProberUnavailable as error:
        raise Trouble(f"this host cannot send: {error}", Exit.FAILED) from error
    partner.send_with(
        Pacer(
            prober=prober,
            call=wanted.call,
            worst=technique.worst_case(wanted.call),
            boottime_ns=desk.boottime_ns,
        )
    )
