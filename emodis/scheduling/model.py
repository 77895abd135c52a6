"""What the scheduler is told (events) and what it answers (decisions).

All times are nanoseconds of one clock, the master's monotonic one.

A pair is one agent measuring one destination in one round; it ends exactly once, by `RunEnded`
from outside or by an `End` decision from here, and may have several attempts before that.
"""

from __future__ import annotations

import enum
from typing import NewType

import attrs

AgentId = NewType("AgentId", str)
MeasurementId = NewType("MeasurementId", str)
# Canonical text of the destination's address: the lock key over all requests.
DestinationKey = NewType("DestinationKey", str)


class Policy(enum.Enum):
    """In which order PM_SYN visits the pairs (DESIGN.md section 4)."""

    RING = "ring"
    LOCK = "lock"


class Why(enum.Enum):
    """The ends that the scheduler itself decides."""

    LOST = "lost"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


@attrs.frozen(order=True)
class RunKey:
    """One attempt of a pair. `destination` is the index into the round's destinations."""

    measurement: MeasurementId
    round: int
    agent: AgentId
    destination: int
    attempt: int = 0


@attrs.frozen(kw_only=True)
class RoundAdmitted:
    """Every listed agent shall measure every listed destination once, or one agent each (`pairs`).

    `pairs`, when given, restricts the round to these (agent, destination index) pairs: ANY.
    A key listed twice is measured twice, never at once. Higher `priority` comes first, then the
    earlier admission. `exclusive` says that a run has its agent to itself; here every run has.
    """

    at_ns: int
    measurement: MeasurementId
    round: int
    policy: Policy
    agents: tuple[AgentId, ...]
    destinations: tuple[DestinationKey, ...]
    # From start_by to stop_by: the technique's worst case.
    worst_case_ns: int
    exclusive: bool
    pairs: frozenset[tuple[AgentId, int]] | None = None
    priority: int = 0


@attrs.frozen(kw_only=True)
class RunEnded:
    """A result arrived for this run, whatever it says: nothing is being sent for it any more.

    `unfinished`: the agent only confirms that it stopped, because it had lost its master. A lost
    agent's pair then keeps its retry; otherwise a late result ends a pair that waits for one.
    """

    at_ns: int
    run: RunKey
    unfinished: bool = False


@attrs.frozen(kw_only=True)
class AgentJoined:
    """A session began. While we think it has a run, `AgentLost` is taken to have come first."""

    at_ns: int
    agent: AgentId


@attrs.frozen(kw_only=True)
class AgentLost:
    """Its session ended; it may still be sending until `stop_by`."""

    at_ns: int
    agent: AgentId


@attrs.frozen(kw_only=True)
class MeasurementCancelled:
    at_ns: int
    measurement: MeasurementId


@attrs.frozen(kw_only=True)
class TimePassed:
    """Everything that arrived before this time has been handed in; nothing else ends a wait."""

    at_ns: int


Event = RoundAdmitted | RunEnded | AgentJoined | AgentLost | MeasurementCancelled | TimePassed


@attrs.frozen(kw_only=True)
class Start:
    """Send this assignment now."""

    run: RunKey
    destination: DestinationKey
    start_by_ns: int
    stop_by_ns: int


@attrs.frozen(kw_only=True)
class Abort:
    """Tell the agent to stop; the destination stays locked until it confirms or `stop_by`."""

    run: RunKey


@attrs.frozen(kw_only=True)
class End:
    """The pair is over without a result in time."""

    run: RunKey
    why: Why
    # Stable code for Ending.reason.
    reason: str


@attrs.frozen(kw_only=True)
class RoundEnded:
    """Every pair of the round has ended."""

    measurement: MeasurementId
    round: int


Decision = Start | Abort | End | RoundEnded
