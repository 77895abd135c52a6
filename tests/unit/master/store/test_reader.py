from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from emodis.master.store.database import open_database
from emodis.master.store.errors import StoreError
from emodis.master.store.reader import Reader
from tests.unit.master.store.rig import Pump


@pytest.fixture
def pump() -> Pump:
    return Pump()


@pytest.fixture
def reader(tmp_path: Path, pump: Pump) -> Iterator[Reader]:
    database = open_database(f"sqlite:///{tmp_path}/emodis.sqlite3")
    reader = Reader(database.read, deliver=pump.callFromThread)
    reader.start()
    yield reader
    pump.wait(reader.close())
    database.close()


def count(connection: Connection) -> int:
    found: int = connection.execute(text("select count(*) from runs")).scalar_one()
    return found


def broken(connection: Connection) -> int:
    found: int = connection.execute(text("select 1 from nowhere")).scalar_one()
    return found


def test_a_query_that_fails_says_so_and_the_next_is_answered(reader: Reader, pump: Pump) -> None:
    asked = [reader.ask(broken), reader.ask(count)]
    with pytest.raises(StoreError, match="cannot be read: no such table: nowhere"):
        pump.wait(asked[0])
    assert pump.wait(asked[1]) == 0


def test_a_query_with_a_mistake_does_not_end_the_thread(reader: Reader, pump: Pump) -> None:
    def mistaken(connection: Connection) -> None:
        del connection
        raise ZeroDivisionError

    with pytest.raises(StoreError, match="cannot be read: ZeroDivisionError"):
        pump.wait(reader.ask(mistaken))
    assert pump.wait(reader.ask(count)) == 0
