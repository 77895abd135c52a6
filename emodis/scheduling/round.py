"""One round of one measurement: which of its pairs are waiting, set aside, or over.

First comes the main pass, in the order of the round's policy. The pairs of an agent that is lost
meanwhile are set aside; when nothing else is left they have one more pass, work-conserving, and
whoever is lost in that is not waited for again.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from emodis.scheduling.deadlines import Deadline
from emodis.scheduling.lock import LockOrder
from emodis.scheduling.model import AgentId, Policy, RoundAdmitted, RunKey
from emodis.scheduling.order import Order, bits
from emodis.scheduling.places import Agent, Destination, Lease, Rank, Run
from emodis.scheduling.ring import RingOrder

_ORDERS: dict[Policy, Callable[..., Order]] = {Policy.RING: RingOrder, Policy.LOCK: LockOrder}


def rows_of(event: RoundAdmitted, agents: dict[AgentId, int]) -> list[int]:
    """The destinations of each agent, as bits.

    Raises:
        ValueError: if a pair names an agent or a destination that the round does not have.
    """
    count = len(event.destinations)
    if event.pairs is None:
        return [(1 << count) - 1] * len(agents)
    rows = [0] * len(agents)
    for agent, destination in event.pairs:
        if agent not in agents or not 0 <= destination < count:
            raise ValueError(f"pair ({agent}, {destination}) is not within its round: list both")
        rows[agents[agent]] |= 1 << destination
    return rows


@attrs.define(eq=False)
class Round:
    """Indexes are those of `agents` ("member") and `destinations`.

    Whoever changes it asks `turn_over` afterwards.
    """

    event: RoundAdmitted
    rank: Rank
    members: dict[AgentId, int]
    agents: tuple[Agent[Round], ...]
    destinations: tuple[Destination[Round], ...]
    # The pairs to begin with: the destinations of each agent, as bits.
    rows: list[int]
    order: Order = attrs.field(init=False)
    # Pairs that have not ended.
    left: int = attrs.field(init=False)
    retrying: bool = attrs.field(default=False, init=False)
    # Destinations of an agent, as bits, that wait for the second pass.
    _aside: dict[int, int] = attrs.field(factory=dict, init=False)
    # Pairs whose first attempt was lost, while nothing came of it and no second one began.
    _tried: set[tuple[int | None, int]] = attrs.field(factory=set, init=False)
    leases: dict[int, Deadline[Run[Round] | Lease[Round]]] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self.order = self._ordered(self.event.policy, self.rows)
        self.left = self.order.left
        for agent, row in zip(self.agents, self.rows, strict=True):
            agent.load += row.bit_count()

    def available(self, member: int) -> bool:
        return self.agents[member].may_serve(self.rank)

    def free(self, destination: int) -> bool:
        return self.destinations[destination].idle

    def key(self, member: int, destination: int, *, attempt: int = 0) -> RunKey:
        return RunKey(
            measurement=self.event.measurement,
            round=self.event.round,
            agent=self.agents[member].id,
            destination=destination,
            attempt=attempt,
        )

    def begin(self, member: int, destination: int) -> RunKey:
        """Name the run that starts now."""
        attempt = int((member, destination) in self._tried)
        self._tried.discard((member, destination))
        self.order.begin(member, destination)
        self._reserve(member)
        return self.key(member, destination, attempt=attempt)

    def end(self, member: int, destination: int) -> bool:
        """The pair is over; True: every agent of the round may have something to do now."""
        self._tried.discard((member, destination))
        self._count_out(member, 1)
        bit = 1 << destination
        if self._aside.get(member, 0) & bit:
            self._aside[member] ^= bit
            return False
        moved = self.order.finish(member, destination)
        self._reserve(member)
        return moved

    def set_aside(self, member: int, begun: int | None) -> bool:
        """Keep what the agent has not finished for the second pass; False: it has nothing.

        `begun` is the destination it was at, if it was at one of this round.
        """
        waiting = self._aside.get(member, 0)
        if begun is not None:
            waiting |= 1 << begun
            self._tried.add((member, begun))
            self.order.finish(member, begun)
        waiting |= self.order.drop(member)
        self._reserve(member)
        if waiting:
            self._aside[member] = waiting
        return bool(waiting)

    def give_up(self, member: int) -> list[RunKey]:
        """End all pairs of the agent that are not begun; the caller tells."""
        waiting = self._aside.pop(member, 0) | self.order.drop(member)
        self._reserve(member)
        destinations = list(bits(waiting))
        self._tried.difference_update((member, destination) for destination in destinations)
        self._count_out(member, len(destinations))
        return [self.key(member, destination) for destination in destinations]

    def awaits(self, run: RunKey) -> bool:
        """Whether this run was lost, and its result, should it come, still ends the pair."""
        member = self.members.get(run.agent)
        return run.attempt == 0 and (member, run.destination) in self._tried

    def turn_over(self) -> bool:
        """Begin the second pass if the main one is through and anything waits for it."""
        if self.retrying or self.order.left or not any(self._aside.values()):
            return False
        rows = [self._aside.get(member, 0) for member in range(len(self.agents))]
        self.order = self._ordered(Policy.LOCK, rows)
        self.retrying = True
        self._aside.clear()
        return True

    def _ordered(self, policy: Policy, rows: list[int]) -> Order:
        return _ORDERS[policy](
            rows, len(self.destinations), available=self.available, free=self.free
        )

    def _count_out(self, member: int, pairs: int) -> None:
        self.left -= pairs
        self.agents[member].load -= pairs

    def _reserve(self, member: int) -> None:
        self.agents[member].reserve(self.rank, self.order.holds(member))
