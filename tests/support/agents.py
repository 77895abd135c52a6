"""Stand-ins around an agent: a prober that does what a test says, assignments, clocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import ClassVar, cast

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from emodis.agent.assignment import TaskKey, key_of
from emodis.techniques.base import BadParameters, Spend, Technique
from emodis.wire.v1.agent_pb2 import Assignment
from emodis.wire.v1.common_pb2 import (
    END_CANCELLED,
    END_DONE,
    Body,
    Cost,
    End,
    Ending,
    Outcome,
    RunKey,
    Target,
)
from emodis.wire.v1.prober_pb2 import ProberProgress, ProberRun

NS = 1_000_000_000
AGENT_ID = "7b0f7a52-6a1c-4a8e-9f7d-3d1f6a2b9c01"


@attrs.define
class HostClock:
    """The host's CLOCK_BOOTTIME over a Twisted Clock; `sleep_s` passes without any timer firing."""

    clock: Clock
    slept_s: float = 0.0

    def ns(self) -> int:
        return round((self.clock.seconds() + self.slept_s) * NS)

    def sleep(self, seconds: float) -> None:
        self.slept_s += seconds


@attrs.define(eq=False)
class FakeProber:
    """Runs what it is given until the test ends it; an abort ends it at once unless `deaf`."""

    ready: bool = True
    deaf: bool = False
    runs: list[ProberRun] = attrs.field(factory=list)
    aborted: list[TaskKey] = attrs.field(factory=list)
    in_work: dict[TaskKey, Deferred[Outcome]] = attrs.field(factory=dict)
    _progress: Callable[[ProberProgress], None] | None = None

    def run(
        self, run: ProberRun, on_progress: Callable[[ProberProgress], None]
    ) -> Deferred[Outcome]:
        assert not self.in_work, "one run at a time"
        self.runs.append(run)
        self._progress = on_progress
        self.in_work[key_of(run.run)] = waiting = Deferred[Outcome]()
        return waiting

    def abort(self, run: RunKey) -> None:
        self.aborted.append(key_of(run))
        if not self.deaf:
            self.end(END_CANCELLED, run=run)

    def end(
        self, end: End.ValueType = END_DONE, *, run: RunKey | None = None, sent: int = 0
    ) -> None:
        key = key_of(run) if run is not None else next(iter(self.in_work))
        self.in_work.pop(key).callback(Outcome(ending=Ending(end=end), cost=Cost(sent_bytes=sent)))

    def progress(self, done: int, total: int) -> None:
        assert self._progress is not None
        self._progress(ProberProgress(run=self.runs[-1].run, done=done, total=total))


@attrs.define
class FakeTechnique:
    """Costs what its body says: "SECONDS BYTES"; anything else is a bad parameter."""

    NAME: str
    EXCLUSIVE: bool = False
    NEEDS_RAW: bool = True
    SCHEMA: ClassVar[int] = 1

    def worst_case(self, call: Body) -> Spend:
        try:
            seconds, sent_bytes = call.body.split()
            return Spend(duration_s=float(seconds), sent_bytes=int(sent_bytes))
        except ValueError as error:
            raise BadParameters("count must be between 1 and 100") from error


def techniques() -> Mapping[str, Technique]:
    made = (FakeTechnique("light"), FakeTechnique("train", EXCLUSIVE=True))
    return {t.NAME: cast("Technique", t) for t in made}


def run_key(destination: int = 0, *, measurement: str = "m1", attempt: int = 0) -> RunKey:
    return RunKey(
        measurement_id=measurement, agent_id=AGENT_ID, destination=destination, attempt=attempt
    )


def assignment(
    run: RunKey | None = None,
    *,
    technique: str = "light",
    body: bytes = b"10 1000",
    address: str = "10.0.0.9",
    start_by_ns: int = 5 * NS,
    stop_by_ns: int = 15 * NS,
    parent: str = "",
    schema: int = 1,
) -> Assignment:
    """Deadlines are in the master's clock."""
    return Assignment(
        run=run or run_key(),
        parent_id=parent,
        call=Body(technique=technique, schema=schema, body=body),
        target=Target(address=ip_address(address).packed),
        start_by_clock_ns=start_by_ns,
        stop_by_clock_ns=stop_by_ns,
        budget_s=10.0,
        nonce=bytes(16),
    )
