"""Options that several commands share. Light on purpose: `--help` loads it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from emodis.client.config import FORMATS
from emodis.client.exits import Exit, Trouble
from emodis.client.shell import Shell
from emodis.techniques import installed

F = TypeVar("F", bound=Callable[..., Any])

# Said in help texts without loading them; a test compares with the registry.
TECHNIQUES = ("ping", "traceroute", "pathneck", "igi", "broute", "loss")
OPTIONS_EPILOG = (
    "A technique's parameters are given by -o name=value, as often as needed; "
    "`-o help` lists them with their ranges."
)


def _noted(name: str) -> Callable[[click.Context, click.Parameter, Any], Any]:
    def note(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
        if value is not None and value is not False:
            shell = context.find_object(Shell)
            assert shell is not None
            shell.note(**{name: value})
        return value

    return note


def _flag(*declaration: str, note: str, **attributes: Any) -> Callable[[F], F]:
    return click.option(*declaration, callback=_noted(note), expose_value=False, **attributes)


def general_options(command: F) -> F:
    """Where the master is and how much to say; these stand before or after the command's name."""
    command = as_map_option(verbose_option(command))
    command = _flag(
        "--insecure",
        is_flag=True,
        note="insecure",
        help="Allow plaintext to private and lab addresses.",
    )(command)
    return _flag(
        "--master",
        metavar="URI",
        note="master",
        help="The master: HOST[:PORT], emodis://HOST:PORT or tcp://HOST:PORT.",
    )(command)


def verbose_option(command: F) -> F:
    """How much to say."""
    return _flag("-v", "--verbose", is_flag=True, note="verbose", help="Say more on stderr.")(
        command
    )


def as_map_option(command: F) -> F:
    """Whose addresses those are."""
    return _flag(
        "--as-map", metavar="FILE", note="as_map", help="MMDB file that maps addresses to ASes."
    )(command)


def names_option(command: F) -> F:
    """Whether to look hops up."""
    return _flag(
        "-n",
        "--no-names",
        is_flag=True,
        note="no_names",
        help="Do not look up the host names of hops.",
    )(command)


def format_option(command: F) -> F:
    """How to print."""
    return _flag(
        "--format", type=click.Choice(FORMATS), note="format", help="What stdout gets [table]."
    )(command)


class _TechniqueOption(click.Option):
    """Its help also names what other packages bring, looked up when help is shown."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        plugins, _ = installed.found(TECHNIQUES)
        self.help = f"The technique: {', '.join((*TECHNIQUES, *plugins))}; help describes them."
        return super().get_help_record(ctx)


def technique_option(command: F) -> F:
    """What to measure."""
    return click.option("--tech", metavar="T", required=True, cls=_TechniqueOption)(command)


def ipv6_option(command: F) -> F:
    """Which address of a name."""
    return click.option(
        "-6", "ipv6", is_flag=True, help="Measure the IPv6 address of names that have both."
    )(command)


def parameter_option(command: F) -> F:
    """How to measure it."""
    return click.option(
        "-o",
        "parameters",
        metavar="NAME=VALUE",
        multiple=True,
        help="A parameter of the technique; -o help lists them.",
    )(command)


def fail_if_option(command: F) -> F:
    """When to exit with 1."""
    return click.option(
        "--fail-if",
        "fail_if",
        metavar="EXPR",
        multiple=True,
        help="Exit with 1 when this holds for any run, for example loss>1%.",
    )(command)


def observations_option(command: F) -> F:
    """Also what the estimators saw."""
    return click.option(
        "--observations", is_flag=True, help="Every probe too; only with --format json."
    )(command)


def plot_option(command: F) -> F:
    """Look at it rather than read it."""
    return click.option(
        "--plot",
        is_flag=True,
        help="Draw gaps, RTTs, paths, phases, losses or branches, not tables.",
    )(command)


def pairs(parameters: tuple[str, ...]) -> dict[str, str]:
    """`-o` texts by name.

    Raises:
        Trouble: (usage) for one without `=`, or a name given twice.
    """
    found: dict[str, str] = {}
    for text in parameters:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or not name:
            raise Trouble(f"-o {text!r} is not NAME=VALUE; -o help lists the names", Exit.USAGE)
        if name in found:
            raise Trouble(f"-o {name} is given twice", Exit.USAGE)
        found[name] = value
    return found
