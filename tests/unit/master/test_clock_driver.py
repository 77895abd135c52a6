from __future__ import annotations

import attrs
from twisted.internet.task import Clock

from emodis.master.clock_driver import ClockDriver
from emodis.master.clocks import NS, Clocks
from emodis.scheduling.core import Scheduler
from emodis.scheduling.model import (
    Abort,
    AgentId,
    DestinationKey,
    End,
    Policy,
    RoundEnded,
    RunKey,
    Start,
)

A, B, D = AgentId("a"), AgentId("b"), DestinationKey("10.0.0.1")


@attrs.define(eq=False)
class Rig:
    """Orders that are written down."""

    clock: Clock = attrs.field(factory=Clock)
    # Every run has ended before its assignment has returned.
    at_once: bool = False
    did: list[str] = attrs.field(factory=list)
    runs: list[RunKey] = attrs.field(factory=list)
    driver: ClockDriver = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        clocks = Clocks(
            reactor=self.clock,
            monotonic_ns=lambda: round(self.clock.seconds() * NS),
            unix_ns=lambda: 0,
        )
        self.driver = ClockDriver(Scheduler(rtt_max_ns=NS), clocks, self)

    def start(self, decision: Start) -> None:
        self.did.append(f"start {decision.run.agent}")
        self.runs.append(decision.run)
        if self.at_once:
            self.driver.run_ended(decision.run)
            self.did.append("told")

    def abort(self, decision: Abort) -> None:
        self.did.append("abort")

    def end(self, decision: End) -> None:
        self.did.append(f"end {decision.why.value}")

    def round_ended(self, decision: RoundEnded) -> None:
        self.did.append("round ended")

    def admit(self) -> None:
        self.driver.joined(A)
        self.driver.joined(B)
        self.driver.admit(
            "m",
            policy=Policy.RING,
            agents=(A, B),
            destinations=(D,),
            worst_case_s=3.0,
            exclusive=True,
            pairs=None,
        )


def test_decisions_are_carried_out_in_order() -> None:
    rig = Rig()
    rig.admit()
    assert rig.did == ["start a"]
    rig.driver.run_ended(rig.runs[0])
    rig.driver.run_ended(rig.runs[1])
    assert rig.did == ["start a", "start b", "round ended"]
    assert rig.clock.getDelayedCalls() == []


def test_time_passes_for_the_scheduler_by_itself() -> None:
    rig = Rig()
    rig.admit()
    rig.clock.pump([0.5] * 60)
    given_up = ["abort", "end expired"]
    assert rig.did == ["start a", *given_up, "start b", *given_up, "round ended"]
    assert rig.clock.getDelayedCalls() == []


def test_after_a_standstill_the_sockets_are_read_before_anything_is_overdue() -> None:
    rig = Rig()
    rig.admit()
    rig.clock.advance(30)
    assert rig.did == ["start a"]
    rig.driver.run_ended(rig.runs[0])
    assert rig.did == ["start a", "start b"]


def test_an_event_out_of_a_decision_waits_for_its_turn() -> None:
    rig = Rig(at_once=True)
    rig.admit()
    assert rig.did == ["start a", "told", "start b", "told", "round ended"]


def test_a_stopped_driver_leaves_no_timer() -> None:
    rig = Rig()
    rig.admit()
    rig.driver.stop()
    assert rig.clock.getDelayedCalls() == []
