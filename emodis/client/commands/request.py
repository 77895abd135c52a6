"""`emodis-client request`."""

from __future__ import annotations

import click

from emodis.client.options import (
    OPTIONS_EPILOG,
    fail_if_option,
    format_option,
    general_options,
    ipv6_option,
    names_option,
    observations_option,
    parameter_option,
    plot_option,
    technique_option,
)
from emodis.client.shell import Shell


@click.command("request", epilog=OPTIONS_EPILOG)
@click.argument("destinations", nargs=-1, metavar="[DEST]...")
@technique_option
@ipv6_option
@click.option(
    "--agents",
    default="AUTO",
    metavar="WHO",
    show_default=True,
    help="AUTO (few that cover all routes), ALL, ANY (one per destination) or ID,ID,…",
)
@click.option(
    "--direction",
    type=click.Choice(["downstream", "upstream", "both"]),
    default="downstream",
    show_default=True,
    help="Agents probe the destinations, this host does, or both.",
)
@click.option("--schedule", type=click.Choice(["syn", "ran"]), help="Who times the runs.")
@click.option("--policy", type=click.Choice(["ring", "lock"]), help="The order under syn.")
@parameter_option
@click.option(
    "--min-agents",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Exit with 5 when fewer can be had.",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0, min_open=True),
    metavar="S",
    help="Seconds for all of it.",
)
@click.option("--explain", is_flag=True, help="Say why each agent was chosen, and what it covers.")
@click.option("--dry-run", is_flag=True, help="Say who would measure and what it would cost.")
@click.option("--detach", is_flag=True, help="Print the measurement's id and leave it running.")
@plot_option
@observations_option
@fail_if_option
@names_option
@format_option
@general_options
@click.pass_obj
def request_command(
    shell: Shell,
    *,
    destinations: tuple[str, ...],
    tech: str,
    ipv6: bool,
    agents: str,
    direction: str,
    schedule: str | None,
    policy: str | None,
    parameters: tuple[str, ...],
    min_agents: int,
    timeout_s: float | None,
    explain: bool,
    dry_run: bool,
    detach: bool,
    plot: bool,
    observations: bool,
    fail_if: tuple[str, ...],
) -> int:
    """Have agents measure the path towards you, or towards DEST.

    Without DEST the agents probe this host, as the master sees it.
    """
    from emodis.client.measuring import Manner, Order, carry_out
    from emodis.client.options import pairs
    from emodis.client.request import Wishes

    listing = parameters == ("help",)
    wishes = Wishes(
        technique=tech,
        options={} if listing else pairs(parameters),
        destinations=destinations,
        family=6 if ipv6 else 0,
        agents=agents,
        schedule=schedule,
        policy=policy,
        min_agents=min_agents,
        timeout_s=timeout_s or 0.0,
        detach=detach,
        dry_run=dry_run,
    )
    return carry_out(
        shell,
        Order(
            wishes=wishes,
            direction=direction,
            fail_if=fail_if,
            listing=listing,
            explain=explain,
            manner=Manner(observations=observations, plot=plot),
        ),
    )
