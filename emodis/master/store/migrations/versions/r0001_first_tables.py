"""Agents, requests, measurements, targets, the ledger of runs, and their results."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create everything."""
    op.create_table(
        "agents",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("place", sa.String(), nullable=False),
        sa.Column("asn", sa.BigInteger(), nullable=False),
        sa.Column("software", sa.String(), nullable=False),
        sa.Column("hello", sa.LargeBinary(), nullable=False),
        sa.Column("first_seen_unix_ns", sa.BigInteger(), nullable=False),
        sa.Column("last_seen_unix_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_agents"),
    )
    op.create_table(
        "measurements",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("parent_id", sa.String(), nullable=False),
        sa.Column("technique", sa.String(), nullable=False),
        sa.Column("call", sa.LargeBinary(), nullable=False),
        sa.Column("admitted_unix_ns", sa.BigInteger(), nullable=False),
        sa.Column("selected", sa.LargeBinary(), nullable=True),
        sa.Column("ended", sa.LargeBinary(), nullable=True),
        sa.Column("ended_unix_ns", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_measurements"),
    )
    op.create_index("ix_measurements_ended_unix_ns", "measurements", ["ended_unix_ns"])
    _create_requests_and_targets()
    _create_runs_and_results()


def _create_requests_and_targets() -> None:
    op.create_table(
        "requests",
        sa.Column("measurement_id", sa.String(), nullable=False),
        sa.Column("client_id", sa.String(), nullable=False),
        sa.Column("idempotency", sa.LargeBinary(), nullable=True),
        sa.Column("request", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["measurement_id"], ["measurements.id"], name="fk_requests_measurement_id"
        ),
        sa.PrimaryKeyConstraint("measurement_id", name="pk_requests"),
        sa.UniqueConstraint("client_id", "idempotency", name="uq_requests_client_id_idempotency"),
    )
    op.create_table(
        "targets",
        sa.Column("measurement_id", sa.String(), nullable=False),
        sa.Column("destination", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("address", sa.LargeBinary(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["measurement_id"], ["measurements.id"], name="fk_targets_measurement_id"
        ),
        sa.PrimaryKeyConstraint("measurement_id", "destination", name="pk_targets"),
    )
    op.create_index("ix_targets_address", "targets", ["address"])


def _create_runs_and_results() -> None:
    cursor = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "runs",
        sa.Column("cursor", cursor, autoincrement=False, nullable=False),
        sa.Column("measurement_id", sa.String(), nullable=False),
        sa.Column("round", sa.BigInteger(), nullable=False),
        sa.Column("agent_id", sa.String(), nullable=False),
        sa.Column("destination", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("end", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("hint", sa.String(), nullable=False),
        sa.Column("blame", sa.Integer(), nullable=False),
        sa.Column("late", sa.Boolean(), nullable=False),
        sa.Column("quality", sa.Integer(), nullable=False),
        sa.Column("quality_reasons", sa.JSON(), nullable=False),
        sa.Column("started_unix_ns", sa.BigInteger(), nullable=False),
        sa.Column("duration_ns", sa.BigInteger(), nullable=False),
        sa.Column("sent_packets", sa.BigInteger(), nullable=False),
        sa.Column("recv_packets", sa.BigInteger(), nullable=False),
        sa.Column("sent_bytes", sa.BigInteger(), nullable=False),
        sa.Column("recv_bytes", sa.BigInteger(), nullable=False),
        sa.Column("transport", sa.Integer(), nullable=False),
        sa.Column("overlapped", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("cursor", name="pk_runs"),
        sa.UniqueConstraint(
            "measurement_id",
            "round",
            "agent_id",
            "destination",
            name="uq_runs_measurement_id_round_agent_id_destination",
        ),
    )
    op.create_index("ix_runs_measurement_id_cursor", "runs", ["measurement_id", "cursor"])
    op.create_table(
        "results",
        sa.Column("cursor", cursor, autoincrement=False, nullable=False),
        sa.Column("result", sa.LargeBinary(), nullable=True),
        sa.Column("observations", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["cursor"], ["runs.cursor"], name="fk_results_cursor", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("cursor", name="pk_results"),
    )
