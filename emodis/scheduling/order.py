"""What a policy is: the order in which one round visits its pairs, and nothing else.

A policy works with the indexes of its own round. Sets of agents or destinations are the bits of
an int, bit i for index i: a round of a thousand by a thousand then needs no object per pair, and
"which of these is idle" is one AND (SCALE.md section 6).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

# Whether an agent may be given a run of this round now, or a destination is locked by nobody.
Ask = Callable[[int], bool]


class Order(Protocol):
    """One pass over the pairs of one round. A pair is waiting, then begun, then finished."""

    @property
    def left(self) -> int:
        """How many pairs are not finished."""
        ...

    def pick(self, agent: int) -> int | None:
        """Which destination this agent, which is available, begins now; None: none that may be."""
        ...

    def claim(self, destination: int) -> int | None:
        """Which available agent begins this destination, which is free, now."""
        ...

    def begin(self, agent: int, destination: int) -> None:
        """The pair has been started."""
        ...

    def finish(self, agent: int, destination: int) -> bool:
        """The pair, begun or waiting, needs nothing more from this pass; True: ask every agent."""
        ...

    def drop(self, agent: int) -> int:
        """Take the agent out; its waiting pairs (none may be begun) as destination bits."""
        ...

    def holds(self, agent: int) -> bool:
        """Whether the agent is in the middle of its work here, and younger rounds must wait."""
        ...


def bits(mask: int) -> Iterator[int]:
    """The indexes in a set, ascending."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def transposed(rows: Sequence[int], *, columns: int) -> list[int]:
    """Bit i of column j for bit j of row i."""
    full = (1 << columns) - 1
    everyone = (1 << len(rows)) - 1
    if all(row == full for row in rows):
        return [everyone] * columns
    turned = [0] * columns
    for row, mask in enumerate(rows):
        for column in bits(mask):
            turned[column] |= 1 << row
    return turned
