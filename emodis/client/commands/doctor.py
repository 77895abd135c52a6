"""`emodis-client doctor`."""

from __future__ import annotations

import click

from emodis.client.options import general_options
from emodis.client.shell import Shell


@click.command("doctor")
@general_options
@click.pass_obj
def doctor_command(shell: Shell) -> int:
    """Say what this host can measure, what is missing for more, and whether the master answers.

    Exit code 0 also where something is missing, 1 if nothing can be measured from here, 3 if the
    master that is named does not answer.
    """
    from emodis.client import service
    from emodis.client.doctor import master_ability
    from emodis.client.exits import Exit
    from emodis.prober import abilities

    found = abilities.abilities()
    for ability in found:
        click.echo(ability.line)
    settings = shell.settings
    if settings.master is None:
        click.echo("no master is named: `measure` needs none; for the rest, see --master")
        answers = True
    else:
        told = shell.runtime(settings).run(lambda desk: service.status(desk, ""))
        master = master_ability(settings.master, told)
        click.echo(master.line)
        answers = master.there
    if not abilities.can_measure(found):
        return Exit.FAILED
    return Exit.OK if answers else Exit.UNREACHABLE
