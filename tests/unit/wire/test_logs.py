from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from twisted.logger import Logger
from twisted.python.failure import Failure

from emodis.wire.logs import OneLine


def logged(say: Callable[[Logger], None], *, verbose: bool = False, namespace: str = "") -> str:
    out = io.StringIO()
    say(Logger(namespace or "emodis.agent", observer=OneLine(out, verbose=verbose)))
    return out.getvalue()


def fail(log: Logger) -> None:
    log.failure("cannot start", failure=Failure(RuntimeError("broken\npipe")))


def test_one_line_without_traceback() -> None:
    assert logged(fail) == "critical: cannot start: RuntimeError: broken pipe\n"


def test_the_traceback_comes_with_verbose() -> None:
    assert "Traceback" in logged(fail, verbose=True)


@pytest.mark.parametrize(
    ("namespace", "verbose", "lines"),
    [("emodis.agent", False, 2), ("twisted.web", False, 1), ("twisted.web", True, 3)],
)
def test_others_are_heard_from_warnings_on(namespace: str, verbose: bool, lines: int) -> None:
    def say(log: Logger) -> None:
        log.debug("a")
        log.info("b")
        log.warn("c")

    assert logged(say, verbose=verbose, namespace=namespace).count("\n") == lines
