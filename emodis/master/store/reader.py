"""The thread that reads, so that a slow disk never stops the reactor."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from twisted.internet.defer import Deferred, fail

from emodis.master.store.database import cause_of
from emodis.master.store.errors import StoreError
from emodis.master.store.writer import Deliver

T = TypeVar("T")
Query = Callable[[Connection], T]


class Reader:
    """Answers queries one after the other; each sees all that was acknowledged before it."""

    def __init__(self, engine: Engine, *, deliver: Deliver) -> None:
        self._engine = engine
        self._deliver = deliver
        # None ends the thread.
        self._queue: queue.SimpleQueue[tuple[Query[Any], Deferred[Any]] | None] = (
            queue.SimpleQueue()
        )
        self._closing = False
        self._stopped: Deferred[None] = Deferred()
        self._thread = threading.Thread(target=self._run, name="store-reader", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def ask(self, query: Query[T]) -> Deferred[T]:
        """Run the query; fires with its answer, or fails with StoreError."""
        if self._closing:
            return fail(StoreError("the store is closed"))
        done: Deferred[T] = Deferred()
        self._queue.put((query, done))
        return done

    def close(self) -> Deferred[None]:
        """Answer what was asked, then end the thread. To be called once."""
        self._closing = True
        self._queue.put(None)
        return self._stopped

    def _run(self) -> None:
        while (job := self._queue.get()) is not None:
            query, done = job
            try:
                with self._engine.begin() as connection:
                    answer = query(connection)
            # The edge of the thread: the asker gets it, the next query is still answered.
            except Exception as error:
                failed = StoreError(f"the store cannot be read: {cause_of(error)}")
                failed.__cause__ = error
                self._deliver(done.errback, failed)
            else:
                self._deliver(done.callback, answer)
        self._deliver(self._finish)

    def _finish(self) -> None:
        self._thread.join()
        self._stopped.callback(None)
