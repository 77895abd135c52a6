"""The timeouts of all connections: one sweep, so a thousand that never say Hello cost a dict entry
each."""

from __future__ import annotations

import enum
from typing import Protocol

import attrs

from emodis.master.watch import Watch
from emodis.wire.hello import HANDSHAKE_TIMEOUT_S

# A peer that does not read its last message is cut off after this.
CLOSING_TIMEOUT_S = 5.0


class Phase(enum.Enum):
    """Which timeout a connection is under."""

    GREETING = enum.auto()
    ONLINE = enum.auto()
    CLOSING = enum.auto()


class Watched(Protocol):
    """What a timeout is told to; compared by identity (a machine of Automat cannot be a key)."""

    def silent(self) -> None: ...


@attrs.define
class Timers:
    """The timeouts of all connections; a connection is in one phase at a time."""

    master_timeout_s: float
    _watches: dict[Phase, Watch[Watched]] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._watches = {
            Phase.GREETING: Watch(HANDSHAKE_TIMEOUT_S),
            Phase.ONLINE: Watch(self.master_timeout_s),
            Phase.CLOSING: Watch(CLOSING_TIMEOUT_S),
        }

    def put(self, one: Watched, phase: Phase, now_s: float) -> None:
        """From now on this timeout runs for it, and no other."""
        for other, watch in self._watches.items():
            if other is not phase:
                watch.forget(one)
        self._watches[phase].heard(one, now_s)

    def forget(self, one: Watched) -> None:
        """It is closed."""
        for watch in self._watches.values():
            watch.forget(one)

    def forgive(self, lost_s: float) -> None:
        """We were late ourselves: everybody gets that much more time."""
        for watch in self._watches.values():
            watch.forgive(lost_s)

    def due(self, now_s: float) -> list[Watched]:
        """Whose timeout has passed; each must be told `silent`."""
        return [one for watch in self._watches.values() for one in watch.due(now_s)]
