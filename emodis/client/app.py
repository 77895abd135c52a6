"""Entry point of `emodis-client`: the only module of this package that meets the real reactor.

Nothing heavy is imported before a command runs, so `--help` answers at once.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from emodis import __version__
from emodis.client.commands.agents import agents_command
from emodis.client.commands.cancel import cancel_command
from emodis.client.commands.doctor import doctor_command
from emodis.client.commands.measure import measure_command
from emodis.client.commands.request import request_command
from emodis.client.commands.results import results_command
from emodis.client.commands.show import show_command
from emodis.client.commands.status import status_command
from emodis.client.config import Settings
from emodis.client.exits import Exit, Interrupted, Trouble
from emodis.client.options import general_options
from emodis.client.shell import Shell

if TYPE_CHECKING:
    from emodis.client.desk import Runtime


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@general_options
@click.version_option(__version__, prog_name="emodis-client")
def cli() -> None:
    """Measure and diagnose your end of the Internet from many vantage points.

    The master is found by --master, else EMODIS_MASTER, else `master = "HOST"` in
    ~/.config/emodis/client.toml.

    \b
    Exit codes: 0 all is well · 1 all runs failed or a --fail-if held · 2 usage ·
    3 no master · 4 refused · 5 no agent · 6 partial · 130 interrupted
    """


for command in (
    request_command,
    measure_command,
    agents_command,
    status_command,
    results_command,
    show_command,
    cancel_command,
    doctor_command,
):
    cli.add_command(command)


def run(arguments: Sequence[str], shell: Shell) -> int:
    """One invocation; whatever happens ends as one line on stderr and an exit code."""
    try:
        code = cli.main(
            args=list(arguments), prog_name="emodis-client", standalone_mode=False, obj=shell
        )
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except Trouble as trouble:
        shell.say(f"emodis-client: {trouble}")
        return trouble.code
    except (click.Abort, KeyboardInterrupt, Interrupted):
        shell.say("emodis-client: interrupted")
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # Whoever read stdout has gone; the interpreter's own last flush must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.FAILED
    except Exception as error:
        return _internal(error, shell)
    return int(code or 0)


def _internal(error: Exception, shell: Shell) -> int:
    """The last resort: nobody expected this, and a user cannot do much with a traceback."""
    what = str(error) or type(error).__name__
    if shell.flags.verbose:
        shell.say("".join(traceback.format_exception(error)).rstrip())
    first = what.splitlines()[0]
    shell.say(f"emodis-client: internal error: {first}; run with -v for details")
    return Exit.FAILED


def reactor_runtime(settings: Settings) -> Runtime:
    """The real thing, loaded when it is needed."""
    from twisted.internet import reactor
    from twisted.internet.base import ReactorBase

    from emodis.client.runtime import ReactorRuntime

    assert isinstance(reactor, ReactorBase)
    return ReactorRuntime(reactor, settings)


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:], Shell(os.environ, reactor_runtime, time.monotonic)))


if __name__ == "__main__":
    main()
