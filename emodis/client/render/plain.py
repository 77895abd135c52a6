"""Any technique's message as plain JSON values, by its own descriptor, and back.

Field names already carry their units, so they are the published names; enum values lose their
prefix, bytes are addresses (that is the only use a technique's messages make of them). Absent is
null, never left out.
"""

from __future__ import annotations

import math
from ipaddress import ip_address
from typing import Any, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

M = TypeVar("M", bound=Message)


class NotPlain(ValueError):
    """A value that no message was printed as; the text says where, and what is wrong there."""


def plain(message: Message) -> dict[str, Any]:
    """Every field of the message, in declared order."""
    return {field.name: _field(message, field) for field in message.DESCRIPTOR.fields}


def word(enum: Any, number: int) -> str:
    """END_DONE → done; a value newer than us keeps its number. `enum` is an enum's descriptor."""
    value = enum.values_by_number.get(number)
    if value is None:
        return str(number)
    names = [other.name for other in enum.values]
    prefix = names[0].removesuffix("UNSPECIFIED")
    return str(value.name).removeprefix(prefix).lower()


def message(kind: type[M], value: object, at: str = "$") -> M:
    """The message that was printed so; null is absent, names unknown here are left out.

    Raises:
        NotPlain: if the value does not fit. `at` is where it stands in its file.
    """
    made = kind()
    for name, one in _object(value, at).items():
        field = made.DESCRIPTOR.fields_by_name.get(name)
        if field is not None and one is not None:
            _put(made, field, one, f"{at}.{name}")
    return made


def _object(value: object, at: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise NotPlain(f"{at} is not an object")
    return value


def _put(made: Message, field: Any, value: object, at: str) -> None:
    if field.is_repeated != isinstance(value, list):
        raise NotPlain(f"{at} is {'not a list' if field.is_repeated else 'a list'}")
    try:
        if isinstance(value, list):
            parts = [_parsed(field, one, f"{at}[{place}]") for place, one in enumerate(value)]
            getattr(made, field.name).extend(parts)
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            getattr(made, field.name).CopyFrom(_parsed(field, value, at))
        else:
            setattr(made, field.name, _parsed(field, value, at))
    except NotPlain:
        raise
    except (TypeError, ValueError) as error:
        raise NotPlain(f"{at}: {error}") from error


def _parsed(field: Any, value: Any, at: str) -> Any:
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        return message(field.message_type._concrete_class, value, at)
    if field.type == FieldDescriptor.TYPE_ENUM:
        return _number(field.enum_type, value)
    if field.type == FieldDescriptor.TYPE_BYTES:
        # null in a list stands for an empty address.
        return b"" if value is None else ip_address(value).packed
    return value


def _number(enum: Any, text: str) -> int:
    """The number that `word` has printed."""
    for value in enum.values:
        if word(enum, value.number) == text:
            return int(value.number)
    return int(text)


def _field(message: Message, field: Any) -> Any:
    value = getattr(message, field.name)
    if field.is_repeated:
        return [_single(field, one) for one in value]
    if field.has_presence and not message.HasField(field.name):
        return None
    return _single(field, value)


def _single(field: Any, value: Any) -> Any:
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        return plain(value)
    if field.type == FieldDescriptor.TYPE_ENUM:
        return word(field.enum_type, value)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return str(ip_address(value)) if len(value) in {4, 16} else None
    if isinstance(value, float) and not math.isfinite(value):
        # JSON has no word for it.
        return None
    return value
