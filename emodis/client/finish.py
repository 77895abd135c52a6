"""How a conversation with a master came to its end, as a value."""

from __future__ import annotations

import enum

import attrs

from emodis.wire.v1.common_pb2 import CODE_UNSPECIFIED, Code


class Way(enum.Enum):
    """The ways it can end."""

    # The master said all that was asked for.
    COMPLETE = enum.auto()
    # It does not serve this call.
    REFUSED = enum.auto()
    # It does not talk to us.
    TURNED_AWAY = enum.auto()
    # It never answered, or not in time.
    UNREACHABLE = enum.auto()
    # It was there and is gone.
    LOST = enum.auto()
    # Our own patience with a measurement is over.
    OVERDUE = enum.auto()
    INTERRUPTED = enum.auto()


@attrs.frozen(kw_only=True)
class Finish:
    """One end; `text` is one line for a person, empty for COMPLETE."""

    way: Way
    text: str = ""
    hint: str = ""
    code: Code.ValueType = CODE_UNSPECIFIED


COMPLETE = Finish(way=Way.COMPLETE)
