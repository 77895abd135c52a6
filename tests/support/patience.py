"""What a user would do: a host that says it was too busy is asked again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

ATTEMPTS = 4


def patiently(ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The first run that did not end as `self_congested`, or the last of ATTEMPTS."""
    run = ask()
    for _ in range(ATTEMPTS - 1):
        if run["reason"] != "self_congested":
            break
        run = ask()
    return run
