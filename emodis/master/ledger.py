"""What the service needs of the store; `store.Store` satisfies it, and so does a test's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from twisted.internet.defer import Deferred

from emodis.master.store.records import AgentRecord, MeasurementRecord
from emodis.wire.v1.client_pb2 import Ended, Result, Selected
from emodis.wire.v1.common_pb2 import Hello, Outcome, RunKey


class Ledger(Protocol):
    """Writes fire after their commit; every failure is a StoreError."""

    on_pressure: Callable[[bool], None]

    @property
    def queue_rows(self) -> int: ...

    def save_agent(self, hello: Hello, *, asn: int, seen_unix_ns: int) -> Deferred[None]: ...
    def save_measurement(self, measurement: MeasurementRecord) -> Deferred[None]: ...
    def save_selection(self, measurement_id: str, selected: Selected) -> Deferred[None]: ...
    def end_measurement(
        self, measurement_id: str, ended: Ended, *, ended_unix_ns: int
    ) -> Deferred[None]: ...
    def save_run(
        self, run: RunKey, outcome: Outcome, *, late: bool, overlapped: Sequence[RunKey]
    ) -> Deferred[int]: ...
    def discard_payloads(self, measurement_id: str) -> Deferred[None]: ...
    def agents(self, *, after: str, limit: int) -> Deferred[list[AgentRecord]]: ...
    def measurement(self, measurement_id: str) -> Deferred[MeasurementRecord | None]: ...
    def by_idempotency(
        self, client_id: str, idempotency: bytes
    ) -> Deferred[MeasurementRecord | None]: ...
    def results(
        self, measurement_id: str, *, after: int, limit: int, with_observations: bool
    ) -> Deferred[list[Result]]: ...
    def results_towards(
        self, technique: str, address: bytes, *, since_unix_ns: int
    ) -> Deferred[list[Result]]: ...
    def recent_targets(
        self, technique: str, *, since_unix_ns: int, limit: int
    ) -> Deferred[list[bytes]]: ...
    def close(self) -> Deferred[None]: ...
