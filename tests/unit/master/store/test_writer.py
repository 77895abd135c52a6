"""Group commit, pressure, and what happens when the disk does not play along."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import attrs
import pytest
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import OperationalError
from twisted.internet.defer import Deferred

from emodis.master.store import writer as writer_module
from emodis.master.store.database import Database, open_database
from emodis.master.store.errors import StoreError
from emodis.master.store.writer import ArrivalRate, Waiting, Writer, take
from tests.unit.master.store.rig import Pump


def put(connection: Connection, items: Sequence[str]) -> list[str]:
    """A write: a text is kept and answered in capitals; "poison" is not taken."""
    if "poison" in items:
        raise ValueError("poison is not taken")
    connection.execute(text("insert into words values (:word)"), [{"word": item} for item in items])
    return [item.upper() for item in items]


def put_differently(connection: Connection, items: Sequence[str]) -> list[str]:
    """Another kind of write, so that groups alternate."""
    return put(connection, items)


@attrs.define
class WriterRig:
    """A writer on a file with one table. `begins` counts its transactions."""

    database: Database
    pump: Pump = attrs.field(factory=Pump)
    pressure: list[bool] = attrs.field(factory=list)
    begins: int = 0
    writer: Writer = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        with self.database.write.begin() as connection:
            connection.execute(text("create table words (word text unique)"))
        event.listen(self.database.write, "begin", self._count)
        self.writer = Writer(
            self.database.write,
            deliver=self.pump.callFromThread,
            clock_s=lambda: 0.0,
            on_pressure=self.pressure.append,
        )

    def _count(self, connection: Connection) -> None:
        del connection
        self.begins += 1

    def submit(self, word: str, *, size_bytes: int = 1) -> Deferred[str]:
        return self.writer.submit(put, word, size_bytes=size_bytes)

    def words(self) -> list[str]:
        connection = sqlite3.connect(self.database.path)
        rows = connection.execute("select word from words order by rowid").fetchall()
        connection.close()
        return [word for (word,) in rows]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[WriterRig]:
    url = f"sqlite:///{tmp_path}/emodis.sqlite3"
    rig = WriterRig(open_database(url, busy_timeout_s=0.0))
    yield rig
    rig.pump.wait(rig.writer.close())
    rig.database.close()


def test_all_that_waits_shares_one_transaction_and_one_delivery(rig: WriterRig) -> None:
    words = [f"w{n}" for n in range(1000)]
    saves = [rig.submit(word) for word in words]
    rig.writer.start()
    assert [rig.pump.wait(save) for save in saves] == [word.upper() for word in words]
    assert (rig.begins, rig.pump.deliveries) == (1, 1)
    assert rig.words() == words


def test_a_lone_row_is_committed_at_once(rig: WriterRig) -> None:
    rig.writer.start()
    for n in range(5):
        rig.pump.wait(rig.submit(f"w{n}"))
    assert rig.begins == 5


def test_order_is_kept_between_kinds_of_write(rig: WriterRig) -> None:
    saves = [
        rig.writer.submit(put if n % 3 else put_differently, f"w{n}", size_bytes=1)
        for n in range(20)
    ]
    rig.writer.start()
    assert [rig.pump.wait(save) for save in saves] == [f"W{n}" for n in range(20)]
    assert rig.words() == [f"w{n}" for n in range(20)]
    assert rig.begins == 1


@pytest.mark.parametrize(
    ("sizes", "batches"),
    [
        ([], []),
        ([1] * 2500, [1000, 1000, 500]),
        ([2**20] * 9, [4, 4, 1]),
        ([2**23, 1, 2**23], [1, 1, 1]),
    ],
)
def test_a_batch_is_bounded_in_rows_and_bytes(sizes: list[int], batches: list[int]) -> None:
    queue = deque(Waiting(put, "", size_bytes, Deferred()) for size_bytes in sizes)
    taken = []
    while batch := take(queue):
        taken.append(len(batch))
    assert taken == batches


def test_pressure_is_told_once_up_and_once_down(
    rig: WriterRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "QUEUE_ROWS", 10)
    monkeypatch.setattr(writer_module, "BATCH_ROWS", 3)
    saves = [rig.submit(f"w{n}") for n in range(10)]
    assert rig.pressure == []
    saves += [rig.submit(f"w{n}") for n in range(10, 13)]
    assert rig.pressure == [True]
    rig.writer.start()
    rig.pump.wait(saves[5])
    assert (rig.writer.rows, rig.pressure) == (7, [True])
    rig.pump.wait(saves[8])
    assert (rig.writer.rows, rig.pressure) == (4, [True, False])
    rig.pump.wait(saves[-1])
    assert (rig.writer.rows, rig.pressure) == (0, [True, False])


def test_bytes_press_as_rows_do(rig: WriterRig) -> None:
    saves = [rig.submit(f"w{n}", size_bytes=2**20) for n in range(32)]
    assert rig.pressure == []
    saves.append(rig.submit("drop"))
    assert rig.pressure == [True]
    rig.writer.start()
    rig.pump.wait(saves[-1])
    assert rig.pressure == [True, False]


def test_a_write_that_does_not_fit_fails_alone(rig: WriterRig) -> None:
    words = ["a", "poison", "b", "a", "c"]
    saves = [rig.submit(word) for word in words]
    rig.writer.start()
    with pytest.raises(StoreError, match="does not take this: poison is not taken"):
        rig.pump.wait(saves[1])
    with pytest.raises(StoreError, match="does not take this: UNIQUE constraint failed"):
        rig.pump.wait(saves[3])
    assert [rig.pump.wait(saves[n]) for n in (0, 2, 4)] == ["A", "B", "C"]
    assert rig.words() == ["a", "b", "c"]


def test_a_full_disk_fails_the_batch_and_the_writer_goes_on(rig: WriterRig) -> None:
    big = "x" * 100_000
    with rig.database.write.begin() as connection:
        pages = connection.execute(text("pragma page_count")).scalar_one()

    def limit(connection: sqlite3.Connection, entry: object) -> None:
        del entry
        connection.execute(f"pragma max_page_count = {room}")

    room = pages + 1
    rig.database.write.dispose()
    event.listen(rig.database.write, "connect", limit)
    saves = [rig.submit("small"), rig.submit(big)]
    rig.writer.start()
    for save in saves:
        with pytest.raises(StoreError, match="lost 2 writes: database or disk is full; make room"):
            rig.pump.wait(save)
    assert rig.writer.rows == 0
    room = pages + 1000
    assert rig.pump.wait(rig.submit(big)) == big.upper()
    assert rig.words() == [big]


def test_a_locked_file_fails_the_batch_and_the_writer_goes_on(rig: WriterRig) -> None:
    rig.writer.start()
    other = sqlite3.connect(rig.database.path, isolation_level=None)
    other.execute("begin immediate")
    with pytest.raises(StoreError, match="lost a write: database is locked"):
        rig.pump.wait(rig.submit("while locked"))
    other.execute("rollback")
    other.close()
    assert rig.pump.wait(rig.submit("afterwards")) == "AFTERWARDS"


def test_a_broken_file_fails_the_batch_without_a_hang(rig: WriterRig) -> None:
    rig.writer.start()
    rig.pump.wait(rig.submit("before"))
    rig.database.write.dispose()
    with sqlite3.connect(rig.database.path) as connection:
        connection.execute("pragma wal_checkpoint(truncate)")
    connection.close()
    rig.database.path.write_bytes(b"not a database at all" * 1000)
    with pytest.raises(StoreError, match="lost a write: file is not a database"):
        rig.pump.wait(rig.submit("after"))


@pytest.mark.parametrize("nth", range(1, 10))
def test_an_error_at_the_nth_call_loses_nothing_acknowledged(rig: WriterRig, nth: int) -> None:
    """Three batches of three calls each: BEGIN, INSERT, COMMIT."""
    calls = 0

    def count() -> None:
        nonlocal calls
        calls += 1
        if calls == nth:
            raise OperationalError("shim", {}, sqlite3.OperationalError("disk I/O error"))

    def before_execute(*args: object) -> None:
        del args
        count()

    def before_commit(connection: Connection) -> None:
        del connection
        count()

    event.listen(rig.database.write, "before_cursor_execute", before_execute)
    event.listen(rig.database.write, "commit", before_commit)
    rig.writer.start()
    acknowledged = []
    for n in range(3):
        save = rig.submit(f"w{n}")
        if n == (nth - 1) // 3:
            with pytest.raises(StoreError, match="lost a write: disk I/O error"):
                rig.pump.wait(save)
        else:
            rig.pump.wait(save)
            acknowledged.append(f"w{n}")
    assert rig.words() == acknowledged


def test_the_rate_is_judged_four_times_a_second() -> None:
    rate = ArrivalRate(10.0)
    rate.note(900, at_s=10.1)
    assert rate.per_s == 0.0
    rate.note(600, at_s=10.25)
    assert rate.per_s == pytest.approx(6000.0)
    rate.note(1, at_s=20.25)
    assert rate.per_s == pytest.approx(0.1)


def test_above_the_busy_rate_it_waits_a_moment_for_company(tmp_path: Path) -> None:
    """The clock says that 1000 rows came within a quarter of a second; nothing may be held up."""
    now_s = iter([0.0, *[0.25 * n for n in range(1, 1000)]])
    database = open_database(f"sqlite:///{tmp_path}/emodis.sqlite3")
    pump = Pump()
    clock: Callable[[], float] = lambda: next(now_s)  # noqa: E731
    writer = Writer(database.write, deliver=pump.callFromThread, clock_s=clock, on_pressure=print)
    with database.write.begin() as connection:
        connection.execute(text("create table words (word text unique)"))
    first = [writer.submit(put, f"w{n}", size_bytes=1) for n in range(1000)]
    writer.start()
    pump.wait(first[-1])
    assert pump.wait(writer.submit(put, "alone", size_bytes=1)) == "ALONE"
    pump.wait(writer.close())
    database.close()
