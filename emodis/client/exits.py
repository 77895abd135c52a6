"""The exit codes of DESIGN.md section 9. Light on purpose: `--help` loads it.

Which outcome has which code is decided in `verdict`, in one place.
"""

from __future__ import annotations

import enum


class Exit(enum.IntEnum):
    """What the shell is told."""

    OK = 0
    # Measured, but all runs failed, or a `--fail-if` held; also an internal error.
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    REFUSED = 4
    NO_AGENT = 5
    PARTIAL = 6
    INTERRUPTED = 130


class Trouble(Exception):
    """An expected bad end: one line for the user, and the exit code."""

    def __init__(self, text: str, code: Exit) -> None:
        super().__init__(text)
        self.code = code


class Interrupted(Exception):
    """The user wants to leave, and nobody is there to wind up first."""
