"""A daemon's log: one line per event on stderr, tracebacks only when asked for."""

from __future__ import annotations

from contextlib import suppress
from typing import TextIO

from twisted.logger import (
    ILogObserver,
    LogEvent,
    LogLevel,
    formatEvent,
    formatTime,
    globalLogBeginner,
)
from twisted.python.failure import Failure
from zope.interface import implementer


@implementer(ILogObserver)
class OneLine:
    """Prints what our own loggers say; of others only warnings and worse."""

    def __init__(self, stream: TextIO, *, verbose: bool) -> None:
        self._stream = stream
        self._verbose = verbose

    def __call__(self, event: LogEvent) -> None:
        level = event.get("log_level", LogLevel.info)
        ours = str(event.get("log_namespace", "")).startswith("emodis")
        floor = LogLevel.debug if self._verbose else LogLevel.info if ours else LogLevel.warn
        if level < floor:
            return
        failure = event.get("log_failure")
        text = formatEvent(event)
        if isinstance(failure, Failure):
            text = f"{text.strip()}: {type(failure.value).__name__}: {failure.getErrorMessage()}"
            if self._verbose:
                text += "\n" + failure.getTraceback()
        if not self._verbose:
            text = " ".join(text.split())
        when = f"{formatTime(event.get('log_time'))} " if self._verbose else ""
        mark = "" if level <= LogLevel.info else f"{level.name}: "
        # Nobody reads stderr any more: that is no reason to stop.
        with suppress(OSError):
            self._stream.write(f"{when}{mark}{text}\n")
            self._stream.flush()


def begin_logging(stream: TextIO, *, verbose: bool) -> None:
    """Send everything that is logged in this process to `stream`."""
    globalLogBeginner.beginLoggingTo(
        [OneLine(stream, verbose=verbose)], redirectStandardIO=False, discardBuffer=True
    )
