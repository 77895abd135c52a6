"""After every event: whoever may have become able to start something is asked, oldest round first.

Between events no available agent stands beside a free destination that its round lets it begin.
So only what an event freed or moved needs a look, and starting something makes nobody else able:
one sweep in the order of the requests is enough.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import TypeAlias

import attrs

from emodis.scheduling.places import Agent, Destination, Rank
from emodis.scheduling.round import Round

Begin = Callable[[Round, int, int], None]
# The round that is asked next, a tie-break, the place in the list of rounds, whose list.
_Turn: TypeAlias = tuple[Rank, int, int, Agent[Round] | Destination[Round] | Round]


@attrs.define(eq=False)
class Offers:
    """What is to be asked; dicts, not sets, so that the same events give the same decisions."""

    agents: dict[Agent[Round], None] = attrs.field(factory=dict, init=False)
    destinations: dict[Destination[Round], None] = attrs.field(factory=dict, init=False)
    rounds: dict[Round, None] = attrs.field(factory=dict, init=False)

    def sweep(self, begin: Begin) -> None:
        """Call `begin(round, member, destination)` for all that can start."""
        queue = self._first_turns()
        while queue:
            _, number, place, who = queue[0]
            if isinstance(who, Round):
                _ask_everyone(who, begin)
            elif _ask_next(who, place, begin):
                following = (who.rounds[place + 1][0], number, place + 1, who)
                heapq.heapreplace(queue, following)
                continue
            heapq.heappop(queue)

    def clear(self) -> None:
        self.agents.clear()
        self.destinations.clear()
        self.rounds.clear()

    def _first_turns(self) -> list[_Turn]:
        queue: list[_Turn] = []
        # Within a rank the whole round goes first: ties then fall to the lowest index.
        for round_ in self.rounds:
            queue.append((round_.rank, len(queue), 0, round_))
        freed: tuple[Agent[Round] | Destination[Round], ...] = (*self.agents, *self.destinations)
        for spot in freed:
            if spot.idle and spot.rounds:
                queue.append((spot.rounds[0][0], len(queue), 0, spot))
        heapq.heapify(queue)
        return queue


def _ask_everyone(round_: Round, begin: Begin) -> None:
    if not round_.left:
        return
    for member in range(len(round_.agents)):
        if round_.available(member):
            destination = round_.order.pick(member)
            if destination is not None:
                begin(round_, member, destination)


def _ask_next(who: Agent[Round] | Destination[Round], place: int, begin: Begin) -> bool:
    """Ask one round what it has for this agent or destination; True: go on with the next round."""
    if not who.idle:
        return False
    rank, index, round_ = who.rounds[place]
    if isinstance(who, Agent):
        if not who.may_serve(rank):
            return False
        destination = round_.order.pick(index)
        if destination is not None:
            begin(round_, index, destination)
            return False
    else:
        member = round_.order.claim(index)
        if member is not None:
            begin(round_, member, index)
            return False
    return place + 1 < len(who.rounds)
