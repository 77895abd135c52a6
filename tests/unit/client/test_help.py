from __future__ import annotations

import subprocess
import sys

import click
import pytest

from emodis.client.app import cli
from emodis.client.options import TECHNIQUES
from emodis.techniques import registry
from tests.unit.client.golden import check

COMMANDS = ("", "request", "measure", "agents", "status", "results", "show", "cancel", "doctor")
HEAVY = ("twisted", "google.protobuf", "rich", "scapy", "automat", "maxminddb", "asyncio")


def help_of(command: str, width: int) -> str:
    group = click.Context(
        cli, info_name="emodis-client", terminal_width=width, **cli.context_settings
    )
    if not command:
        return cli.get_help(group) + "\n"
    found = cli.get_command(group, command)
    assert found is not None
    inner = click.Context(found, parent=group, info_name=command, terminal_width=width)
    return found.get_help(inner) + "\n"


@pytest.mark.parametrize("width", [80, 140])
@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_as_recorded(command: str, width: int) -> None:
    check(f"help{'_' if command else ''}{command}_{width}.txt", help_of(command, width))


def test_help_names_the_techniques_that_there_are() -> None:
    assert sorted(TECHNIQUES) == sorted({*registry.TECHNIQUES, *registry.PLANS})


def test_help_loads_nothing_heavy() -> None:
    """This is what keeps it below half a second; a clock in a test would only be noise."""
    code = (
        "import sys; from emodis.client.app import cli, run; "
        "cli.main(['request', '--help'], standalone_mode=False); "
        f"sys.exit(','.join(m for m in {HEAVY!r} if m in sys.modules) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr == ""
    assert done.returncode == 0
    assert "--tech" in done.stdout
