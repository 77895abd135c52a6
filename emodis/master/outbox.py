"""Bounds what waits for a peer that does not read: a push producer that produces nothing itself."""

from __future__ import annotations

from collections.abc import Callable

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer


@implementer(IPushProducer)
@attrs.define(eq=False)
class Outbox:
    """Told by the transport when its buffer is full; counts what is queued in spite of that."""

    cap_bytes: int
    overflow: Callable[[], None]
    _full: bool = attrs.field(default=False, init=False)
    _queued_bytes: int = attrs.field(default=0, init=False)
    _waiting: list[Deferred[None]] = attrs.field(factory=list, init=False)

    @property
    def full(self) -> bool:
        """The peer reads more slowly than we write: spare it what it can do without."""
        return self._full

    def adding(self, size_bytes: int) -> None:
        """About to write; calls `overflow` once the peer is hopelessly behind."""
        if self._full:
            self._queued_bytes += size_bytes
            if self._queued_bytes > self.cap_bytes:
                self.overflow()

    def drained(self) -> Deferred[None]:
        """Fires when the peer has caught up, or has gone."""
        waiting: Deferred[None] = Deferred()
        if self._full:
            self._waiting.append(waiting)
        else:
            waiting.callback(None)
        return waiting

    def pauseProducing(self) -> None:  # noqa: N802 - IPushProducer
        self._full = True

    def resumeProducing(self) -> None:  # noqa: N802 - IPushProducer
        self._full = False
        self._queued_bytes = 0
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            deferred.callback(None)

    def stopProducing(self) -> None:  # noqa: N802 - IPushProducer
        self.resumeProducing()
