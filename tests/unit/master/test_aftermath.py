"""What a restarted master does about agents that may go on without its knowing."""

from __future__ import annotations

from pathlib import Path

import pytest

from emodis.master.aftermath import LONGEST_RUN_S, Doubt, doubts
from emodis.master.clocks import NS
from emodis.master.store.database import open_database
from emodis.scheduling.model import DestinationKey
from emodis.wire.v1.client_pb2 import EndCount, Ended
from emodis.wire.v1.common_pb2 import (
    CODE_SHUTDOWN,
    CODE_UNSPECIFIED,
    END_CANCELLED,
    END_DONE,
    END_EXPIRED,
    END_FAILED,
    END_LOST,
    END_REFUSED,
    Body,
    Code,
    End,
)
from tests.unit.master.house import TECHNIQUES, House
from tests.unit.master.store.rig import Rig, measurement

RTT_MAX_S = 5.0
NOW_NS = 1000 * NS
HERE, THERE = DestinationKey("10.0.0.1"), DestinationKey("10.0.0.2")
TAP = Body(technique="tap", schema=1, body=b"ok")
SLOW = Body(technique="tap", schema=1, body=b"slow")


def left(path: Path) -> list[Doubt]:
    """What the next master finds doubtful."""
    database = open_database(f"sqlite:///{path}")
    try:
        return doubts(database, find=TECHNIQUES.get, now_unix_ns=NOW_NS, rtt_max_s=RTT_MAX_S)
    finally:
        database.close()


def end(
    rig: Rig,
    *ends: End.ValueType,
    ago_s: float = 1.0,
    code: Code.ValueType = CODE_UNSPECIFIED,
) -> None:
    counts = [EndCount(end=each, runs=1) for each in ends]
    ended = Ended(measurement_id="m1", counts=counts, code=code)
    at_ns = round(NOW_NS - ago_s * NS)
    rig.wait(rig.store.end_measurement("m1", ended, ended_unix_ns=at_ns))


def test_what_was_open_is_doubtful_for_the_worst_case_of_its_runs(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "store")
    rig.wait(rig.store.save_measurement(measurement("m1", call=TAP)))
    rig.close()
    assert {(d.destination, d.worst_case_s) for d in left(tmp_path / "store")} >= {(HERE, 3.0)}


def test_the_longest_of_several_counts_and_what_is_unknown_takes_as_long_as_a_run_may(
    tmp_path: Path,
) -> None:
    rig = Rig(tmp_path / "store")
    for name, call in (("m1", SLOW), ("m2", TAP)):
        rig.wait(rig.store.save_measurement(measurement(name, call=call)))
    rig.close()
    assert {d.worst_case_s for d in left(tmp_path / "store")} == {100.0}
    rig = Rig(tmp_path / "store")
    rig.wait(rig.store.save_measurement(measurement("m3", call=Body(technique="sonar"))))
    odd = Body(technique="tap", schema=1, body=b"from the future")
    rig.wait(rig.store.save_measurement(measurement("m4", call=odd)))
    rig.close()
    assert {d.worst_case_s for d in left(tmp_path / "store")} == {LONGEST_RUN_S}


@pytest.mark.parametrize(
    ("ends", "code", "ago_s", "doubtful"),
    [
        ((END_DONE, END_FAILED, END_REFUSED, END_EXPIRED), CODE_UNSPECIFIED, 1.0, False),
        ((END_DONE, END_CANCELLED), CODE_UNSPECIFIED, 1.0, True),
        ((END_LOST,), CODE_UNSPECIFIED, 1.0, True),
        # Closed by a start that did not last either.
        ((END_DONE,), CODE_SHUTDOWN, 1.0, True),
        ((END_LOST,), CODE_UNSPECIFIED, 124.0, True),
        ((END_LOST,), CODE_UNSPECIFIED, 126.0, False),
    ],
)
def test_what_ended_lately_is_doubtful_unless_every_run_surely_has(
    tmp_path: Path,
    ends: tuple[End.ValueType, ...],
    code: Code.ValueType,
    ago_s: float,
    doubtful: bool,
) -> None:
    rig = Rig(tmp_path / "store")
    rig.wait(rig.store.save_measurement(measurement("m1", call=TAP)))
    end(rig, *ends, ago_s=ago_s, code=code)
    rig.close()
    assert bool(left(tmp_path / "store")) is doubtful


def test_a_doubtful_destination_waits_and_no_other() -> None:
    house = House()
    house.service.hold_back([Doubt(HERE, 20.0)])
    agent = house.agent("a1")
    client = house.client()
    client.ask(destinations=[HERE, THERE])
    assert agent.assignments() == []
    client.ask(destinations=[THERE], call_id=8, idempotency=b"2" * 16)
    (other,) = agent.assignments()
    assert other.target.name == THERE
    agent.finish(other.run)
    house.pass_time(24)
    assert agent.assignments() == []
    house.pass_time(2)
    (held,) = agent.assignments()
    assert held.target.name == HERE


def test_nobody_hears_of_the_hold() -> None:
    house = House()
    house.service.hold_back([Doubt(HERE, 20.0), Doubt(THERE, 3.0)])
    house.pass_time(200)
    assert house.ledger.runs == {}
    assert house.service._parts.driver.scheduler.remembered == 0
