"""`emodis-client show`."""

from __future__ import annotations

import click

from emodis.client.options import format_option, general_options
from emodis.client.shell import Shell


@click.command("show")
@click.option(
    "--re-estimate",
    "file",
    metavar="FILE",
    required=True,
    help="Estimate again from a file of results, and say what differs; - is stdin.",
)
@format_option
@general_options
@click.pass_obj
def show_command(shell: Shell, *, file: str) -> int:
    """Run the estimators again on stored observations.

    FILE is what `results ID --observations --format json` or `measure --observations --format
    json` has printed. Exits with 1 when a number comes out differently.
    """
    from emodis.client.showing import re_estimate

    return re_estimate(shell, file)
