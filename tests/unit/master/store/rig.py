"""A store on a file, a stand-in for the reactor's thread, and things to put into it."""

from __future__ import annotations

import queue
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure
from zope.interface import implementer

from emodis.master.store.store import MeasurementRecord, Store
from emodis.wire.v1.client_pb2 import Request
from emodis.wire.v1.common_pb2 import Body, Cost, End, Ending, Outcome, Quality, RunKey, Target

T = TypeVar("T")
DEADLINE_S = 20.0


@implementer(IReactorFromThreads)
class Pump:
    """Runs what threads hand over, when the test waits for it and in the test's thread."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self.deliveries = 0

    def callFromThread(  # noqa: N802
        self,
        callable: Callable[..., Any],  # noqa: A002
        *args: object,
        **kwargs: object,
    ) -> None:
        """As the reactor does: remember it, run it later."""
        self._calls.put(lambda: callable(*args, **kwargs))

    def wait(self, deferred: Deferred[T]) -> T:
        """Run what is handed over until this has fired; its result, or its failure raised."""
        results: list[T] = []
        failures: list[Failure] = []

        def keep(result: T) -> T:
            results.append(result)
            return result

        _ = deferred.addCallbacks(keep, failures.append)
        while not results and not failures:
            self._calls.get(timeout=DEADLINE_S)()
            self.deliveries += 1
        if failures:
            failures[0].raiseException()
        return results[0]


class Rig:
    """An open store and the pump that stands for its reactor."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.pump = Pump()
        self.store = Store.open(f"sqlite:///{path}", self.pump)

    def wait(self, deferred: Deferred[T]) -> T:
        return self.pump.wait(deferred)

    def save(self, run: RunKey, outcome: Outcome, *, late: bool = False) -> int:
        return self.wait(self.store.save_run(run, outcome, late=late, overlapped=()))

    def close(self) -> None:
        self.wait(self.store.close())


def measurement(name: str = "m1", **changes: object) -> MeasurementRecord:
    """A ping of two targets that was just admitted."""
    values: dict[str, object] = {
        "id": name,
        "client_id": "client",
        "idempotency": name.encode(),
        "call": Body(technique="ping", schema=1, body=b"parameters"),
        "targets": (
            Target(address=bytes([10, 0, 0, 1]), name="first.example"),
            Target(address=bytes([10, 0, 0, 2]), name="second.example"),
        ),
        "request": Request(call_id=7, destinations=["first.example", "second.example"]),
        "admitted_unix_ns": 1_000,
    }
    return MeasurementRecord(**{**values, **changes})  # type: ignore[arg-type]


def run_key(destination: int = 0, **changes: object) -> RunKey:
    """A run of measurement m1 by agent a1."""
    values: dict[str, object] = {"measurement_id": "m1", "agent_id": "a1"}
    return RunKey(destination=destination, **{**values, **changes})  # type: ignore[arg-type]


def outcome(end: End.ValueType = End.END_DONE, **changes: object) -> Outcome:
    """A run that went as it should, or did not."""
    done = end == End.END_DONE
    values: dict[str, object] = {
        "ending": Ending(end=end, reason="" if done else "why", hint="" if done else "do that"),
        "result": Body(technique="ping", schema=1, body=b"result") if done else None,
        "observations": b"observations",
        "quality": Quality(word=Quality.WORD_FAIR, reasons=["few answers"]),
        "started_unix_ns": 5_000,
        "duration_ns": 70,
        "cost": Cost(sent_packets=3, recv_packets=2, sent_bytes=300, recv_bytes=200),
    }
    return Outcome(**{**values, **changes})  # type: ignore[arg-type]
