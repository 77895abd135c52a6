from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from twisted.internet import reactor  # noqa: TID251 - one test is about the real one
from twisted.internet.interfaces import IReactorFromThreads

from emodis.master.store.store import AgentRecord, Store, StoreError
from emodis.wire.v1.client_pb2 import Choice, EndCount, Ended, Selected
from emodis.wire.v1.common_pb2 import Code, Cost, End, Hello
from tests.support.reactor import on_reactor
from tests.unit.master.store.rig import Rig, measurement, outcome, run_key


def test_a_measurement_comes_back_as_it_was_saved(rig: Rig) -> None:
    saved = measurement()
    rig.wait(rig.store.save_measurement(saved))
    assert rig.wait(rig.store.measurement("m1")) == saved


def test_selection_and_end_are_added_to_it_and_the_first_end_stands(rig: Rig) -> None:
    selected = Selected(measurement_id="m1", agents=[Choice(agent_id="a1", why="only one")])
    ended = Ended(measurement_id="m1", counts=[EndCount(end=End.END_DONE, runs=2)])
    rig.wait(rig.store.save_measurement(measurement()))
    rig.wait(rig.store.save_selection("m1", selected))
    rig.wait(rig.store.end_measurement("m1", ended, ended_unix_ns=9_000))
    rig.wait(rig.store.end_measurement("m1", Ended(text="again"), ended_unix_ns=9_999))
    found = rig.wait(rig.store.measurement("m1"))
    assert found is not None
    assert (found.selected, found.ended, found.ended_unix_ns) == (selected, ended, 9_000)


def test_a_measurement_is_found_by_a_prefix_that_only_one_has(rig: Rig) -> None:
    for name in ("abc1", "abd2", "ab"):
        rig.wait(rig.store.save_measurement(measurement(name)))
    found = {
        prefix: rig.wait(rig.store.measurement(prefix))
        for prefix in ("abc", "abd2", "a", "ab", "x", "", "abc%", "ABC")
    }
    ids = {prefix: record.id if record else None for prefix, record in found.items()}
    assert ids == {
        "abc": "abc1",
        "abd2": "abd2",
        "a": None,
        "ab": "ab",
        "x": None,
        "": None,
        "abc%": None,
        "ABC": None,
    }


def test_a_request_sent_twice_is_recognised(rig: Rig) -> None:
    rig.wait(rig.store.save_measurement(measurement("m1", idempotency=b"once")))
    child = measurement("m2", idempotency=b"once", parent_id="m1")
    rig.wait(rig.store.save_measurement(child))
    rig.wait(rig.store.save_measurement(measurement("m3", idempotency=b"")))
    rig.wait(rig.store.save_measurement(measurement("m4", idempotency=b"")))
    found = rig.wait(rig.store.by_idempotency("client", b"once"))
    assert found is not None
    assert found.id == "m1"
    assert rig.wait(rig.store.by_idempotency("somebody else", b"once")) is None
    assert rig.wait(rig.store.by_idempotency("client", b"")) is None


def test_a_second_measurement_of_one_idempotency_fails_alone(rig: Rig) -> None:
    first = rig.store.save_measurement(measurement("m1", idempotency=b"once"))
    second = rig.store.save_measurement(measurement("m2", idempotency=b"once"))
    third = rig.store.save_measurement(measurement("m3"))
    rig.wait(first)
    with pytest.raises(StoreError, match="does not take this: UNIQUE constraint failed"):
        rig.wait(second)
    rig.wait(third)
    assert rig.wait(rig.store.measurement("m2")) is None
    assert rig.wait(rig.store.measurement("m3")) is not None


def test_an_agent_is_refreshed_and_its_token_is_not_kept(rig: Rig) -> None:
    rig.wait(rig.store.save_agent(Hello(id="a1", token="secret"), asn=65001, seen_unix_ns=10))  # noqa: S106
    newer = Hello(id="a1", token="secret", place="Utrecht", software="emodis-agent 2")  # noqa: S106
    rig.wait(rig.store.save_agent(newer, asn=65002, seen_unix_ns=20))
    with sqlite3.connect(rig.path) as connection:
        rows = connection.execute("select * from agents").fetchall()
    connection.close()
    kept = Hello(id="a1", place="Utrecht", software="emodis-agent 2").SerializeToString()
    assert rows == [("a1", "Utrecht", 65002, "emodis-agent 2", kept, 10, 20)]


def test_agents_are_listed_page_by_page_by_id(rig: Rig) -> None:
    for name in ("b", "a", "d", "c"):
        rig.wait(rig.store.save_agent(Hello(id=name, place=name), asn=65001, seen_unix_ns=10))
    first = rig.wait(rig.store.agents(after="", limit=3))
    assert [agent.hello.id for agent in first] == ["a", "b", "c"]
    assert first[0] == AgentRecord(hello=Hello(id="a", place="a"), asn=65001, last_seen_unix_ns=10)
    assert [agent.hello.id for agent in rig.wait(rig.store.agents(after="c", limit=3))] == ["d"]


def test_the_deferred_fires_only_when_another_connection_sees_the_row(rig: Rig) -> None:
    seen = []
    other = sqlite3.connect(rig.path)

    def look(cursor: int) -> None:
        seen.append(other.execute("select count(*) from runs where cursor = ?", (cursor,)))

    saves = [rig.store.save_run(run_key(n), outcome(), late=False, overlapped=()) for n in range(9)]
    for save in saves:
        _ = save.addCallback(look)
        rig.wait(save)
    assert [row.fetchone() for row in seen] == [(1,)] * 9
    other.close()


def test_orphans_of_a_crash_are_closed_with_what_their_runs_had_cost(rig: Rig) -> None:
    rig.wait(rig.store.save_measurement(measurement("ended")))
    rig.wait(rig.store.end_measurement("ended", Ended(text="regular"), ended_unix_ns=50))
    rig.wait(rig.store.save_measurement(measurement("m1")))
    rig.wait(rig.store.save_measurement(measurement("unstarted")))
    rig.save(run_key(0), outcome())
    rig.save(run_key(1), outcome(End.END_LOST))
    assert rig.wait(rig.store.close_orphans(77)) == 2
    assert rig.wait(rig.store.close_orphans(78)) == 0
    found = rig.wait(rig.store.measurement("m1"))
    assert found is not None
    assert found.ended_unix_ns == 77
    assert found.ended == Ended(
        measurement_id="m1",
        counts=[EndCount(end=End.END_DONE, runs=1), EndCount(end=End.END_LOST, runs=1)],
        cost=Cost(sent_packets=6, recv_packets=4, sent_bytes=600, recv_bytes=400),
        code=Code.CODE_SHUTDOWN,
        text="the master stopped before this measurement had ended",
    )
    untouched = rig.wait(rig.store.measurement("ended"))
    assert untouched is not None
    assert untouched.ended == Ended(text="regular")


def test_what_was_saved_is_there_after_opening_again(tmp_path: Path) -> None:
    first = Rig(tmp_path / "emodis.sqlite3")
    first.wait(first.store.save_measurement(measurement()))
    cursor = first.save(run_key(0), outcome())
    first.close()
    second = Rig(tmp_path / "emodis.sqlite3")
    assert second.wait(second.store.measurement("m1")) == measurement()
    assert second.save(run_key(0), outcome()) == cursor
    assert second.save(run_key(1), outcome()) > cursor
    second.close()


def test_closing_writes_what_waits_and_then_takes_no_more(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "emodis.sqlite3")
    saves = [rig.store.save_run(run_key(n), outcome(), late=False, overlapped=()) for n in range(9)]
    first, second = rig.store.close(), rig.store.close()
    rig.wait(first)
    rig.wait(second)
    rig.wait(rig.store.close())
    assert sorted(rig.wait(save) for save in saves) == list(range(1, 10))
    with pytest.raises(StoreError, match="the store is closed"):
        rig.save(run_key(0), outcome())
    with pytest.raises(StoreError, match="the store is closed"):
        rig.wait(rig.store.measurement("m1"))


def test_waiting_writes_are_counted_until_they_are_committed(rig: Rig) -> None:
    saves = [rig.store.save_run(run_key(n), outcome(), late=False, overlapped=()) for n in range(5)]
    assert rig.store.queue_rows == 5
    for save in saves:
        rig.wait(save)
    assert rig.store.queue_rows == 0


@on_reactor
async def test_it_works_on_the_real_reactor(tmp_path: Path) -> None:
    store = Store.open(
        f"sqlite:///{tmp_path}/new/folder/emodis.sqlite3", IReactorFromThreads(reactor)
    )
    await store.save_measurement(measurement())
    saves = [store.save_run(run_key(n), outcome(), late=False, overlapped=()) for n in range(1000)]
    cursors = [await save for save in saves]
    assert cursors == sorted(set(cursors))
    assert await store.measurement("m1") == measurement()
    await store.close()


def test_ten_thousand_runs(rig: Rig) -> None:
    saves = [
        rig.store.save_run(run_key(n % 100, round=n // 100), outcome(), late=False, overlapped=())
        for n in range(10_000)
    ]
    assert [rig.wait(save) for save in saves] == list(range(1, 10_001))
    # Ten batches of a thousand, and perhaps a small one that left before the rest was there.
    assert rig.pump.deliveries <= 14
    page = rig.wait(rig.store.results("m1", after=9_990, limit=100, with_observations=False))
    assert [result.cursor for result in page] == list(range(9_991, 10_001))
