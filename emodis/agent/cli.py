"""`emodis-agent`: flags to Settings, and the exit code. The reactor is loaded when it is needed."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

import click

from emodis import __version__
from emodis.agent.config import BadConfig, Settings, load_settings
from emodis.agent.greeting import forbidden_master
from emodis.techniques import registry

EXIT_FAILED = 1
EXIT_USAGE = 2


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="emodis-agent")
def main() -> None:
    """An agent of Emodis: a vantage point that measures what its master asks for."""


@main.command("run")
@click.option("--master", metavar="URI", help="HOST[:PORT], emodis://HOST:PORT or tcp://HOST:PORT.")
@click.option("--state-dir", metavar="DIR", help="Where this agent's identity is kept.")
@click.option("--config", metavar="FILE", help="agent.toml to read.")
@click.option("--place", metavar="TEXT", help="Where this agent stands, for people.")
@click.option("--tag", "tags", metavar="T", multiple=True, help="A label to select by; repeatable.")
@click.option(
    "--allow",
    metavar="TECHNIQUE",
    multiple=True,
    help="Run only this one; repeatable. Plug-ins run only if named. [all built-in ones]",
)
@click.option(
    "--bytes-per-day", metavar="N", type=click.IntRange(min=0), help="Send no more; 0 = no limit."
)
@click.option(
    "--bytes-per-run", metavar="N", type=click.IntRange(min=0), help="Send no more; 0 = no limit."
)
@click.option(
    "--runs-per-hour", metavar="N", type=click.IntRange(min=0), help="Run no more; 0 = no limit."
)
@click.option(
    "--pcap", metavar="DIR", help="Keep a capture of each run there, 256 MiB of the newest."
)
@click.option(
    "--insecure",
    is_flag=True,
    default=None,
    help="Talk in plaintext to private and lab addresses too, not only to this machine.",
)
@click.option("-v", "--verbose", is_flag=True, help="More log lines, with times and tracebacks.")
def run_command(verbose: bool, **flags: object) -> None:
    """Run in the foreground until SIGTERM or ^C.

    Every flag can also be set in agent.toml, or in the environment as EMODIS_AGENT_ and its name
    (EMODIS_AGENT_BYTES_PER_DAY; EMODIS_AGENT_TAGS and EMODIS_AGENT_ALLOW take commas). A flag goes
    before the environment, that before the file.
    """
    try:
        settings = _settings(flags)
    except BadConfig as error:
        click.echo(f"emodis-agent: {error}", err=True)
        sys.exit(EXIT_USAGE)
    from emodis.agent.app import run

    sys.exit(run(settings, verbose=verbose))


@main.command("doctor")
@click.option("--master", metavar="URI", help="HOST[:PORT], emodis://HOST:PORT or tcp://HOST:PORT.")
@click.option("--config", metavar="FILE", help="agent.toml to read.")
@click.option(
    "--insecure",
    is_flag=True,
    default=None,
    help="Talk in plaintext to private and lab addresses too, not only to this machine.",
)
def doctor_command(**flags: object) -> None:
    """Say what this host can measure, what is missing for more, and whether its master answers.

    Exit code 0 also where something is missing that an agent can do without, 1 if it cannot
    measure at all or its master does not answer, 2 for a mistake in its configuration.
    """
    from emodis.agent.doctor import master_ability
    from emodis.prober.abilities import abilities, can_measure

    found = abilities()
    for ability in found:
        click.echo(ability.line)
    try:
        master = master_ability(_settings(flags).master)
    except BadConfig as error:
        click.echo(f"emodis-agent: {error}", err=True)
        sys.exit(EXIT_USAGE)
    click.echo(master.line)
    sys.exit(0 if master.there and can_measure(found) else EXIT_FAILED)


def _settings(flags: Mapping[str, object]) -> Settings:
    settings = load_settings(
        flags=flags,
        environment=os.environ,
        is_root=os.geteuid() == 0,
        known_techniques=registry.TECHNIQUES,
        plugins=registry.PLUGINS.installed,
    )
    forbidden = forbidden_master(settings.master.host, insecure=settings.insecure)
    if forbidden is not None:
        raise BadConfig(forbidden)
    return settings
