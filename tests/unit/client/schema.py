"""As much of JSON Schema as our published schemas use; an unknown keyword fails the test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[3] / "docs" / "schema"
_KNOWN = {
    "$schema",
    "$id",
    "$ref",
    "$defs",
    "title",
    "description",
    "type",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "enum",
    "const",
    "minimum",
    "anyOf",
}


def load(name: str) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((FOLDER / name).read_text(encoding="utf-8"))
    return schema


def problems(value: Any, schema: Any, root: dict[str, Any], at: str = "$") -> list[str]:
    """Everything about the value that the schema does not allow."""
    unknown = set(schema) - _KNOWN
    assert not unknown, f"{at}: the checker does not know {unknown}"
    if "$ref" in schema:
        return problems(value, root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root, at)
    if "anyOf" in schema:
        attempts = [problems(value, one, root, at) for one in schema["anyOf"]]
        return [] if [] in attempts else min(attempts, key=len)
    if "const" in schema and value != schema["const"]:
        return [f"{at} is not {schema['const']!r}"]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{at}: {value!r} is none of {schema['enum']}"]
    if "type" in schema and not _is(value, schema["type"]):
        return [f"{at}: {value!r} is not {schema['type']}"]
    if "minimum" in schema and value is not None and value < schema["minimum"]:
        return [f"{at}: {value!r} is below {schema['minimum']}"]
    found: list[str] = []
    if isinstance(value, dict):
        found += _object(value, schema, root, at)
    if isinstance(value, list) and "items" in schema:
        for number, item in enumerate(value):
            found += problems(item, schema["items"], root, f"{at}[{number}]")
    return found


def _object(value: dict[str, Any], schema: Any, root: dict[str, Any], at: str) -> list[str]:
    named = schema.get("properties", {})
    other = schema.get("additionalProperties", True)
    found = [f"{at} lacks {name}" for name in schema.get("required", ()) if name not in value]
    for name, item in value.items():
        if name in named:
            found += problems(item, named[name], root, f"{at}.{name}")
        elif other is False:
            found.append(f"{at} has an unpublished {name}")
        elif isinstance(other, dict):
            found += problems(item, other, root, f"{at}.{name}")
    return found


def _is(value: Any, kinds: str | list[str]) -> bool:
    for kind in [kinds] if isinstance(kinds, str) else kinds:
        match kind:
            case "null":
                fits = value is None
            case "boolean":
                fits = isinstance(value, bool)
            case "integer":
                fits = isinstance(value, int) and not isinstance(value, bool)
            case "number":
                fits = isinstance(value, int | float) and not isinstance(value, bool)
            case "string":
                fits = isinstance(value, str)
            case "array":
                fits = isinstance(value, list)
            case "object":
                fits = isinstance(value, dict)
            case _:
                raise AssertionError(f"no such type {kind}")
        if fits:
            return True
    return False
