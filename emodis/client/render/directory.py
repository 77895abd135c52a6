"""Tables of agents, of a master's status, of who was chosen."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from emodis.client.render.columns import Column, Grid
from emodis.client.render.words import address, count, seconds, size
from emodis.wire.v1.client_pb2 import AgentEntry, Choice, Selected, Status


def agents_grid(agents: Sequence[AgentEntry]) -> Grid:
    """What a requester may know; addresses, load and who is here where the master tells them."""
    grid = Grid(
        [
            Column("id"),
            Column("place", gives=True),
            Column("AS", gives=True),
            Column("techniques", gives=True),
            Column("addresses", gives=True),
            Column("load", right=True),
            Column("last seen"),
        ]
    )
    for agent in sorted(agents, key=lambda agent: (not agent.online, agent.place, agent.id)):
        grid.add(
            agent.id,
            agent.place,
            f"AS{agent.asn} {agent.as_name}".rstrip() if agent.asn else "",
            ", ".join(agent.techniques),
            ", ".join(address(one) for one in agent.addresses),
            str(agent.load) if agent.online else "",
            _last_seen(agent),
        )
    return grid


def _last_seen(agent: AgentEntry) -> str:
    if agent.online or not agent.last_seen_unix_ns:
        return "now" if agent.online else ""
    return f"{datetime.fromtimestamp(agent.last_seen_unix_ns / 1e9, UTC):%Y-%m-%d %H:%M} UTC"


def status_lines(status: Status) -> list[str]:
    """The master in two lines."""
    return [
        f"{status.software}, up {seconds(status.uptime_s)}: "
        f"{count(status.agents_online, 'agent')}, {count(status.clients_online, 'client')}",
        f"{count(status.store_queue, 'result')} waiting for the disk, "
        f"loop late by {status.loop_lag_s * 1000:.0f} ms",
    ]


def measurements_grid(status: Status) -> Grid:
    """What is going on, or the one that was asked for."""
    grid = Grid(
        [
            Column("measurement"),
            Column("technique"),
            Column("state"),
            Column("runs", right=True),
            Column("destinations", gives=True),
        ]
    )
    for one in status.measurements:
        grid.add(
            one.measurement_id,
            one.technique,
            one.state,
            f"{one.runs_ended}/{one.runs_total}",
            ", ".join(target.name or address(target.address) for target in one.targets),
        )
    return grid


def estimate(selected: Selected, *, upstream: bool = False) -> str:
    """What it will cost: `3 agents, about 20 s, about 1.0 MB`."""
    here = upstream or not selected.agents
    who = "this host" if here else count(len(selected.agents), "agent")
    return f"{who}, about {seconds(selected.estimate_s)}, about {size(selected.estimate_bytes)}"


def choice(chosen: Choice) -> str:
    """Who was chosen, and why."""
    where = f" in {chosen.place}" if chosen.place else ""
    system = f" (AS {chosen.asn})" if chosen.asn else ""
    return f"  {chosen.agent_id}{where}{system}{': ' if chosen.why else ''}{chosen.why}"
