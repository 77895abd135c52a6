"""Run the estimator again on stored observations, and say what differs. Pure.

Only what the file says is compared: a field that a newer estimator has added is no difference.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from emodis.client.render.plain import plain, word
from emodis.client.stored import StoredRun
from emodis.techniques.base import BadParameters, Measured
from emodis.wire.v1.common_pb2 import End, Quality

# Sums of floats may come out differently in their last digits on another machine.
_RELATIVE_TOLERANCE = 1e-9


@attrs.frozen
class Difference:
    """One field, as printed then and as estimated now; JSON values."""

    field: str
    stored: Any
    now: Any


@attrs.frozen(kw_only=True)
class Comparison:
    """One run, estimated again. `skipped` says why it was not, else it is empty."""

    run: StoredRun
    skipped: str = ""
    # As it would be printed today; None where nothing could be estimated.
    result: dict[str, Any] | None = None
    differences: tuple[Difference, ...] = ()


def compare(run: StoredRun) -> Comparison:
    """Estimate again and compare."""
    if run.observations is None:
        return Comparison(run=run, skipped="it has no observations")
    try:
        measured = run.technique.estimate(run.call, run.observations)
    except BadParameters as error:
        return Comparison(run=run, skipped=f"its parameters are refused now: {error}")
    except ValueError as error:
        return Comparison(run=run, skipped=f"its observations cannot be: {error}")
    now = _as_printed(measured)
    # A run that was cut off from outside ended otherwise than its estimator says.
    names = now.keys() if run.end == "done" or now["end"] != "done" else ("result",)
    then = {
        "end": run.end,
        "reason": run.reason,
        "quality": run.quality,
        "result": run.result,
    }
    found = (d for name in names for d in _differences(then[name], now[name], name))
    return Comparison(run=run, result=now["result"], differences=tuple(found))


def _as_printed(measured: Measured) -> dict[str, Any]:
    ending = measured.ending
    return {
        "end": word(End.DESCRIPTOR, ending.end),
        "reason": ending.reason,
        "quality": word(Quality.Word.DESCRIPTOR, measured.quality.word),
        "result": None if measured.result is None else plain(measured.result),
    }


def _differences(stored: Any, now: Any, at: str) -> Iterator[Difference]:
    if isinstance(stored, dict) and isinstance(now, dict):
        for name in stored:
            yield from _differences(stored[name], now.get(name), f"{at}.{name}")
    elif _are_lists(stored, now) and len(stored) == len(now):
        for place, (one, other) in enumerate(zip(stored, now, strict=True)):
            yield from _differences(one, other, f"{at}[{place}]")
    elif not _same(stored, now):
        yield Difference(at, stored, now)


def _are_lists(stored: Any, now: Any) -> bool:
    return isinstance(stored, Sequence) and isinstance(now, list) and not isinstance(stored, str)


def _same(stored: Any, now: Any) -> bool:
    if isinstance(stored, float) and isinstance(now, float):
        return math.isclose(stored, now, rel_tol=_RELATIVE_TOLERANCE)
    return bool(stored == now)
