"""An assignment as the agent holds it: the master's message with its deadlines in our clock."""

from __future__ import annotations

from typing import NamedTuple

import attrs

from emodis.wire.v1.agent_pb2 import Assignment
from emodis.wire.v1.common_pb2 import RunKey


class TaskKey(NamedTuple):
    """A RunKey that can be a dictionary's key."""

    measurement_id: str
    round: int
    agent_id: str
    destination: int
    attempt: int


def key_of(run: RunKey) -> TaskKey:
    """The same names, hashable."""
    return TaskKey(run.measurement_id, run.round, run.agent_id, run.destination, run.attempt)


@attrs.frozen(kw_only=True)
class Task:
    """Start only before `start_by_ns`, send only before `stop_by_ns`, both CLOCK_BOOTTIME."""

    assignment: Assignment
    key: TaskKey
    start_by_ns: int
    stop_by_ns: int

    def belongs_to(self, measurement_ids: frozenset[str]) -> bool:
        """Whether its client is the one of these measurements, directly or through a plan."""
        return (
            self.key.measurement_id in measurement_ids
            or self.assignment.parent_id in measurement_ids
        )
