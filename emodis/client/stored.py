"""Results that were printed as JSON, read back: what an estimator needs to run again.

Nothing in the file is trusted; what does not fit is named by its place in it.
"""

from __future__ import annotations

import json
from typing import Any

import attrs

from emodis.client.render.as_json import PLUGIN, RESULTS
from emodis.client.render.plain import NotPlain, message
from emodis.techniques import registry
from emodis.techniques.base import Technique
from emodis.wire.v1.common_pb2 import Body

# Schemas with which this version's results can be read.
_READABLE = frozenset({RESULTS})


class BadStored(ValueError):
    """This is no file of results; the text says what is wrong with it."""


@attrs.frozen(kw_only=True)
class StoredRun:
    """One run of the file. Without observations there is nothing to estimate from."""

    # For a person: "m-1: ams → w1, round 0".
    label: str
    technique: Technique
    call: Body
    # Serialised; None where they were not printed.
    observations: bytes | None
    # As printed; None where nothing could be estimated.
    result: dict[str, Any] | None
    end: str
    reason: str
    quality: str


def runs(text: str) -> list[StoredRun]:
    """Every run of a file, in its order.

    Raises:
        BadStored: if it is no such file, or of a technique or schema unknown here.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadStored(f"it is not JSON: {error}") from error
    if not isinstance(document, dict) or document.get("schema") not in _READABLE:
        raise BadStored(f"it does not say that its schema is {RESULTS}")
    try:
        return [
            _run(measurement, run, f"$.measurements[{number}].runs[{place}]")
            for number, measurement in enumerate(document["measurements"])
            for place, run in enumerate(measurement["runs"])
        ]
    except (NotPlain, registry.UnknownTechnique) as error:
        raise BadStored(str(error)) from error
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise BadStored(f"it is not laid out as {RESULTS} is: {error!r}") from error


def _run(measurement: dict[str, Any], run: dict[str, Any], at: str) -> StoredRun:
    technique = registry.get(str(measurement["technique"]))
    parameters = message(_kind(technique, "CALL"), measurement["parameters"])
    observed = run.get("observations")
    return StoredRun(
        label=_label(measurement, run),
        technique=technique,
        call=Body(
            technique=technique.NAME,
            schema=technique.SCHEMA,
            body=parameters.SerializeToString(),
        ),
        observations=None
        if observed is None
        else message(
            _kind(technique, "OBSERVATIONS"), observed, f"{at}.observations"
        ).SerializeToString(),
        result=_unmarked(run["result"], technique),
        end=str(run["end"]),
        reason=str(run["reason"]),
        quality=str(run["quality"]["word"]),
    )


def _unmarked(result: dict[str, Any] | None, technique: Technique) -> dict[str, Any] | None:
    """Without the mark that as_json adds to what a plug-in found; its message has none."""
    if result is None or technique.NAME not in registry.PLUGINS.installed:
        return result
    return {name: value for name, value in result.items() if name != PLUGIN}


def _kind(technique: Technique, name: str) -> Any:
    kind = getattr(technique, name, None)
    if kind is None:
        raise BadStored(f"{technique.NAME} does not say how it stores what it observed")
    return kind


def _label(measurement: dict[str, Any], run: dict[str, Any]) -> str:
    destination = measurement["destinations"][run["destination"]]
    where = destination["name"] or destination["address"] or "the destination"
    who = run["agent_id"] or "this host"
    name = f"{measurement['measurement_id']}: " if measurement["measurement_id"] else ""
    turn = f", round {run['round']}" if run["round"] else ""
    return f"{name}{who} → {where}{turn}"
