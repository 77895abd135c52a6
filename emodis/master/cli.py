"""`emodis-master`: flags to Settings, and the exit code."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from emodis import __version__
from emodis.master.config import ENVIRONMENT, BadConfiguration, default_file, load

EXIT_USAGE = 2


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="emodis-master")
def main() -> None:
    """The master of Emodis: takes requests from clients and has agents measure."""


@main.command("run")
@click.option(
    "--config",
    "file",
    type=click.Path(path_type=Path),
    help="TOML file; default: emodis/master.toml in the XDG configuration directory, if there.",
)
@click.option("--state-dir", help="Where results are stored.")
@click.option("--listen-agents", metavar="ENDPOINT", help="Default: tcp:4710.")
@click.option("--listen-clients", metavar="ENDPOINT", help="Default: tcp:4711.")
@click.option(
    "--insecure",
    is_flag=True,
    default=None,
    help="Plaintext beyond loopback, for private and lab addresses only.",
)
@click.option("--as-map", metavar="FILE", help="MMDB file: addresses to AS numbers and names.")
@click.option(
    "--exchanges", metavar="FILE", help="Text file: prefixes of exchange points, one a line."
)
@click.option("-v", "--verbose", is_flag=True, help="More log lines, with times.")
def run_command(
    file: Path | None,
    state_dir: str | None,
    listen_agents: str | None,
    listen_clients: str | None,
    insecure: bool | None,
    as_map: str | None,
    exchanges: str | None,
    verbose: bool,
) -> None:
    """Run in the foreground until SIGTERM or ^C.

    Every flag can also be set in the file, or in the environment as EMODIS_MASTER_ and its name
    (EMODIS_MASTER_STATE_DIR); a flag goes before the environment, that before the file.
    """
    home = Path.home()
    named = file or _path(os.environ.get(f"{ENVIRONMENT}CONFIG"))
    try:
        settings = load(
            {
                "state_dir": state_dir,
                "listen_agents": listen_agents,
                "listen_clients": listen_clients,
                "insecure": insecure,
                "as_map": as_map,
                "exchanges": exchanges,
            },
            os.environ,
            named or default_file(os.environ, home),
            home,
        )
    except BadConfiguration as error:
        click.echo(f"emodis-master: {error}", err=True)
        sys.exit(EXIT_USAGE)
    # The reactor and the store are not needed for --help and mistakes.
    from emodis.master.app import run

    sys.exit(run(settings, verbose=verbose))


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None
