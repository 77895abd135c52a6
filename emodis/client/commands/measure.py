"""`emodis-client measure`."""

from __future__ import annotations

import click

from emodis.client.options import (
    OPTIONS_EPILOG,
    as_map_option,
    fail_if_option,
    format_option,
    ipv6_option,
    names_option,
    observations_option,
    parameter_option,
    plot_option,
    technique_option,
    verbose_option,
)
from emodis.client.shell import Shell


@click.command("measure", epilog=OPTIONS_EPILOG)
@click.argument("destinations", nargs=-1, metavar="DEST...")
@technique_option
@ipv6_option
@parameter_option
@click.option("--pcap", metavar="FILE", help="Write what is sent and received to this capture.")
@plot_option
@observations_option
@fail_if_option
@names_option
@format_option
@as_map_option
@verbose_option
@click.pass_obj
def measure_command(
    shell: Shell,
    *,
    destinations: tuple[str, ...],
    tech: str,
    ipv6: bool,
    parameters: tuple[str, ...],
    pcap: str | None,
    plot: bool,
    observations: bool,
    fail_if: tuple[str, ...],
) -> int:
    """Measure from this host to DEST, with no master.

    Best as root or with CAP_NET_RAW; `emodis-client doctor` says what is missing without.
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
    )
    order = Order(
        wishes=wishes,
        direction="upstream",
        fail_if=fail_if,
        listing=listing,
        manner=Manner(observations=observations, plot=plot),
        pcap=pcap,
        agents_there=False,
    )
    return carry_out(shell, order)
