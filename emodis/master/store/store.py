"""What the master remembers: measurements, runs, results. The asynchronous side of the store.

Every method returns at once. A Deferred of a write fires on the reactor thread after the commit
has reached the disk; a failure is always a `StoreError`, and never stops the store.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from google.protobuf.message import Message
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorFromThreads

from emodis.master.store import writes
from emodis.master.store.database import Database, open_database
from emodis.master.store.errors import StoreError
from emodis.master.store.queries import (
    agents_after,
    find_by_idempotency,
    find_measurement,
    newest_targets,
    newest_towards,
    results_after,
)
from emodis.master.store.reader import Reader
from emodis.master.store.records import AgentRecord, MeasurementRecord
from emodis.master.store.writer import Writer
from emodis.master.store.writes import EndedMeasurement, EndedRun, SeenAgent
from emodis.wire.v1.client_pb2 import Ended, Result, Selected
from emodis.wire.v1.common_pb2 import Hello, Outcome, RunKey

__all__ = ["AgentRecord", "MeasurementRecord", "Store", "StoreError"]

# What a row costs beside its messages: Deferred, key, queue.
ROW_BYTES = 512


def _nobody(pressed: bool) -> None:
    del pressed


class Store:
    """One database file, one thread that writes it, one that reads it."""

    def __init__(self, database: Database, reactor: IReactorFromThreads) -> None:
        # Called with True when too much waits to be written, with False when half is done.
        self.on_pressure: Callable[[bool], None] = _nobody
        self._database = database
        self._writer = Writer(
            database.write,
            deliver=reactor.callFromThread,
            clock_s=time.perf_counter,
            on_pressure=lambda pressed: self.on_pressure(pressed),
        )
        self._reader = Reader(database.read, deliver=reactor.callFromThread)
        self._closers: list[Deferred[None]] = []
        self._closed = False
        self._writer.start()
        self._reader.start()

    @classmethod
    def open(cls, url: str, reactor: IReactorFromThreads) -> Store:
        """Open, or create, `sqlite:////absolute/path`; blocks while migrations run.

        Raises:
            StoreError: it cannot be used; the text says why.
        """
        return cls(open_database(url), reactor)

    @property
    def queue_rows(self) -> int:
        """Writes that are not committed yet."""
        return self._writer.rows

    def save_agent(self, hello: Hello, *, asn: int, seen_unix_ns: int) -> Deferred[None]:
        """Remember who this agent is and when it was here; its token is not kept."""
        seen = SeenAgent(hello=hello, asn=asn, seen_unix_ns=seen_unix_ns)
        return self._writer.submit(writes.save_agents, seen, size_bytes=_size(hello))

    def save_measurement(self, measurement: MeasurementRecord) -> Deferred[None]:
        """Insert an admitted measurement; a second one of that id or idempotency fails."""
        size_bytes = _size(measurement.call, measurement.request, *measurement.targets)
        return self._writer.submit(writes.save_measurements, measurement, size_bytes=size_bytes)

    def save_selection(self, measurement_id: str, selected: Selected) -> Deferred[None]:
        """Who will measure."""
        chosen = (measurement_id, selected.SerializeToString())
        return self._writer.submit(writes.save_selections, chosen, size_bytes=_size(selected))

    def end_measurement(
        self, measurement_id: str, ended: Ended, *, ended_unix_ns: int
    ) -> Deferred[None]:
        """How it ended; the first end stands."""
        end = EndedMeasurement(
            measurement_id=measurement_id, ended=ended, ended_unix_ns=ended_unix_ns
        )
        return self._writer.submit(writes.end_measurements, end, size_bytes=_size(ended))

    def save_run(
        self, run: RunKey, outcome: Outcome, *, late: bool, overlapped: Sequence[RunKey]
    ) -> Deferred[int]:
        """Keep the end of a run, the best attempt of it, and return its cursor.

        A duplicate, or an attempt that is not better, returns the cursor of what is there; a better
        one gets a new cursor, so that whoever follows hears of it. DONE is better than any other
        end and is never replaced; else the newest attempt is, and of one attempt what is `late`:
        the agent's own account, after the master had given the run up.
        """
        ended = EndedRun(run=run, outcome=outcome, late=late, overlapped=tuple(overlapped))
        return self._writer.submit(writes.save_runs, ended, size_bytes=_size(outcome, *overlapped))

    def discard_payloads(self, measurement_id: str) -> Deferred[None]:
        """Remove results and observations; the ledger (end, reason, bytes) stays."""
        return self._writer.submit(writes.discard_payloads, measurement_id, size_bytes=_size())

    def close_orphans(self, now_unix_ns: int) -> Deferred[int]:
        """End what a crash left open (CODE_SHUTDOWN); returns how many there were."""
        return self._writer.submit(writes.close_orphans, now_unix_ns, size_bytes=_size())

    def agents(self, *, after: str, limit: int) -> Deferred[list[AgentRecord]]:
        """All agents that were ever here with an id above `after`, by id, at most `limit`."""
        return self._reader.ask(lambda connection: agents_after(connection, after, limit=limit))

    def measurement(self, measurement_id: str) -> Deferred[MeasurementRecord | None]:
        """Find by id, or by a prefix that only one id has."""
        return self._reader.ask(lambda connection: find_measurement(connection, measurement_id))

    def by_idempotency(
        self, client_id: str, idempotency: bytes
    ) -> Deferred[MeasurementRecord | None]:
        """The measurement this client's request became, if it came before."""
        return self._reader.ask(
            lambda connection: find_by_idempotency(connection, client_id, idempotency)
        )

    def results(
        self, measurement_id: str, *, after: int, limit: int, with_observations: bool
    ) -> Deferred[list[Result]]:
        """Results with a cursor above `after`, oldest first, at most `limit`; without owners."""
        return self._reader.ask(
            lambda connection: results_after(
                connection,
                measurement_id,
                after=after,
                limit=limit,
                with_observations=with_observations,
            )
        )

    def results_towards(
        self, technique: str, address: bytes, *, since_unix_ns: int
    ) -> Deferred[list[Result]]:
        """DONE results of that technique to that target, the newest of each agent.

        `since_unix_ns` is compared with the admission of their measurements: the master's own
        clock, and never younger than the truth. Observations are left out.
        """
        return self._reader.ask(
            lambda connection: newest_towards(
                connection, technique, address, since_unix_ns=since_unix_ns
            )
        )

    def recent_targets(
        self, technique: str, *, since_unix_ns: int, limit: int
    ) -> Deferred[list[bytes]]:
        """Addresses to which there are DONE results of that technique, the newest ones first."""
        return self._reader.ask(
            lambda connection: newest_targets(
                connection, technique, since_unix_ns=since_unix_ns, limit=limit
            )
        )

    def close(self) -> Deferred[None]:
        """Write what waits, answer what was asked, then stop both threads."""
        done: Deferred[None] = Deferred()
        if self._closed:
            done.callback(None)
            return done
        self._closers.append(done)
        if len(self._closers) == 1:
            both = gatherResults([self._writer.close(), self._reader.close()])
            _ = both.addCallback(self._finish)
        return done

    def _finish(self, stopped: object) -> None:
        del stopped
        self._database.close()
        self._closed = True
        for done in self._closers:
            done.callback(None)


def _size(*messages: Message) -> int:
    """About what a write holds in memory until it is committed."""
    return ROW_BYTES + sum(message.ByteSize() for message in messages)
