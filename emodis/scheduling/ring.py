"""Policy `ring`, the paper's PM_SYN (emodis.txt section 4; Figure 3 is a test).

Agent i begins at destination i and goes round; it may enter the next destination when the agent
ahead of it, cyclically, has finished there. So destination j is visited by ascending (j - i) mod
n: the k-th step of every agent is the k-th visit of every destination, which is why nobody ever
waits in a circle. More agents than destinations form phases of n agents, with a strict barrier.
Where a pair falls away (lost agent, restricted round) its place is skipped.
"""

from __future__ import annotations

from collections.abc import Sequence

from emodis.scheduling.order import Ask


class RingOrder:
    """Per agent the step it is at, per destination whose turn it is; both only move forwards."""

    def __init__(self, rows: Sequence[int], destinations: int, *, available: Ask, free: Ask):
        """`rows` has the destinations of each agent, as bits."""
        self._available = available
        self._is_free = free
        # Not 0, for the round that has nothing to do.
        self._size = max(destinations, 1)
        self._open = list(rows)
        self._step = [0] * len(rows)
        self._begun = bytearray(len(rows))
        self._in_phase = [
            sum(row.bit_count() for row in rows[first : first + self._size])
            for first in range(0, len(rows), self._size)
        ]
        self.left = sum(self._in_phase)
        self._phase = 0
        self._turn = [0] * self._size
        self._pass_barriers()

    def pick(self, agent: int) -> int | None:
        destination = self._next(agent)
        if destination is None or self._whose_turn(destination) != agent:
            return None
        return destination if self._is_free(destination) else None

    def claim(self, destination: int) -> int | None:
        agent = self._whose_turn(destination)
        if agent is None or self._next(agent) != destination:
            return None
        return agent if self._available(agent) else None

    def begin(self, agent: int, destination: int) -> None:
        self._begun[agent] = True

    def finish(self, agent: int, destination: int) -> bool:
        self._open[agent] &= ~(1 << destination)
        return self._leave(agent, 1)

    def drop(self, agent: int) -> int:
        waiting, self._open[agent] = self._open[agent], 0
        self._leave(agent, waiting.bit_count())
        return waiting

    def holds(self, agent: int) -> bool:
        """From its first start to its last end the agent is reserved."""
        return bool(self._begun[agent] and self._open[agent])

    def _next(self, agent: int) -> int | None:
        """The next destination on the agent's way round."""
        step, open_ = self._step[agent], self._open[agent]
        while step < self._size:
            destination = (agent + step) % self._size
            if open_ >> destination & 1:
                self._step[agent] = step
                return destination
            step += 1
        self._step[agent] = step
        return None

    def _whose_turn(self, destination: int) -> int | None:
        """The first agent of the phase, in ring order, that has not finished here."""
        first, turn = self._phase * self._size, self._turn[destination]
        while turn < self._size:
            agent = first + (destination - turn) % self._size
            if agent < len(self._open) and self._open[agent] >> destination & 1:
                self._turn[destination] = turn
                return agent
            turn += 1
        self._turn[destination] = turn
        return None

    def _leave(self, agent: int, pairs: int) -> bool:
        self.left -= pairs
        self._in_phase[agent // self._size] -= pairs
        return self._pass_barriers()

    def _pass_barriers(self) -> bool:
        """Open the next phase that has anything to do, once this one has nothing."""
        before = self._phase
        while self._phase < len(self._in_phase) and not self._in_phase[self._phase]:
            self._phase += 1
        if moved := self._phase != before:
            self._turn = [0] * self._size
        return moved
