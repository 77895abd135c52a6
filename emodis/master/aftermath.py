"""After a restart: what the master gave away in its last life is not given to others yet.

An agent that was cut off without noticing, or whose daemon is stopped while its prober goes on,
keeps to its `stop_by`, which the new master does not know. What it does know, from the store, is
which measurements had not surely ended, and no `stop_by` of theirs can be later than now plus the
time an assignment and its run may take.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import ip_address

import attrs
from sqlalchemy import select

from emodis.master.clock_driver import ClockDriver
from emodis.master.clocks import NS
from emodis.master.store.database import Database
from emodis.master.store.schema import measurements, targets
from emodis.scheduling.model import AgentId, DestinationKey, Policy
from emodis.techniques.base import BadParameters, Technique
from emodis.wire.v1.client_pb2 import Ended
from emodis.wire.v1.common_pb2 import (
    CODE_UNSPECIFIED,
    END_DONE,
    END_EXPIRED,
    END_FAILED,
    END_REFUSED,
    Body,
)

# No run may last longer (DESIGN.md 4).
LONGEST_RUN_S = 120.0
# Ends after which nothing is being sent any more, whoever said so.
_SURE = {END_DONE, END_EXPIRED, END_FAILED, END_REFUSED}


@attrs.frozen
class Doubt:
    """A destination that an agent may be probing, and how long one run of it can take."""

    destination: DestinationKey
    worst_case_s: float


def doubts(
    database: Database,
    *,
    find: Callable[[str], Technique | None],
    now_unix_ns: int,
    rtt_max_s: float,
) -> list[Doubt]:
    """Ask the store, before it closes what the last life left open."""
    longest_ns = round((LONGEST_RUN_S + rtt_max_s) * NS)
    recent = measurements.c.ended_unix_ns > now_unix_ns - longest_ns
    query = (
        select(measurements.c.call, measurements.c.ended, targets.c.address)
        .join_from(measurements, targets)
        .where(measurements.c.ended_unix_ns.is_(None) | recent)
    )
    found: dict[DestinationKey, float] = {}
    with database.read.begin() as connection:
        for row in connection.execute(query):
            if row.ended is None or not _surely_over(Ended.FromString(row.ended)):
                key = DestinationKey(str(ip_address(row.address)))
                worst_s = _worst_case_s(Body.FromString(row.call), find)
                found[key] = max(worst_s, found.get(key, 0.0))
    return [Doubt(key, worst_s) for key, worst_s in found.items()]


def hold_back(driver: ClockDriver, doubtful: Iterable[Doubt]) -> None:
    """Lock each destination as for a run of an agent that was lost in the middle of it.

    The names of these agents and measurements are none that an agent or a client can have.
    """
    for number, doubt in enumerate(doubtful):
        ghost = f"?{number}"
        driver.joined(AgentId(ghost))
        driver.admit(
            ghost,
            policy=Policy.LOCK,
            agents=(AgentId(ghost),),
            destinations=(doubt.destination,),
            worst_case_s=doubt.worst_case_s,
            exclusive=True,
            pairs=None,
        )
        driver.lost(AgentId(ghost))
        driver.cancelled(ghost)


def _surely_over(ended: Ended) -> bool:
    return ended.code == CODE_UNSPECIFIED and all(
        count.end in _SURE for count in ended.counts if count.runs
    )


def _worst_case_s(call: Body, find: Callable[[str], Technique | None]) -> float:
    technique = find(call.technique)
    if technique is None:
        return LONGEST_RUN_S
    try:
        return technique.worst_case(call).duration_s
    except BadParameters:
        # Written by another version.
        return LONGEST_RUN_S
