"""Open the database file: its folder, its owner's lock, its connections, its migrations."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import attrs
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from emodis.master.store.errors import StoreError

# How long a write waits for another process that holds the file, say a backup.
BUSY_TIMEOUT_S = 5.0
# Pages of the write-ahead log before it is folded back: measured to keep commits short.
WAL_AUTOCHECKPOINT_PAGES = 4000


@attrs.frozen(kw_only=True)
class Database:
    """The open file. Transactions of `write` exclude other writers; `read` cannot write."""

    path: Path
    write: Engine
    read: Engine
    lock_fd: int

    def close(self) -> None:
        """Give everything back; the lock last."""
        self.read.dispose()
        self.write.dispose()
        os.close(self.lock_fd)


def open_database(url: str, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> Database:
    """Create what is missing, lock the file for this process, bring its tables up to date.

    Raises:
        StoreError: the URL, the folder or the file will not do, or another master has it.
    """
    path = path_of(url)
    lock_fd = _lock(path)
    try:
        database = Database(
            path=path,
            write=_engine(path, busy_timeout_s=busy_timeout_s, writes=True),
            read=_engine(path, busy_timeout_s=busy_timeout_s, writes=False),
            lock_fd=lock_fd,
        )
        with database.write.begin() as connection:
            migrate(connection)
    except SQLAlchemyError as error:
        os.close(lock_fd)
        raise StoreError(f"cannot use the store {path}: {cause_of(error)}") from error
    except StoreError:
        os.close(lock_fd)
        raise
    return database


def path_of(url: str) -> Path:
    """The file behind `sqlite:////absolute/path`.

    Raises:
        StoreError: it is no URL of a file of SQLite.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise StoreError(f"not a database URL: {url!r}; write sqlite:////absolute/path") from error
    if parsed.get_backend_name() != "sqlite":
        raise StoreError(
            f"the store is kept in SQLite in this version, not in {parsed.get_backend_name()}; "
            "write sqlite:////absolute/path"
        )
    if parsed.database in (None, "", ":memory:"):
        raise StoreError("the store must be a file; write sqlite:////absolute/path")
    return Path(str(parsed.database)).absolute()


def migrate(connection: Connection) -> None:
    """Bring the tables to this version, all or nothing.

    Raises:
        StoreError: a newer Emodis wrote them.
    """
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", "emodis.master.store:migrations")
    config.set_main_option("path_separator", "os")
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        found = MigrationContext.configure(connection).get_current_revision()
        raise StoreError(
            f"the store was written by a newer Emodis (tables {found}); install that version, or "
            "point this one to another file"
        ) from error


def cause_of(error: Exception) -> str:
    """What the database said, in one line."""
    said = getattr(error, "orig", None) or error
    return " ".join(str(said).split()) or type(said).__name__


def _lock(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock_fd = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StoreError(
            f"cannot make the store {path}: {error.strerror}; choose a folder that this user may "
            "write"
        ) from error
    try:
        # The kernel lets go of it however this process ends.
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock_fd)
        raise StoreError(
            f"another master uses the store {path}; stop it, or give this one a file of its own"
        ) from error
    return lock_fd


def _engine(path: Path, *, busy_timeout_s: float, writes: bool) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(path)), connect_args={"timeout": busy_timeout_s}
    )

    # Python's sqlite3 begins transactions by guessing; that breaks savepoints and DDL. So we do.
    @event.listens_for(engine, "connect")
    def _prepare(connection: object, entry: ConnectionPoolEntry) -> None:
        del entry
        connection.isolation_level = None  # type: ignore[attr-defined]
        cursor = connection.cursor()  # type: ignore[attr-defined]
        cursor.execute("PRAGMA journal_mode = WAL")
        # NORMAL may forget the last commits when the power fails, and those are acknowledged.
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute(f"PRAGMA wal_autocheckpoint = {WAL_AUTOCHECKPOINT_PAGES}")
        cursor.execute("PRAGMA foreign_keys = ON")
        if not writes:
            cursor.execute("PRAGMA query_only = ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
