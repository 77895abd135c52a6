"""A run's key: as a message (mutable, unhashable) and as the scheduler's value."""

from __future__ import annotations

from ipaddress import ip_address

from emodis.scheduling.model import AgentId, DestinationKey, MeasurementId, RunKey
from emodis.wire.v1 import common_pb2

# One agent and one destination (its index) of a measurement; has one end per round.
Pair = tuple[AgentId, int]


def to_wire(run: RunKey) -> common_pb2.RunKey:
    """For a message."""
    return common_pb2.RunKey(
        measurement_id=run.measurement,
        round=run.round,
        agent_id=run.agent,
        destination=run.destination,
        attempt=run.attempt,
    )


def from_wire(run: common_pb2.RunKey) -> RunKey:
    """From a message."""
    return RunKey(
        measurement=MeasurementId(run.measurement_id),
        round=run.round,
        agent=AgentId(run.agent_id),
        destination=run.destination,
        attempt=run.attempt,
    )


def lock_key(target: common_pb2.Target) -> DestinationKey:
    """What is locked when this target is probed."""
    return DestinationKey(str(ip_address(target.address)))
