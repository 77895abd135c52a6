"""Parameters declared once: a default, a range, a unit and a help text on each field.

From that one declaration come `-o name=value` parsing, help, range errors, and the way into the
technique's protobuf message (whose fields have the same names) and back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import attrs
from google.protobuf.message import Message

from emodis.techniques.base import BadParameters, Option

P = TypeVar("P")
M = TypeVar("M", bound=Message)

D = TypeVar("D", int, float)

_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})


@attrs.frozen
class By(Generic[D]):
    """A default that hangs on the value of another field, declared before it."""

    field: str
    values: Mapping[str, D]
    otherwise: D

    def __call__(self, parameters: Any) -> D:
        """The default beside these parameters."""
        return self.values.get(getattr(parameters, self.field), self.otherwise)

    def __str__(self) -> str:
        """As help shows it: `0.2, udp 1`."""
        return ", ".join([f"{self.otherwise:g}", *(f"{n} {v:g}" for n, v in self.values.items())])


def whole(default: int | By[int], low: int, high: int, *, unit: str, text: str) -> Any:
    """Declare an integer field with both bounds included."""
    return _field(default, _within(low, high), unit, f"{low} to {high}", text)


def real(default: float | By[float], low: float, high: float, *, unit: str, text: str) -> Any:
    """Declare a float field with both bounds included; not-a-number is out of range."""
    return _field(default, _within(low, high), unit, f"{low:g} to {high:g}", text)


def choice(default: str, *values: str, text: str) -> Any:
    """Declare a field that takes one of a few words."""
    return _field(default, _one_of(values), "", ", ".join(values), text)


def flag(default: bool, *, text: str) -> Any:
    """Declare a yes-or-no field."""
    return _field(default, _one_of((True, False)), "", "on, off", text)


def options(cls: type[Any]) -> tuple[Option, ...]:
    """Every parameter of a parameters class, in declared order."""
    return tuple(
        Option(
            name=field.name,
            unit=field.metadata["unit"],
            default=field.metadata["default"],
            bounds=field.metadata["bounds"],
            help=field.metadata["text"],
        )
        for field in attrs.fields(cls)
    )


def parse(cls: type[P], texts: Mapping[str, str]) -> P:
    """Make the parameters from `-o` texts; what is not named keeps its default.

    Raises:
        BadParameters: for an unknown name, or a value that does not parse or is out of range.
    """
    fields = {field.name: field for field in attrs.fields(cls)}  # type: ignore[arg-type]
    for name in texts:
        if name not in fields:
            raise BadParameters(f"there is no parameter {name!r}; there are {', '.join(fields)}")
    return cls(**{name: _value(fields[name], text) for name, text in texts.items()})


def from_message(cls: type[P], message: Message) -> P:
    """Take the parameters out of their message and check them again.

    A field with presence that is absent keeps its default: the message is older than it.

    Raises:
        BadParameters: if a value is out of range.
    """
    names = [field.name for field in attrs.fields(cls)]  # type: ignore[arg-type]
    return cls(**{name: getattr(message, name) for name in names if _is_given(message, name)})


def to_message(parameters: Any, kind: type[M]) -> M:
    """Put parameters into their message."""
    return kind(**attrs.asdict(parameters))


def _is_given(message: Message, name: str) -> bool:
    return not message.DESCRIPTOR.fields_by_name[name].has_presence or message.HasField(name)


def _field(default: object, validator: Any, unit: str, bounds: str, text: str) -> Any:
    kind = type(default.otherwise if isinstance(default, By) else default)
    shown = str(default) if isinstance(default, By) else default
    made: Any = default
    if isinstance(default, By):
        made = attrs.Factory(default, takes_self=True)
    metadata = {"unit": unit, "bounds": bounds, "text": text, "default": shown, "kind": kind}
    return attrs.field(default=made, validator=validator, metadata=metadata)


def _within(low: float, high: float) -> Any:
    def check(_: object, field: attrs.Attribute[Any], value: float) -> None:
        if math.isnan(value) or not low <= value <= high:
            raise BadParameters(_complaint(field, f"{value:g}"))

    return check


def _one_of(values: tuple[object, ...]) -> Any:
    def check(_: object, field: attrs.Attribute[Any], value: object) -> None:
        if value not in values:
            raise BadParameters(_complaint(field, repr(value)))

    return check


def _value(field: attrs.Attribute[Any], text: str) -> object:
    word, kind = text.strip(), field.metadata["kind"]
    try:
        if kind is bool:
            return _truth(word)
        if kind in {int, float}:
            return kind(word)
    except (ValueError, OverflowError) as error:
        raise BadParameters(_complaint(field, repr(text))) from error
    return word


def _truth(word: str) -> bool:
    if word.lower() in _TRUE:
        return True
    if word.lower() in _FALSE:
        return False
    raise ValueError(word)


def _complaint(field: attrs.Attribute[Any], given: str) -> str:
    unit = f" {field.metadata['unit']}" if field.metadata["unit"] else ""
    return f"{field.name} must be {field.metadata['bounds']}{unit}, not {given}"
