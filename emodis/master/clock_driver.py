"""Feeds the reactor's time to the scheduling core, and its decisions to whoever carries them out.

Decisions may lead to events at once (an agent that turns out to be gone): events queue up, and
each is handled with all its decisions carried out before the next.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol, assert_never

import attrs
from twisted.internet.interfaces import IDelayedCall

from emodis.master.clocks import NS, Clocks
from emodis.scheduling.core import Scheduler
from emodis.scheduling.model import (
    Abort,
    AgentId,
    AgentJoined,
    AgentLost,
    Decision,
    DestinationKey,
    End,
    Event,
    MeasurementCancelled,
    MeasurementId,
    Policy,
    RoundAdmitted,
    RoundEnded,
    RunEnded,
    RunKey,
    Start,
    TimePassed,
)

# Results that are in the sockets are read before anything is declared overdue: one turn of the
# reactor as a rule, longer when waking up so late means that the process stood still.
LATE_NS = NS
SETTLE_S = 1.0


class Orders(Protocol):
    """Who carries decisions out."""

    def start(self, decision: Start) -> None: ...
    def abort(self, decision: Abort) -> None: ...
    def end(self, decision: End) -> None: ...
    def round_ended(self, decision: RoundEnded) -> None: ...


@attrs.define(eq=False)
class ClockDriver:
    """The scheduler's only caller."""

    scheduler: Scheduler
    clocks: Clocks
    orders: Orders
    _events: deque[Callable[[int], Event]] = attrs.field(factory=deque, init=False)
    _busy: bool = attrs.field(default=False, init=False)
    _wake: IDelayedCall | None = attrs.field(default=None, init=False)
    _wake_at_ns: int | None = attrs.field(default=None, init=False)

    def admit(
        self,
        measurement: str,
        *,
        policy: Policy,
        agents: tuple[AgentId, ...],
        destinations: tuple[DestinationKey, ...],
        worst_case_s: float,
        exclusive: bool,
        pairs: frozenset[tuple[AgentId, int]] | None,
    ) -> None:
        """A round of a measurement shall be done."""
        self._tell(
            lambda at_ns: RoundAdmitted(
                at_ns=at_ns,
                measurement=MeasurementId(measurement),
                round=0,
                policy=policy,
                agents=agents,
                destinations=destinations,
                worst_case_ns=round(worst_case_s * NS),
                exclusive=exclusive,
                pairs=pairs,
            )
        )

    def run_ended(self, run: RunKey, *, unfinished: bool = False) -> None:
        """Its result is here: nothing is being sent for it any more."""
        self._tell(lambda at_ns: RunEnded(at_ns=at_ns, run=run, unfinished=unfinished))

    def joined(self, agent: AgentId) -> None:
        self._tell(lambda at_ns: AgentJoined(at_ns=at_ns, agent=agent))

    def lost(self, agent: AgentId) -> None:
        self._tell(lambda at_ns: AgentLost(at_ns=at_ns, agent=agent))

    def cancelled(self, measurement: str) -> None:
        self._tell(
            lambda at_ns: MeasurementCancelled(at_ns=at_ns, measurement=MeasurementId(measurement))
        )

    def load(self, agent: AgentId) -> int:
        """Pairs of this agent that have not ended."""
        return self.scheduler.load(agent)

    def overlapping(self, run: RunKey) -> tuple[RunKey, ...]:
        """Runs that touched the same agent or destination while this one may have been sending."""
        return tuple(self.scheduler.overlapping(run))

    def stop(self) -> None:
        """No more time passes for the scheduler."""
        if self._wake is not None and self._wake.active():
            self._wake.cancel()
        self._wake = None

    def _tell(self, event: Callable[[int], Event]) -> None:
        self._events.append(event)
        if self._busy:
            return
        self._busy = True
        try:
            while self._events:
                made = self._events.popleft()(self.clocks.monotonic_ns())
                for decision in self.scheduler.handle(made):
                    self._carry_out(decision)
        finally:
            self._busy = False
            self._set_alarm()

    def _carry_out(self, decision: Decision) -> None:
        match decision:
            case Start():
                self.orders.start(decision)
            case Abort():
                self.orders.abort(decision)
            case End():
                self.orders.end(decision)
            case RoundEnded():
                self.orders.round_ended(decision)
            case _:
                assert_never(decision)

    def _set_alarm(self) -> None:
        wake_at_ns = self.scheduler.wake_at_ns
        if wake_at_ns == self._wake_at_ns and self._wake is not None and self._wake.active():
            # Also when it is overdue and waits for the sockets to be read.
            return
        self.stop()
        self._wake_at_ns = wake_at_ns
        if wake_at_ns is not None:
            delay_s = max(0.0, (wake_at_ns - self.clocks.monotonic_ns()) / NS)
            self._wake = self.clocks.reactor.callLater(delay_s, self._alarm, wake_at_ns)

    def _alarm(self, due_ns: int) -> None:
        late = self.clocks.monotonic_ns() - due_ns > LATE_NS
        self._wake = self.clocks.reactor.callLater(SETTLE_S if late else 0.0, self._pass_time)

    def _pass_time(self) -> None:
        self._tell(lambda at_ns: TimePassed(at_ns=at_ns))
