"""What the master remembers: measurements, runs, results. The asynchronous side of the store.

Every method returns at once. A Deferred of a write fires on the reactor thread after the commit
has reached the disk; a failure is always a `StoreError`, and never stops the store.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads

from emodis.master.store.errors import StoreError
from emodis.master.store.records import MeasurementRecord
from emodis.wire.v1.client_pb2 import Ended, Result, Selected
from emodis.wire.v1.common_pb2 import Hello, Outcome, RunKey

__all__ = ["MeasurementRecord", "Store", "StoreError"]


def _nobody(pressed: bool) -> None:
    del pressed


class Store:
    """One database file, one thread that writes it, one that reads it."""

    def __init__(self) -> None:
        # Called with True when too much waits to be written, with False when half is done.
        self.on_pressure: Callable[[bool], None] = _nobody

    @classmethod
    def open(cls, url: str, reactor: IReactorFromThreads) -> Store:
        """Open, or create, `sqlite:////absolute/path`; blocks while migrations run.

        Raises:
            StoreError: it cannot be used; the text says why.
        """
        raise NotImplementedError

    @property
    def queue_rows(self) -> int:
        """Writes that are not committed yet."""
        raise NotImplementedError

    def save_agent(self, hello: Hello, *, asn: int, seen_unix_ns: int) -> Deferred[None]:
        """Remember who this agent is and when it was here; its token is not kept."""
        raise NotImplementedError

    def save_measurement(self, measurement: MeasurementRecord) -> Deferred[None]:
        """Insert an admitted measurement; one of that id or idempotency is a StoreError."""
        raise NotImplementedError

    def save_selection(self, measurement_id: str, selected: Selected) -> Deferred[None]:
        """Who will measure."""
        raise NotImplementedError

    def end_measurement(
        self, measurement_id: str, ended: Ended, *, ended_unix_ns: int
    ) -> Deferred[None]:
        """How it ended; the first end stands."""
        raise NotImplementedError

    def save_run(
        self, run: RunKey, outcome: Outcome, *, late: bool, overlapped: Sequence[RunKey]
    ) -> Deferred[int]:
        """Keep the end of a run, the best attempt of it, and return its cursor."""
        raise NotImplementedError

    def discard_payloads(self, measurement_id: str) -> Deferred[None]:
        """Remove results and observations; the ledger (end, reason, bytes) stays."""
        raise NotImplementedError

    def close_orphans(self, now_unix_ns: int) -> Deferred[int]:
        """End what a crash left open (CODE_SHUTDOWN); returns how many there were."""
        raise NotImplementedError

    def measurement(self, measurement_id: str) -> Deferred[MeasurementRecord | None]:
        """Find by id, or by a prefix that only one id has."""
        raise NotImplementedError

    def by_idempotency(
        self, client_id: str, idempotency: bytes
    ) -> Deferred[MeasurementRecord | None]:
        """The measurement this client's request became, if it came before."""
        raise NotImplementedError

    def results(
        self, measurement_id: str, *, after: int, limit: int, with_observations: bool
    ) -> Deferred[list[Result]]:
        """Results with a cursor above `after`, oldest first, at most `limit`; without owners."""
        raise NotImplementedError

    def results_towards(
        self, technique: str, address: bytes, *, since_unix_ns: int
    ) -> Deferred[list[Result]]:
        """DONE results of that technique to that target, the newest of each agent.

        `since_unix_ns` is compared with the admission of their measurements: the master's own
        clock, and never younger than the truth. Observations are left out.
        """
        raise NotImplementedError

    def close(self) -> Deferred[None]:
        """Write what waits, then stop both threads."""
        raise NotImplementedError
