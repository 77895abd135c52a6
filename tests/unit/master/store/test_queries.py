from __future__ import annotations

import sqlite3
from typing import Any

from sqlalchemy import event

from emodis.wire.v1.client_pb2 import Result
from emodis.wire.v1.common_pb2 import Body, End, Target
from tests.unit.master.store.rig import Rig, measurement, outcome, run_key

HERE = bytes([10, 0, 0, 1])
V6 = bytes(range(16))


def test_a_result_comes_back_as_it_was_saved(rig: Rig) -> None:
    overlapped = [run_key(1, agent_id="a2"), run_key(0, measurement_id="m9", round=4)]
    run = run_key(1, round=3, attempt=2)
    cursor = rig.wait(rig.store.save_run(run, outcome(), late=True, overlapped=overlapped))
    expected = Result(cursor=cursor, run=run, outcome=outcome(), late=True, overlapped=overlapped)
    assert rig.wait(rig.store.results("m1", after=0, limit=9, with_observations=True)) == [expected]
    expected.outcome.ClearField("observations")
    assert rig.wait(rig.store.results("m1", after=0, limit=9, with_observations=False)) == [
        expected
    ]


def test_results_are_paged_by_cursor(rig: Rig) -> None:
    for destination in range(7):
        rig.save(run_key(destination), outcome())
        rig.save(run_key(destination, measurement_id="other"), outcome())
    pages = []
    after = 0
    while page := rig.wait(rig.store.results("m1", after=after, limit=3, with_observations=False)):
        pages.append([result.run.destination for result in page])
        after = page[-1].cursor
    assert pages == [[0, 1, 2], [3, 4, 5], [6]]


def towards(
    rig: Rig, technique: str = "ping", address: bytes = HERE, since: int = 0
) -> list[Result]:
    return rig.wait(rig.store.results_towards(technique, address, since_unix_ns=since))


def test_the_newest_done_result_of_each_agent_towards_a_target(rig: Rig) -> None:
    for name, admitted in (("m1", 100), ("m2", 200)):
        rig.wait(rig.store.save_measurement(measurement(name, admitted_unix_ns=admitted)))
    rig.save(run_key(0, agent_id="a1"), outcome())
    rig.save(run_key(0, agent_id="a2"), outcome())
    newest = rig.save(run_key(0, agent_id="a1", measurement_id="m2"), outcome())
    rig.save(run_key(0, agent_id="a2", measurement_id="m2"), outcome(End.END_FAILED))
    rig.save(run_key(1, agent_id="a3"), outcome())
    found = towards(rig)
    assert {(result.run.agent_id, result.run.measurement_id) for result in found} == {
        ("a1", "m2"),
        ("a2", "m1"),
    }
    assert [result.cursor for result in towards(rig, since=150)] == [newest]
    assert towards(rig, since=201) == []
    assert towards(rig, technique="traceroute") == []
    assert [result.run.agent_id for result in towards(rig, address=bytes([10, 0, 0, 2]))] == ["a3"]


def test_a_discarded_result_is_no_cache(rig: Rig) -> None:
    rig.wait(rig.store.save_measurement(measurement()))
    rig.save(run_key(0), outcome())
    assert len(towards(rig)) == 1
    rig.wait(rig.store.discard_payloads("m1"))
    assert towards(rig) == []


def test_a_target_may_have_either_family(rig: Rig) -> None:
    record = measurement(
        targets=(Target(address=V6, name="six.example"),), call=Body(technique="pathneck")
    )
    rig.wait(rig.store.save_measurement(record))
    rig.save(run_key(0), outcome())
    assert len(towards(rig, technique="pathneck", address=V6)) == 1


def test_no_statement_reads_a_whole_table_that_grows(rig: Rig) -> None:
    said: list[tuple[str, Any]] = []

    def note(
        connection: object, cursor: object, statement: str, parameters: Any, *_: object
    ) -> None:
        del connection, cursor
        if statement.startswith(("SELECT", "UPDATE", "DELETE", "WITH")):
            said.append((statement, parameters))

    for engine in (rig.store._database.read, rig.store._database.write):
        event.listen(engine, "before_cursor_execute", note)
    rig.wait(rig.store.save_measurement(measurement()))
    rig.save(run_key(0), outcome(End.END_LOST))
    rig.save(run_key(0, attempt=1), outcome())
    rig.wait(rig.store.results("m1", after=0, limit=9, with_observations=True))
    towards(rig)
    rig.wait(rig.store.measurement("m"))
    rig.wait(rig.store.agents(after="a", limit=9))
    rig.wait(rig.store.by_idempotency("client", b"m1"))
    rig.wait(rig.store.discard_payloads("m1"))
    rig.wait(rig.store.close_orphans(9))
    connection = sqlite3.connect(rig.path)
    for statement, parameters in said:
        one = parameters[0] if isinstance(parameters, list) else parameters
        plan = connection.execute("explain query plan " + statement, one).fetchall()
        scans = [step for *_, step in plan if step.startswith("SCAN ")]
        grown = ("runs", "results", "targets", "measurements", "requests", "agents")
        assert [step for step in scans if step.split()[1] in grown] == [], statement
    connection.close()
    assert len(said) >= 10


def test_the_newest_targets_of_a_technique(rig: Rig) -> None:
    for name, admitted in (("m1", 100), ("m2", 200)):
        rig.wait(rig.store.save_measurement(measurement(name, admitted_unix_ns=admitted)))
    rig.save(run_key(0), outcome())
    rig.save(run_key(1), outcome(End.END_FAILED))
    rig.save(run_key(1, measurement_id="m2"), outcome())
    rig.save(run_key(0, measurement_id="m2", agent_id="a9"), outcome(End.END_FAILED))

    def recent(technique: str = "ping", since: int = 0, limit: int = 9) -> list[bytes]:
        return rig.wait(rig.store.recent_targets(technique, since_unix_ns=since, limit=limit))

    places = [one.address for one in measurement("m1").targets]
    assert recent() == [places[1], places[0]]
    assert recent(limit=1) == [places[1]]
    assert recent(since=150) == [places[1]]
    assert recent("pathneck") == []
