"""The thread that writes: whatever waits when it is free goes into one transaction.

Natural group commit: an idle writer commits a lone row at once, a busy one finds more rows waiting
each time, so a commit of the disk (1 to 8 ms) is shared by as many as came meanwhile. Only above
2000 rows a second does it also wait 5 ms for company; measured, a longer wait never pays.

`submit` and every Deferred belong to the reactor thread, everything else to the writer's.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, TypeVar

import attrs
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, InterfaceError, ProgrammingError
from twisted.internet.defer import Deferred, fail

from emodis.master.store.database import cause_of
from emodis.master.store.errors import StoreError

BATCH_ROWS = 1000
BATCH_BYTES = 4 * 2**20
BUSY_ROWS_PER_S = 2000.0
COMPANY_WAIT_S = 0.005
QUEUE_ROWS = 20_000
QUEUE_BYTES = 32 * 2**20

Item = TypeVar("Item")
Answer = TypeVar("Answer")
# Does neighbouring writes of one kind, answers each.
Apply = Callable[[Connection, Sequence[Item]], Sequence[Answer]]
# Calls a function on the reactor thread: reactor.callFromThread.
Deliver = Callable[..., object]


@attrs.frozen(eq=False)
class Waiting:
    """A write that is not committed yet."""

    apply: Apply[Any, Any]
    item: object
    size_bytes: int
    done: Deferred[Any]


@attrs.define
class ArrivalRate:
    """Rows per second, judged anew about four times a second."""

    _since_s: float
    _rows: int = 0
    per_s: float = 0.0

    def note(self, rows: int, *, at_s: float) -> None:
        """So many rows were taken from the queue at this time."""
        self._rows += rows
        elapsed_s = at_s - self._since_s
        if elapsed_s >= 0.25:
            self.per_s = self._rows / elapsed_s
            self._since_s, self._rows = at_s, 0


class Writer:
    """Owns the queue of writes and the thread that commits them in order."""

    def __init__(
        self,
        engine: Engine,
        *,
        deliver: Deliver,
        clock_s: Callable[[], float],
        on_pressure: Callable[[bool], None],
    ) -> None:
        self._engine = engine
        self._deliver = deliver
        self._clock_s = clock_s
        self._on_pressure = on_pressure
        self._queue: deque[Waiting] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._stopped: Deferred[None] = Deferred()
        # Submitted and not answered; only the reactor thread touches them.
        self.rows = 0
        self._bytes = 0
        self._pressed = False
        # A daemon: a process that fails to close the store must still be able to exit.
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def submit(
        self, apply: Apply[Item, Answer], item: Item, *, size_bytes: int
    ) -> Deferred[Answer]:
        """Queue one write; fires after its commit, or fails with StoreError."""
        if self._closing:
            return fail(StoreError("the store is closed"))
        done: Deferred[Answer] = Deferred()
        with self._changed:
            self._queue.append(Waiting(apply, item, size_bytes, done))
            # To wake the thread for each row of a flood would cost more than the row.
            if len(self._queue) in (1, BATCH_ROWS):
                self._changed.notify()
        self.rows += 1
        self._bytes += size_bytes
        if not self._pressed and (self.rows > QUEUE_ROWS or self._bytes > QUEUE_BYTES):
            self._pressed = True
            self._on_pressure(True)
        return done

    def close(self) -> Deferred[None]:
        """Take no more, commit what waits, end the thread. To be called once."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        return self._stopped

    def _run(self) -> None:
        rate = ArrivalRate(self._clock_s())
        while batch := self._next_batch(rate):
            self._deliver(self._answer, batch, commit(self._engine, batch))
        self._deliver(self._finish)

    def _next_batch(self, rate: ArrivalRate) -> list[Waiting]:
        """Wait for work; an empty batch means that all is done and the store is closing."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closing)
            if rate.per_s > BUSY_ROWS_PER_S:
                self._changed.wait_for(
                    lambda: len(self._queue) >= BATCH_ROWS or self._closing, COMPANY_WAIT_S
                )
            batch = take(self._queue)
        rate.note(len(batch), at_s=self._clock_s())
        return batch

    def _answer(self, batch: Sequence[Waiting], answers: Sequence[object]) -> None:
        self.rows -= len(batch)
        self._bytes -= sum(waiting.size_bytes for waiting in batch)
        for waiting, answer in zip(batch, answers, strict=True):
            if isinstance(answer, StoreError):
                waiting.done.errback(answer)
            else:
                waiting.done.callback(answer)
        if self._pressed and self.rows <= QUEUE_ROWS // 2 and self._bytes <= QUEUE_BYTES // 2:
            self._pressed = False
            self._on_pressure(False)

    def _finish(self) -> None:
        self._thread.join()
        self._stopped.callback(None)


def take(queue: deque[Waiting]) -> list[Waiting]:
    """Remove the next batch: at most 1000 rows and 4 MiB, but at least one row if there is one."""
    batch: list[Waiting] = []
    size_bytes = 0
    while queue and len(batch) < BATCH_ROWS:
        size_bytes += queue[0].size_bytes
        if batch and size_bytes > BATCH_BYTES:
            break
        batch.append(queue.popleft())
    return batch


def commit(engine: Engine, batch: Sequence[Waiting]) -> Sequence[object]:
    """Write a batch in one transaction. The answers in order, StoreError for what failed.

    A file that cannot be written fails the whole batch. A single write that does not fit the
    tables fails alone: the batch is tried again with a savepoint around each write.
    """
    try:
        try:
            with engine.begin() as connection:
                return _apply_grouped(connection, batch)
        # The edge of the thread: whatever goes wrong belongs to the callers, and the next batch
        # must still be written.
        except Exception as error:
            if _of_the_file(error):
                raise
            with engine.begin() as connection:
                return [_apply_alone(connection, waiting) for waiting in batch]
    except Exception as error:
        # The next batch gets a new connection, in case this one is what broke.
        engine.dispose()
        return [_cannot_write(error, len(batch))] * len(batch)


def _apply_grouped(connection: Connection, batch: Sequence[Waiting]) -> list[object]:
    answers: list[object] = []
    for apply, alike in groupby(batch, key=lambda waiting: waiting.apply):
        answers.extend(apply(connection, [waiting.item for waiting in alike]))
    return answers


def _apply_alone(connection: Connection, waiting: Waiting) -> object:
    try:
        with connection.begin_nested():
            return waiting.apply(connection, [waiting.item])[0]
    except Exception as error:
        if _of_the_file(error):
            raise
        refused = StoreError(f"the store does not take this: {cause_of(error)}")
        refused.__cause__ = error
        return refused


def _of_the_file(error: Exception) -> bool:
    """Whether it is the disk, a lock or a broken file, not one row that does not fit."""
    ours = (IntegrityError, DataError, ProgrammingError, InterfaceError)
    return isinstance(error, DBAPIError) and not isinstance(error, ours)


def _cannot_write(error: Exception, rows: int) -> StoreError:
    what = "a write" if rows == 1 else f"{rows} writes"
    failed = StoreError(
        f"the store lost {what}: {cause_of(error)}; make room on its disk or see what else uses "
        "its file"
    )
    failed.__cause__ = error
    return failed
