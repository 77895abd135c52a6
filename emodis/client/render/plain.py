"""Any technique's message as plain JSON values, by its own descriptor.

Field names already carry their units, so they are the published names; enum values lose their
prefix, bytes are addresses (that is the only use a technique's messages make of them). Absent is
null, never left out.
"""

from __future__ import annotations

import math
from ipaddress import ip_address
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message


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
