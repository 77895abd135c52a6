from __future__ import annotations

from collections.abc import Mapping

import pytest
from twisted.internet.defer import CancelledError, Deferred

from emodis.master.plans import drive
from emodis.techniques.base import Child, Plan
from emodis.wire.v1.client_pb2 import POLICY_LOCK
from emodis.wire.v1.common_pb2 import END_DONE, Body, Ending, Outcome
from tests.support.deferreds import result_of

DONE = Outcome(ending=Ending(end=END_DONE))


def child(*agents: str) -> Child:
    return Child(call=Body(), agents=agents, destinations=(0,), policy=POLICY_LOCK)


def two_steps(closed: list[str]) -> Plan[str]:
    try:
        first = yield child("a")
        second = yield child("b")
    finally:
        closed.append("closed")
    return f"{sorted(first)} {sorted(second)}"


def test_a_plan_gets_what_its_children_brought() -> None:
    async def run(one: Child) -> Mapping[tuple[str, int], Outcome]:
        return {(one.agents[0], 0): DONE}

    closed: list[str] = []
    assert result_of(drive(two_steps(closed), run)) == "[('a', 0)] [('b', 0)]"
    assert closed == ["closed"]


def test_a_cancelled_drive_closes_its_plan() -> None:
    waiting: Deferred[Mapping[tuple[str, int], Outcome]] = Deferred()

    async def run(one: Child) -> Mapping[tuple[str, int], Outcome]:
        return await waiting

    closed: list[str] = []
    driving = Deferred.fromCoroutine(drive(two_steps(closed), run))
    driving.cancel()
    with pytest.raises(CancelledError):
        result_of(driving)
    assert closed == ["closed"]


def test_a_plan_that_needs_nothing_has_its_say_at_once() -> None:
    def known() -> Plan[str]:
        yield from ()
        return "known"

    async def run(one: Child) -> Mapping[tuple[str, int], Outcome]:
        raise AssertionError("nothing to do")

    assert result_of(drive(known(), run)) == "known"
