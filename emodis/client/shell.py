"""What every command finds in its context: flags, settings, and how to run. Light on purpose."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import attrs
import click

from emodis.client.config import Flags, Settings, settle

if TYPE_CHECKING:
    from emodis.client.desk import Runtime


@attrs.define
class Shell:
    """One invocation of the program."""

    environ: Mapping[str, str]
    runtime: Callable[[Settings], Runtime]
    # Seconds that only go forward; for the pace of progress lines.
    now_s: Callable[[], float]
    flags: Flags = attrs.field(factory=Flags)

    def note(self, **said: object) -> None:
        """A flag was given, before or after the command; what was not said changes nothing."""
        changes = {name: value for name, value in said.items() if value is not None}
        self.flags = attrs.evolve(self.flags, **changes)  # type: ignore[arg-type]

    @property
    def settings(self) -> Settings:
        """What holds, by flag, environment and file (Trouble where they make no sense)."""
        return settle(self.flags, self.environ)

    def say(self, text: str) -> None:
        """Talk goes to stderr, data to stdout."""
        click.echo(text, err=True)
