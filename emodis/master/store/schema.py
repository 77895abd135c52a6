"""The tables. A change here goes with a new module in `migrations/versions`; a test compares.

Enums are stored as their numbers in the .proto files, addresses as 4 or 16 bytes, messages that
nobody searches in as they are on the wire. `_unix_ns` is the master's clock, but for
`runs.started_unix_ns`, which is the prober's.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite only makes a rowid of INTEGER, which has 64 bits there anyway.
Cursor = BigInteger().with_variant(Integer(), "sqlite")

agents = Table(
    "agents",
    metadata,
    Column("id", String, primary_key=True),
    Column("place", String, nullable=False),
    Column("asn", BigInteger, nullable=False),
    Column("software", String, nullable=False),
    # The whole Hello, without its token.
    Column("hello", LargeBinary, nullable=False),
    Column("first_seen_unix_ns", BigInteger, nullable=False),
    Column("last_seen_unix_ns", BigInteger, nullable=False),
)

measurements = Table(
    "measurements",
    metadata,
    Column("id", String, primary_key=True),
    # Empty: not the child of a plan.
    Column("parent_id", String, nullable=False),
    Column("technique", String, nullable=False),
    # A Body.
    Column("call", LargeBinary, nullable=False),
    Column("admitted_unix_ns", BigInteger, nullable=False),
    # A Selected.
    Column("selected", LargeBinary),
    # An Ended; both are null while it goes on.
    Column("ended", LargeBinary),
    Column("ended_unix_ns", BigInteger),
    Index(None, "ended_unix_ns"),
)

# What the client said, beside what became of it.
requests = Table(
    "requests",
    metadata,
    Column("measurement_id", ForeignKey("measurements.id"), primary_key=True),
    Column("client_id", String, nullable=False),
    # Null where a request cannot be recognised when it is sent again.
    Column("idempotency", LargeBinary),
    # A Request.
    Column("request", LargeBinary, nullable=False),
    UniqueConstraint("client_id", "idempotency"),
)

targets = Table(
    "targets",
    metadata,
    Column("measurement_id", ForeignKey("measurements.id"), primary_key=True),
    # RunKey.destination.
    Column("destination", Integer, primary_key=True, autoincrement=False),
    Column("address", LargeBinary, nullable=False),
    Column("name", String, nullable=False),
    Index(None, "address"),
)

# The ledger: how each run ended, its best attempt. It outlives a discarded payload. No foreign
# key to the measurement: an agent may deliver what it did for one that this file never knew, and
# would offer it for ever if it were refused.
runs = Table(
    "runs",
    metadata,
    # A row that a better attempt replaces gets a new, higher one.
    Column("cursor", Cursor, primary_key=True, autoincrement=False),
    Column("measurement_id", String, nullable=False),
    Column("round", BigInteger, nullable=False),
    Column("agent_id", String, nullable=False),
    Column("destination", BigInteger, nullable=False),
    Column("attempt", BigInteger, nullable=False),
    Column("end", Integer, nullable=False),
    Column("reason", String, nullable=False),
    Column("hint", String, nullable=False),
    Column("blame", Integer, nullable=False),
    Column("late", Boolean, nullable=False),
    Column("quality", Integer, nullable=False),
    Column("quality_reasons", JSON, nullable=False),
    Column("started_unix_ns", BigInteger, nullable=False),
    Column("duration_ns", BigInteger, nullable=False),
    Column("sent_packets", BigInteger, nullable=False),
    Column("recv_packets", BigInteger, nullable=False),
    Column("sent_bytes", BigInteger, nullable=False),
    Column("recv_bytes", BigInteger, nullable=False),
    Column("transport", Integer, nullable=False),
    # A Result that has nothing but `overlapped`.
    Column("overlapped", LargeBinary, nullable=False),
    UniqueConstraint("measurement_id", "round", "agent_id", "destination"),
    Index(None, "measurement_id", "cursor"),
)

# The payload of a run. Observations come last, so that reading a result never touches their pages.
results = Table(
    "results",
    metadata,
    Column(
        "cursor",
        Cursor,
        ForeignKey("runs.cursor", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    # A Body; null where nothing could be estimated.
    Column("result", LargeBinary),
    Column("observations", LargeBinary, nullable=False),
)
