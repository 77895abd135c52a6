"""`emodis-client status`."""

from __future__ import annotations

import click

from emodis.client.options import format_option, general_options
from emodis.client.shell import Shell


@click.command("status")
@click.argument("measurement_id", metavar="[ID]", default="")
@format_option
@general_options
@click.pass_obj
def status_command(shell: Shell, *, measurement_id: str) -> int:
    """Say how the master is, or how measurement ID gets on."""
    from emodis.client import service, verdict
    from emodis.client.measuring import complain
    from emodis.client.render import as_json
    from emodis.client.render.directory import measurements_grid, status_lines
    from emodis.client.render.tables import console, show_grid

    settings = shell.settings
    found = shell.runtime(settings).run(lambda desk: service.status(desk, measurement_id))
    complain(shell, found.finish)
    if found.status is None:
        return verdict.of_finish(found.finish)
    if settings.format == "json":
        click.echo(as_json.status(found.status))
        return verdict.of_finish(found.finish)
    if not measurement_id:
        for line in status_lines(found.status):
            click.echo(line)
    if found.status.measurements:
        show_grid(measurements_grid(found.status), console())
    return verdict.of_finish(found.finish)
