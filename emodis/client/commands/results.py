"""`emodis-client results`."""

from __future__ import annotations

import click

from emodis.client.options import (
    fail_if_option,
    format_option,
    general_options,
    names_option,
    observations_option,
    plot_option,
)
from emodis.client.shell import Shell


@click.command("results")
@click.argument("measurement_id", metavar="ID")
@click.option("--follow", is_flag=True, help="Stay until the measurement has ended.")
@plot_option
@observations_option
@fail_if_option
@names_option
@format_option
@general_options
@click.pass_obj
def results_command(
    shell: Shell,
    *,
    measurement_id: str,
    follow: bool,
    plot: bool,
    observations: bool,
    fail_if: tuple[str, ...],
) -> int:
    """Show what measurement ID has found so far."""
    from emodis.client.measuring import Manner, read_back

    manner = Manner(observations=observations, plot=plot)
    return read_back(shell, measurement_id, follow=follow, manner=manner, fail_if=fail_if)
