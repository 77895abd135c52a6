"""`emodis-client cancel`."""

from __future__ import annotations

import click

from emodis.client.options import general_options
from emodis.client.shell import Shell


@click.command("cancel")
@click.argument("measurement_id", metavar="ID")
@general_options
@click.pass_obj
def cancel_command(shell: Shell, *, measurement_id: str) -> int:
    """Stop measurement ID; what it has found so far stays."""
    from emodis.client import service, verdict
    from emodis.client.measuring import complain

    finish = shell.runtime(shell.settings).run(lambda desk: service.cancel(desk, measurement_id))
    complain(shell, finish)
    code = verdict.of_finish(finish)
    if not code:
        shell.say(f"{measurement_id} is cancelled.")
    return code
