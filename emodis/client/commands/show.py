"""`emodis-client show`."""

from __future__ import annotations

import click

from emodis.client.options import format_option, general_options
from emodis.client.shell import Shell


@click.command("show")
@click.argument("run", metavar="[RUN]", default="")
@click.option("--probes", is_flag=True, help="A line for every probe, too.")
@click.option(
    "--re-estimate",
    "file",
    metavar="FILE",
    help="Estimate again from a file of results, and say what differs; - is stdin.",
)
@format_option
@general_options
@click.pass_obj
def show_command(shell: Shell, *, run: str, probes: bool, file: str | None) -> int:
    """Show one run in full, or estimate stored results again.

    RUN is ID/AGENT/DEST/ROUND, each part only as far as it is needed: the measurement, the agent
    by id or place, the destination by name or address, the round.

    FILE is what `results ID --observations --format json` or `measure --observations --format
    json` has printed. Exits with 1 when a number comes out differently.
    """
    from emodis.client import showing

    if bool(run) == bool(file):
        raise click.UsageError("give either a RUN or --re-estimate FILE")
    if file:
        return showing.re_estimate(shell, file)
    return showing.one_run(shell, run, probes=probes)
