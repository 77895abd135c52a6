"""Policy `lock`: an idle agent takes any idle destination it has not measured yet.

Destinations already begun come first, so that the measurements of one destination stay close
together; ties go to the lowest index. `_idle` and `_free` hold everyone who is idle and free but
may hold others too: who became busy elsewhere is found out, and taken out, on being looked at.
That keeps the cost of a start independent of how many rounds share the agent.
"""

from __future__ import annotations

from collections.abc import Sequence

from emodis.scheduling.order import Ask, transposed


class LockOrder:
    """Work-conserving: never an idle agent beside a free destination that it has yet to measure."""

    def __init__(self, rows: Sequence[int], destinations: int, *, available: Ask, free: Ask):
        """`rows` has the destinations of each agent, as bits."""
        self.left = sum(row.bit_count() for row in rows)
        self._available = available
        self._is_free = free
        self._todo = list(rows)
        self._need = transposed(rows, columns=destinations)
        self._members = (1 << len(rows)) - 1
        self._idle = self._members
        self._free = (1 << destinations) - 1
        self._started = 0

    def pick(self, agent: int) -> int | None:
        self._idle |= 1 << agent
        while wanted := self._todo[agent] & self._free:
            wanted = (wanted & self._started) or wanted
            low = wanted & -wanted
            destination = low.bit_length() - 1
            if self._is_free(destination):
                return destination
            self._free ^= low
        return None

    def claim(self, destination: int) -> int | None:
        self._free |= 1 << destination
        while candidates := self._need[destination] & self._idle & self._members:
            low = candidates & -candidates
            agent = low.bit_length() - 1
            if self._available(agent):
                return agent
            self._idle ^= low
        return None

    def begin(self, agent: int, destination: int) -> None:
        self._take(agent, destination)
        self._started |= 1 << destination
        self._idle &= ~(1 << agent)
        self._free &= ~(1 << destination)

    def finish(self, agent: int, destination: int) -> bool:
        self.left -= 1
        self._take(agent, destination)
        return False

    def drop(self, agent: int) -> int:
        waiting, self._todo[agent] = self._todo[agent], 0
        self.left -= waiting.bit_count()
        # Not worth clearing it in every destination: `claim` masks it out.
        self._members &= ~(1 << agent)
        return waiting

    def holds(self, agent: int) -> bool:
        """Never: `lock` lends whoever waits."""
        return False

    def _take(self, agent: int, destination: int) -> None:
        self._todo[agent] &= ~(1 << destination)
        self._need[destination] &= ~(1 << agent)
