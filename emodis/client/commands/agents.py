"""`emodis-client agents`."""

from __future__ import annotations

import click

from emodis.client.options import TECHNIQUES, format_option, general_options
from emodis.client.shell import Shell


@click.command("agents")
@click.option(
    "--tech", default="", metavar="T", help=f"Only those with it: {', '.join(TECHNIQUES)}."
)
@format_option
@general_options
@click.pass_obj
def agents_command(shell: Shell, *, tech: str) -> int:
    """List the agents that you may ask."""
    from emodis.client import service, verdict
    from emodis.client.measuring import complain
    from emodis.client.render import as_json
    from emodis.client.render.directory import agents_grid
    from emodis.client.render.tables import console, show_grid
    from emodis.client.request import technique_named

    if tech:
        technique_named(tech)
    settings = shell.settings
    found = shell.runtime(settings).run(lambda desk: service.known_agents(desk, tech))
    complain(shell, found.finish)
    if settings.format == "json":
        click.echo(as_json.agents(found.agents))
    elif found.agents:
        show_grid(agents_grid(found.agents), console())
    elif not found.finish.text:
        shell.say("No agent is connected." if not tech else f"No agent has {tech}.")
    return verdict.of_finish(found.finish)
