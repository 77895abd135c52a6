"""Who holds what: the agents, the destinations and the runs between them, over all rounds.

A run holds its agent and its destination while it may be sending, whatever became of its pair.
`stop_by` frees the destination in any case; an agent whose pair is still open stays with it for
the result's grace, so that an agent has at most one open pair. Of a round nothing is known here
but its rank; `R` is the round.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from operator import itemgetter
from typing import Generic, Protocol, TypeAlias, TypeVar

import attrs

from emodis.scheduling.deadlines import Deadline
from emodis.scheduling.model import AgentId, DestinationKey, RunKey

# What orders requests: minus the priority, then the number of the admission.
Rank: TypeAlias = tuple[int, int]


class Ranked(Protocol):
    """What a round is to the places that it wants."""

    rank: Rank


R = TypeVar("R", bound=Ranked)


@attrs.define(eq=False)
class Spot(Generic[R]):
    """What an agent and a destination have in common: rounds that want it, at most one run."""

    # Oldest first, with the index that the round knows it by; no two rounds share a rank.
    rounds: list[tuple[Rank, int, R]] = attrs.field(factory=list, init=False)
    run: Run[R] | None = attrs.field(default=None, init=False)

    def join(self, round_: R, index: int) -> None:
        entry = (round_.rank, index, round_)
        if not self.rounds or self.rounds[-1][0] < round_.rank:
            self.rounds.append(entry)
        else:
            insort(self.rounds, entry)

    def leave(self, round_: R) -> None:
        first = bisect_left(self.rounds, round_.rank, key=itemgetter(0))
        last = first
        while last < len(self.rounds) and self.rounds[last][2] is round_:
            last += 1
        del self.rounds[first:last]

    @property
    def idle(self) -> bool:
        return self.run is None

    @property
    def forgettable(self) -> bool:
        return self.run is None and not self.rounds


@attrs.define(eq=False)
class Agent(Spot[R]):
    """An agent, present or expected back."""

    id: AgentId
    present: bool = False
    # Pairs that have not ended, over all rounds.
    load: int = 0
    # Ranks of the rings it is in the middle of, oldest first: a hold against younger rounds only,
    # else two rings could wait for each other's agents for ever (docs/adr/0001).
    reserved: list[Rank] = attrs.field(factory=list)

    @property
    def idle(self) -> bool:
        return self.present and self.run is None

    @property
    def forgettable(self) -> bool:
        return not self.present and self.run is None and not self.rounds

    def may_serve(self, rank: Rank) -> bool:
        """Idle, and not in the middle of a ring that goes before this rank."""
        if not self.present or self.run is not None:
            return False
        return not self.reserved or rank <= self.reserved[0]

    def reserve(self, rank: Rank, holds: bool) -> None:
        """Note whether the ring of this rank is in the middle of using it."""
        if holds:
            if rank not in self.reserved:
                insort(self.reserved, rank)
        elif rank in self.reserved:
            self.reserved.remove(rank)


@attrs.define(eq=False)
class Destination(Spot[R]):
    """One lock key."""

    key: DestinationKey
    # Past its stop_by without a word: it should have stopped, but has not said so.
    straggler: Run[R] | None = None

    @property
    def forgettable(self) -> bool:
        return self.run is None and not self.rounds and self.straggler is None


@attrs.define(eq=False)
class Run(Generic[R]):
    """A started run, until nobody can be sending for it and its pair is not open by it."""

    key: RunKey
    round: R
    agent: Agent[R]
    member: int
    destination: Destination[R]
    stop_by_ns: int
    deadline: Deadline[Run[R] | Lease[R]] | None = None
    # The pair will end by this run, unless it is taken away from it.
    open: bool = True
    # Runs that were on the same destination or agent while this one may have been sending.
    others: list[RunKey] = attrs.field(factory=list)


@attrs.define(eq=False)
class Lease(Generic[R]):
    """How long the pairs of an absent agent wait for it in one round."""

    round: R
    member: int
