"""What may be asked of the store. Plain reads on a connection that cannot write."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, literal, select

from emodis.master.store.records import AgentRecord, MeasurementRecord
from emodis.master.store.rows import agent_of, measurement_of, result_of
from emodis.master.store.schema import agents, measurements, requests, results, runs, targets
from emodis.wire.v1.client_pb2 import Result
from emodis.wire.v1.common_pb2 import End

# Sorts behind any id that begins with the same letters.
LAST_LETTER = "\U0010ffff"


def agents_after(connection: Connection, after: str, *, limit: int) -> list[AgentRecord]:
    """A page of all agents that were ever here, by id."""
    rows = connection.execute(
        select(agents).where(agents.c.id > after).order_by(agents.c.id).limit(limit)
    )
    return [agent_of(row) for row in rows]


def find_measurement(connection: Connection, measurement_id: str) -> MeasurementRecord | None:
    """By its id, or by a prefix that only one id has; None also where several have it."""
    if not measurement_id:
        return None
    exact = _measurement(connection, measurements.c.id == measurement_id)
    if exact is not None:
        return exact
    return _measurement(
        connection,
        measurements.c.id.between(measurement_id, measurement_id + LAST_LETTER),
    )


def find_by_idempotency(
    connection: Connection, client_id: str, idempotency: bytes
) -> MeasurementRecord | None:
    """The measurement that this request of this client has become."""
    if not idempotency:
        return None
    return _measurement(
        connection,
        (requests.c.client_id == client_id) & (requests.c.idempotency == idempotency),
    )


def _measurement(
    connection: Connection, condition: ColumnElement[bool]
) -> MeasurementRecord | None:
    rows = connection.execute(
        select(measurements, requests.c.client_id, requests.c.idempotency, requests.c.request)
        .join_from(measurements, requests)
        .where(condition)
        .limit(2)
    ).all()
    if len(rows) != 1:
        return None
    places = connection.execute(
        select(targets.c.address, targets.c.name)
        .where(targets.c.measurement_id == rows[0].id)
        .order_by(targets.c.destination)
    ).all()
    return measurement_of(rows[0], places)


def results_after(
    connection: Connection, measurement_id: str, *, after: int, limit: int, with_observations: bool
) -> list[Result]:
    """A measurement's results with a cursor above `after`, oldest first."""
    rows = connection.execute(
        _results(with_observations=with_observations)
        .where(runs.c.measurement_id == measurement_id, runs.c.cursor > after)
        .order_by(runs.c.cursor)
        .limit(limit)
    )
    return [result_of(row) for row in rows]


def newest_towards(
    connection: Connection, technique: str, address: bytes, *, since_unix_ns: int
) -> list[Result]:
    """The newest DONE result of each agent, of that technique and to that address."""
    rows = connection.execute(
        _results(with_observations=False)
        .join(measurements, measurements.c.id == runs.c.measurement_id)
        .join(
            targets,
            (targets.c.measurement_id == runs.c.measurement_id)
            & (targets.c.destination == runs.c.destination),
        )
        .where(
            targets.c.address == address,
            measurements.c.technique == technique,
            measurements.c.admitted_unix_ns >= since_unix_ns,
            runs.c.end == End.END_DONE,
            results.c.result.is_not(None),
        )
        .order_by(runs.c.cursor)
    )
    newest = {row.agent_id: row for row in rows}
    return [result_of(row) for row in newest.values()]


def newest_targets(
    connection: Connection, technique: str, *, since_unix_ns: int, limit: int
) -> list[bytes]:
    """Addresses with a DONE result of that technique, the newest first."""
    rows = connection.execute(
        select(targets.c.address)
        .join(
            runs,
            (runs.c.measurement_id == targets.c.measurement_id)
            & (runs.c.destination == targets.c.destination),
        )
        .join(measurements, measurements.c.id == targets.c.measurement_id)
        .where(
            measurements.c.technique == technique,
            measurements.c.admitted_unix_ns >= since_unix_ns,
            runs.c.end == End.END_DONE,
        )
        .group_by(targets.c.address)
        .order_by(func.max(runs.c.cursor).desc())
        .limit(limit)
    )
    return [bytes(row.address) for row in rows]


def _results(*, with_observations: bool) -> Select[Any]:
    body: ColumnElement[Any] = results.c.observations if with_observations else literal(None)
    return select(runs, results.c.result, body.label("observations")).outerjoin_from(
        runs, results, results.c.cursor == runs.c.cursor
    )
