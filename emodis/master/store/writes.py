"""What each kind of write does inside the writer's transaction.

Every function takes all neighbouring writes of its kind at once and answers each of them, in
order. They are called again, with fewer, when one of the batch does not fit the tables.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import attrs
from sqlalchemy import Connection, and_, bindparam, delete, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from emodis.master.store.records import MeasurementRecord
from emodis.master.store.rows import Key, Values, key_of, ledger_values, payload_values
from emodis.master.store.schema import agents, measurements, requests, results, runs, targets
from emodis.wire.v1.client_pb2 import EndCount, Ended
from emodis.wire.v1.common_pb2 import Code, Cost, End, Hello, Outcome, RunKey

KEY = (runs.c.measurement_id, runs.c.round, runs.c.agent_id, runs.c.destination)
# The keys go in as one JSON text: `key IN (...)` would scan the whole ledger, and a VALUES table
# is compiled anew for each batch, which costs more than the batch.
WANTED = func.json_each(bindparam("keys")).table_valued("value", name="wanted")
STANDING = (
    select(*KEY, runs.c.cursor, runs.c.end, runs.c.attempt, runs.c.late)
    .select_from(WANTED)
    .join(
        runs,
        and_(
            *(
                column == func.json_extract(WANTED.c.value, f"$[{place}]")
                for place, column in enumerate(KEY)
            )
        ),
    )
)


@attrs.frozen(kw_only=True)
class SeenAgent:
    """An agent was here."""

    hello: Hello
    asn: int
    seen_unix_ns: int


@attrs.frozen(kw_only=True)
class EndedMeasurement:
    """A measurement came to its end."""

    measurement_id: str
    ended: Ended
    ended_unix_ns: int


@attrs.frozen(kw_only=True)
class EndedRun:
    """A run ended, and what it left behind."""

    run: RunKey
    outcome: Outcome
    late: bool
    overlapped: Sequence[RunKey]


@attrs.frozen
class Standing:
    """How good a stored attempt is."""

    cursor: int
    done: bool
    attempt: int
    late: bool

    def beaten_by(self, write: EndedRun) -> bool:
        """DONE beats anything but DONE, then the newest; of one attempt, what the agent says late.

        A DONE once acknowledged is never taken back.
        """
        if self.done:
            return False
        if write.outcome.ending.end == End.END_DONE:
            return True
        return (write.run.attempt, write.late) > (self.attempt, self.late)


def save_agents(connection: Connection, writes: Sequence[SeenAgent]) -> list[None]:
    """Insert or refresh; a new row is first seen when it is last seen."""
    statement = upsert(agents)
    fresh = ("place", "asn", "software", "hello", "last_seen_unix_ns")
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["id"], set_={name: statement.excluded[name] for name in fresh}
        ),
        [_agent_values(write) for write in writes],
    )
    return [None] * len(writes)


def _agent_values(write: SeenAgent) -> Values:
    hello = Hello()
    hello.CopyFrom(write.hello)
    hello.ClearField("token")
    return {
        "id": hello.id,
        "place": hello.place,
        "asn": write.asn,
        "software": hello.software,
        "hello": hello.SerializeToString(),
        "first_seen_unix_ns": write.seen_unix_ns,
        "last_seen_unix_ns": write.seen_unix_ns,
    }


def save_measurements(connection: Connection, writes: Sequence[MeasurementRecord]) -> list[None]:
    """Insert measurements with their requests and targets."""
    connection.execute(insert(measurements), [_measurement_values(write) for write in writes])
    connection.execute(insert(requests), [_request_values(write) for write in writes])
    places = [
        {
            "measurement_id": write.id,
            "destination": destination,
            "address": target.address,
            "name": target.name,
        }
        for write in writes
        for destination, target in enumerate(write.targets)
    ]
    if places:
        connection.execute(insert(targets), places)
    return [None] * len(writes)


def _measurement_values(record: MeasurementRecord) -> Values:
    selected, ended = record.selected, record.ended
    return {
        "id": record.id,
        "parent_id": record.parent_id,
        "technique": record.call.technique,
        "call": record.call.SerializeToString(),
        "admitted_unix_ns": record.admitted_unix_ns,
        "selected": None if selected is None else selected.SerializeToString(),
        "ended": None if ended is None else ended.SerializeToString(),
        "ended_unix_ns": record.ended_unix_ns,
    }


def _request_values(record: MeasurementRecord) -> Values:
    recognised = record.idempotency and not record.parent_id
    return {
        "measurement_id": record.id,
        "client_id": record.client_id,
        "idempotency": record.idempotency if recognised else None,
        "request": record.request.SerializeToString(),
    }


def save_selections(connection: Connection, writes: Sequence[tuple[str, bytes]]) -> list[None]:
    """Keep a serialised Selected each."""
    connection.execute(
        update(measurements)
        .where(measurements.c.id == bindparam("wanted"))
        .values(selected=bindparam("chosen")),
        [{"wanted": measurement_id, "chosen": chosen} for measurement_id, chosen in writes],
    )
    return [None] * len(writes)


def end_measurements(connection: Connection, writes: Sequence[EndedMeasurement]) -> list[None]:
    """Keep how they ended; the first end of each stands."""
    connection.execute(
        update(measurements)
        .where(measurements.c.id == bindparam("wanted"), measurements.c.ended_unix_ns.is_(None))
        .values(ended=bindparam("how"), ended_unix_ns=bindparam("at")),
        [
            {
                "wanted": write.measurement_id,
                "how": write.ended.SerializeToString(),
                "at": write.ended_unix_ns,
            }
            for write in writes
        ],
    )
    return [None] * len(writes)


def save_runs(connection: Connection, writes: Sequence[EndedRun]) -> list[int]:
    """Keep the best attempt of each run; answers its cursor, which is new where it got better."""
    standing = _standing(connection, {key_of(write.run) for write in writes})
    cursor: int = connection.execute(select(func.coalesce(func.max(runs.c.cursor), 0))).scalar_one()
    replaced: list[int] = []
    kept: dict[int, EndedRun] = {}
    answers = []
    for write in writes:
        key = key_of(write.run)
        before = standing.get(key)
        if before is None or before.beaten_by(write):
            cursor += 1
            if before is not None and kept.pop(before.cursor, None) is None:
                replaced.append(before.cursor)
            kept[cursor] = write
            done = write.outcome.ending.end == End.END_DONE
            standing[key] = Standing(cursor, done, write.run.attempt, write.late)
        answers.append(standing[key].cursor)
    _replace(connection, replaced, kept)
    return answers


def _standing(connection: Connection, keys: set[Key]) -> dict[Key, Standing]:
    rows = connection.execute(STANDING, {"keys": json.dumps(sorted(keys))})
    return {
        (row.measurement_id, row.round, row.agent_id, row.destination): Standing(
            row.cursor, row.end == End.END_DONE, row.attempt, row.late
        )
        for row in rows
    }


def _replace(connection: Connection, replaced: Sequence[int], kept: dict[int, EndedRun]) -> None:
    if replaced:
        connection.execute(
            delete(runs).where(runs.c.cursor == bindparam("worse")),
            [{"worse": cursor} for cursor in replaced],
        )
    if kept:
        connection.execute(
            insert(runs),
            [
                {
                    "cursor": cursor,
                    **ledger_values(
                        write.run, write.outcome, late=write.late, overlapped=write.overlapped
                    ),
                }
                for cursor, write in kept.items()
            ],
        )
        connection.execute(
            insert(results),
            [{"cursor": cursor, **payload_values(write.outcome)} for cursor, write in kept.items()],
        )


def discard_payloads(connection: Connection, writes: Sequence[str]) -> list[None]:
    """Remove the payloads of these measurements."""
    doomed = select(runs.c.cursor).where(runs.c.measurement_id == bindparam("wanted"))
    connection.execute(
        delete(results).where(results.c.cursor.in_(doomed)),
        [{"wanted": measurement_id} for measurement_id in writes],
    )
    return [None] * len(writes)


def close_orphans(connection: Connection, writes: Sequence[int]) -> list[int]:
    """End all that is open, at the time given; answers how many were."""
    answers = []
    for at_unix_ns in writes:
        orphans = connection.execute(
            select(measurements.c.id).where(measurements.c.ended_unix_ns.is_(None))
        ).scalars()
        ends = [
            EndedMeasurement(
                measurement_id=orphan,
                ended=_cut_short(connection, orphan),
                ended_unix_ns=at_unix_ns,
            )
            for orphan in orphans.all()
        ]
        if ends:
            end_measurements(connection, ends)
        answers.append(len(ends))
    return answers


def _cut_short(connection: Connection, measurement_id: str) -> Ended:
    columns = (runs.c.sent_packets, runs.c.recv_packets, runs.c.sent_bytes, runs.c.recv_bytes)
    rows = connection.execute(
        select(runs.c.end, func.count(), *(func.sum(column) for column in columns))
        .where(runs.c.measurement_id == measurement_id)
        .group_by(runs.c.end)
        .order_by(runs.c.end)
    ).all()
    return Ended(
        measurement_id=measurement_id,
        counts=[EndCount(end=row[0], runs=row[1]) for row in rows],
        cost=Cost(**_totals([column.name for column in columns], rows)),
        code=Code.CODE_SHUTDOWN,
        text="the master stopped before this measurement had ended",
    )


def _totals(names: Sequence[str], rows: Sequence[Any]) -> dict[str, int]:
    return {name: sum(row[2 + place] for row in rows) for place, name in enumerate(names)}
