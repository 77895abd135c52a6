"""A report's bodies as the techniques' own messages; what does not decode is left out."""

from __future__ import annotations

from typing import Any

import attrs

from emodis.client.report import Report
from emodis.techniques import registry
from emodis.wire.v1.client_pb2 import Result


@attrs.frozen
class Decoded:
    """A run and what came of it."""

    run: Result
    # The technique's result message.
    value: Any


def decode(result: Result) -> Any | None:
    """The technique's result message; None without one, or where this version cannot read it."""
    if not result.outcome.HasField("result"):
        return None
    body = result.outcome.result
    try:
        return registry.get(body.technique).result(body)
    except ValueError:
        # UnknownTechnique is one, too.
        return None


def decoded(
    report: Report, destination: int | None = None, *, failed_too: bool = False
) -> list[Decoded]:
    """Every run of this destination (None: of all) that has a readable result, in order.

    `failed_too`: also what was left by runs that did not come off (a ping that nobody answered).
    """
    found = []
    for result in report.ordered if failed_too else report.done:
        if destination is not None and result.run.destination != destination:
            continue
        value = decode(result)
        if value is not None:
            found.append(Decoded(result, value))
    return found
