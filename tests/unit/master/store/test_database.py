from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from emodis.master.store.database import Database, open_database, path_of
from emodis.master.store.errors import StoreError
from emodis.master.store.schema import metadata


def opened(path: Path) -> Database:
    return open_database(f"sqlite:///{path}")


def test_the_migrations_make_exactly_the_tables_of_the_schema(tmp_path: Path) -> None:
    database = opened(tmp_path / "emodis.sqlite3")
    with database.write.begin() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, metadata) == []
        made = set(metadata.tables) | {"alembic_version"}
        names = connection.execute(text("select name from sqlite_master where type = 'table'"))
        assert set(names.scalars()) == made
    database.close()


def test_opening_again_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "emodis.sqlite3"
    schemas = []
    for _ in range(2):
        opened(path).close()
        connection = sqlite3.connect(path)
        schemas.append(connection.execute("select * from sqlite_master").fetchall())
        connection.close()
    assert schemas[0] == schemas[1]


def test_missing_folders_are_made_for_the_owner_alone(tmp_path: Path) -> None:
    opened(tmp_path / "state" / "emodis.sqlite3").close()
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


def test_commits_survive_a_power_cut(tmp_path: Path) -> None:
    database = opened(tmp_path / "emodis.sqlite3")
    with database.write.begin() as connection:
        settings = {
            name: connection.execute(text(f"pragma {name}")).scalar_one()
            for name in ("journal_mode", "synchronous", "wal_autocheckpoint", "foreign_keys")
        }
    full = 2
    assert settings == {
        "journal_mode": "wal",
        "synchronous": full,
        "wal_autocheckpoint": 4000,
        "foreign_keys": 1,
    }
    database.close()


def test_the_reading_side_cannot_write(tmp_path: Path) -> None:
    database = opened(tmp_path / "emodis.sqlite3")
    with database.read.begin() as connection, pytest.raises(OperationalError, match="readonly"):
        connection.execute(text("delete from runs"))
    database.close()


def test_a_second_master_is_told_that_the_file_is_taken(tmp_path: Path) -> None:
    first = opened(tmp_path / "emodis.sqlite3")
    with pytest.raises(StoreError, match="another master uses the store"):
        opened(tmp_path / "emodis.sqlite3")
    first.close()
    opened(tmp_path / "emodis.sqlite3").close()


def test_tables_of_a_newer_version_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "emodis.sqlite3"
    opened(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("update alembic_version set version_num = '9999'")
    connection.close()
    with pytest.raises(StoreError, match=r"written by a newer Emodis \(tables 9999\)"):
        opened(path)


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "emodis.sqlite3"
    path.write_text("these are not the bytes you are looking for" * 100)
    with pytest.raises(
        StoreError, match=r"cannot use the store .*: file is not a database"
    ) as info:
        opened(path)
    assert "\n" not in str(info.value)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where a folder should be")
    with pytest.raises(StoreError, match=r"cannot make the store .* choose a folder"):
        opened(tmp_path / "state" / "emodis.sqlite3")


def test_a_failed_opening_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "emodis.sqlite3"
    path.write_bytes(b"garbage" * 1000)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(StoreError):
            opened(path)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    ("url", "text_of_error"),
    [
        ("no url", "not a database URL"),
        ("postgresql://host/emodis", "kept in SQLite in this version, not in postgresql"),
        ("sqlite://", "must be a file"),
        ("sqlite:///:memory:", "must be a file"),
    ],
)
def test_a_url_that_will_not_do_is_explained(url: str, text_of_error: str) -> None:
    with pytest.raises(StoreError, match=text_of_error):
        path_of(url)


def test_the_path_behind_a_url() -> None:
    assert path_of("sqlite:////var/lib/emodis.sqlite3") == Path("/var/lib/emodis.sqlite3")
