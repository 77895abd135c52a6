"""Tables of agents, of a master's status, of who was chosen."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from emodis.client.render.tables import new_table
from emodis.client.render.words import address, count, seconds, size
from emodis.wire.v1.client_pb2 import AgentEntry, Choice, Selected, Status


def agents_table(agents: Sequence[AgentEntry]) -> Table:
    """What a requester may know; addresses and load where the master tells them."""
    table = new_table()
    as_manager = any(agent.addresses for agent in agents)
    for heading in ("id", "place", "AS", "techniques"):
        table.add_column(heading, no_wrap=True, overflow="ellipsis", min_width=4)
    if as_manager:
        table.add_column("addresses", no_wrap=True, overflow="ellipsis", min_width=15)
        table.add_column("load", justify="right", no_wrap=True)
    for agent in sorted(agents, key=lambda agent: (agent.place, agent.id)):
        system = f"AS{agent.asn} {agent.as_name}".rstrip() if agent.asn else ""
        cells = [agent.id, agent.place, system, ", ".join(agent.techniques)]
        if as_manager:
            cells += [", ".join(address(a) for a in agent.addresses), str(agent.load)]
        table.add_row(*cells)
    return table


def status_lines(status: Status) -> list[str]:
    """The master in two lines."""
    return [
        f"{status.software}, up {seconds(status.uptime_s)}: "
        f"{count(status.agents_online, 'agent')}, {count(status.clients_online, 'client')}",
        f"{count(status.store_queue, 'result')} waiting for the disk, "
        f"loop late by {status.loop_lag_s * 1000:.0f} ms",
    ]


def measurements_table(status: Status) -> Table:
    """What is going on, or the one that was asked for."""
    table = new_table()
    for heading in ("measurement", "technique", "state"):
        table.add_column(heading, no_wrap=True)
    table.add_column("runs", justify="right", no_wrap=True)
    table.add_column("destinations", no_wrap=True, overflow="ellipsis", min_width=8)
    for one in status.measurements:
        places = [target.name or address(target.address) for target in one.targets]
        table.add_row(
            one.measurement_id,
            one.technique,
            one.state,
            f"{one.runs_ended}/{one.runs_total}",
            ", ".join(places),
        )
    return table


def estimate(selected: Selected, *, upstream: bool = False) -> str:
    """What it will cost: `3 agents, about 20 s, about 1.0 MB`."""
    who = "this host" if upstream else count(len(selected.agents), "agent")
    return f"{who}, about {seconds(selected.estimate_s)}, about {size(selected.estimate_bytes)}"


def choice(chosen: Choice) -> str:
    """Who was chosen, and why."""
    where = f" in {chosen.place}" if chosen.place else ""
    system = f" (AS {chosen.asn})" if chosen.asn else ""
    return f"  {chosen.agent_id}{where}{system}{': ' if chosen.why else ''}{chosen.why}"
