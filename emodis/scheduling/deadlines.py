"""When something must happen unless something else happens first.

A cancelled deadline stays in the heap until its time comes or dead ones outnumber the living:
removing from the middle of a heap costs more than skipping.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Generic, TypeVar

import attrs

T = TypeVar("T")
_COMPACT_ABOVE = 64


@attrs.define(eq=False)
class Deadline(Generic[T]):
    """One pending time; `subject` is None once it fired or was cancelled."""

    at_ns: int
    subject: T | None


@attrs.define(eq=False)
class Deadlines(Generic[T]):
    """A heap of deadlines; those of one time fire in the order in which they were set."""

    _heap: list[tuple[int, int, Deadline[T]]] = attrs.field(factory=list, init=False)
    _alive: int = attrs.field(default=0, init=False)
    _set: int = attrs.field(default=0, init=False)

    def __len__(self) -> int:
        return self._alive

    @property
    def next_ns(self) -> int | None:
        """The earliest living deadline."""
        while self._heap and self._heap[0][2].subject is None:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def set(self, at_ns: int, subject: T) -> Deadline[T]:
        """Let `subject` come out of `due` at this time."""
        deadline = Deadline(at_ns, subject)
        self._set += 1
        self._alive += 1
        heapq.heappush(self._heap, (at_ns, self._set, deadline))
        return deadline

    def cancel(self, deadline: Deadline[T]) -> None:
        """Harmless on one that fired or was cancelled before."""
        if deadline.subject is None:
            return
        deadline.subject = None
        self._alive -= 1
        if len(self._heap) > max(_COMPACT_ABOVE, 2 * self._alive):
            self._heap = [entry for entry in self._heap if entry[2].subject is not None]
            heapq.heapify(self._heap)

    def due(self, now_ns: int) -> Iterator[T]:
        """Take out what is due, one at a time: what the caller sets meanwhile counts as well."""
        while (next_ns := self.next_ns) is not None and next_ns <= now_ns:
            deadline = heapq.heappop(self._heap)[2]
            subject, deadline.subject = deadline.subject, None
            self._alive -= 1
            if subject is not None:
                yield subject
