"""Messages to rows and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from sqlalchemy import Row

from emodis.master.store.records import AgentRecord, MeasurementRecord
from emodis.wire.v1.client_pb2 import Ended, Request, Result, Selected
from emodis.wire.v1.common_pb2 import (
    Body,
    Cost,
    Ending,
    Hello,
    Outcome,
    Quality,
    RunKey,
    Target,
)

# (measurement, round, agent, destination): a RunKey without its attempt.
Key = tuple[str, int, str, int]
Values = dict[str, Any]
AnyRow: TypeAlias = "Row[*tuple[Any, ...]]"
# The widest integer of a table; a peer may count further, to 2**64 - 1.
LARGEST = 2**63 - 1


def key_of(run: RunKey) -> Key:
    """What a run is stored under."""
    return run.measurement_id, run.round, run.agent_id, run.destination


def ledger_values(
    run: RunKey, outcome: Outcome, *, late: bool, overlapped: Sequence[RunKey]
) -> Values:
    """The row of `runs`, but for its cursor."""
    cost = outcome.cost
    return {
        "measurement_id": run.measurement_id,
        "round": run.round,
        "agent_id": run.agent_id,
        "destination": run.destination,
        "attempt": run.attempt,
        "end": outcome.ending.end,
        "reason": outcome.ending.reason,
        "hint": outcome.ending.hint,
        "blame": outcome.ending.blame,
        "late": late,
        "quality": outcome.quality.word,
        "quality_reasons": list(outcome.quality.reasons),
        "started_unix_ns": outcome.started_unix_ns,
        "duration_ns": outcome.duration_ns,
        "sent_packets": min(cost.sent_packets, LARGEST),
        "recv_packets": min(cost.recv_packets, LARGEST),
        "sent_bytes": min(cost.sent_bytes, LARGEST),
        "recv_bytes": min(cost.recv_bytes, LARGEST),
        "transport": outcome.transport,
        "overlapped": Result(overlapped=overlapped).SerializeToString(),
    }


def payload_values(outcome: Outcome) -> Values:
    """The row of `results`, but for its cursor."""
    body = outcome.result.SerializeToString() if outcome.HasField("result") else None
    return {"result": body, "observations": outcome.observations}


def result_of(row: AnyRow) -> Result:
    """A row of `runs` beside its payload; the columns of a discarded one are null."""
    outcome = Outcome(
        ending=Ending(
            end=row.end,
            reason=row.reason,
            hint=row.hint,
            blame=row.blame,
        ),
        observations=row.observations or b"",
        quality=Quality(word=row.quality, reasons=row.quality_reasons),
        started_unix_ns=row.started_unix_ns,
        duration_ns=row.duration_ns,
        cost=Cost(
            sent_packets=row.sent_packets,
            recv_packets=row.recv_packets,
            sent_bytes=row.sent_bytes,
            recv_bytes=row.recv_bytes,
        ),
        transport=row.transport,
    )
    if row.result is not None:
        outcome.result.MergeFromString(row.result)
    run = RunKey(
        measurement_id=row.measurement_id,
        round=row.round,
        agent_id=row.agent_id,
        destination=row.destination,
        attempt=row.attempt,
    )
    return Result(
        cursor=row.cursor,
        run=run,
        outcome=outcome,
        overlapped=Result.FromString(row.overlapped).overlapped,
        late=row.late,
    )


def agent_of(row: AnyRow) -> AgentRecord:
    """A row of `agents`."""
    return AgentRecord(
        hello=Hello.FromString(row.hello),
        asn=row.asn,
        last_seen_unix_ns=row.last_seen_unix_ns,
    )


def measurement_of(row: AnyRow, targets: Sequence[AnyRow]) -> MeasurementRecord:
    """A row of `measurements` beside its request, and its targets in order."""
    return MeasurementRecord(
        id=row.id,
        parent_id=row.parent_id,
        client_id=row.client_id,
        idempotency=row.idempotency or b"",
        call=Body.FromString(row.call),
        targets=tuple(Target(address=target.address, name=target.name) for target in targets),
        request=Request.FromString(row.request),
        admitted_unix_ns=row.admitted_unix_ns,
        selected=None if row.selected is None else Selected.FromString(row.selected),
        ended=None if row.ended is None else Ended.FromString(row.ended),
        ended_unix_ns=row.ended_unix_ns,
    )
