"""One line an event on stderr; tracebacks only of our own mistakes, and rationed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TextIO

from twisted.logger import (
    ILogObserver,
    LogEvent,
    LogLevel,
    formatEvent,
    formatTime,
    globalLogBeginner,
)
from zope.interface import implementer

from emodis.wire.complaints import Complaints

# The same mistake for each of a thousand peers must not fill a disk.
TRACEBACKS = Complaints(burst=3)


@implementer(ILogObserver)
class LineObserver:
    """Ours from info on (debug with `verbose`), everybody else's from warnings on."""

    def __init__(self, out: TextIO, clock_s: Callable[[], float], *, verbose: bool) -> None:
        self._out = out
        self._clock_s = clock_s
        self._verbose = verbose

    def __call__(self, event: LogEvent) -> None:
        level = event.get("log_level", LogLevel.info)
        ours = str(event.get("log_namespace", "")).startswith("emodis")
        least = LogLevel.info if ours else LogLevel.warn
        if not self._verbose and level < least:
            return
        text = formatEvent(event).replace("\n", " | ")
        failure = event.get("log_failure")
        if failure is not None:
            text = f"{text}: {failure.type.__name__}: {failure.getErrorMessage()}"
        stamp = f"{formatTime(event.get('log_time'))} " if self._verbose else ""
        self._print(f"{stamp}{'' if level < LogLevel.warn else f'{level.name}: '}{text}")
        if failure is not None:
            for line in TRACEBACKS.lines(self._clock_s(), failure.getTraceback()):
                self._print(line)

    def _print(self, line: str) -> None:
        # Nobody reads stderr any more: that is no reason to stop.
        try:
            self._out.write(line + "\n")
            self._out.flush()
        except OSError:
            return


def begin_logging(clock_s: Callable[[], float], *, verbose: bool) -> None:
    """Send all log events of the process to stderr."""
    globalLogBeginner.beginLoggingTo(
        [LineObserver(sys.stderr, clock_s, verbose=verbose)], redirectStandardIO=False
    )
