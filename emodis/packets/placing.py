"""Which probe an answer belongs to that does not say so itself. Pure.

A router that quotes only 8 bytes of a UDP probe quotes nothing of its payload, and then the error
queue has no word of which probe it was. Its address tells, once it is known at which hop it
stands; two probes for one hop are told apart by the order of their answers. What remains is looked
at when the train is over, and only where it allows one reading.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Generic, TypeVar

from emodis.packets.model import Address

Word = TypeVar("Word")
_MOST_FOR_EACH = 4


class Placing(Generic[Word]):
    """The answers of one train. `known` maps routers to the TTL they were heard at."""

    def __init__(self, ttls: Sequence[int], known: Mapping[Address, int]) -> None:
        self._ttls = ttls
        self._known = known
        self._open = set(range(len(ttls)))
        self._beyond = 256
        self._waiting: dict[Address, list[Word]] = {}
        self._kept = 0

    def answered(self, index: int, *, by_target: bool) -> None:
        """A probe has its answer."""
        self._open.discard(index)
        if by_target:
            self._beyond = min(self._beyond, self._ttls[index])

    def place(self, address: Address) -> int | None:
        """The earliest open probe that this address answers; None while it may be several's."""
        ttl = self._known.get(address)
        if ttl is None:
            ttls = {self._ttls[index] for index in self._open}
            if len(ttls) != 1:
                return None
            ttl = ttls.pop()
        return self._earliest(ttl)

    def earliest_open(self) -> int | None:
        """The probe that was sent first of those without an answer."""
        return min(self._open, default=None)

    def is_open(self, index: int) -> bool:
        """Whether this probe has no answer yet."""
        return index in self._open

    def keep(self, address: Address, word: Word) -> None:
        """An answer that could not be placed yet; of a flood, a few for each probe."""
        if self._kept < _MOST_FOR_EACH * len(self._ttls):
            self._kept += 1
            self._waiting.setdefault(address, []).append(word)

    def settle(self) -> Iterator[tuple[int | None, Word]]:
        """Give what was kept to silent hops, if there are just as many: in order of arrival."""
        silent = sorted(self._silent_ttls())
        certain = len(silent) == len(self._waiting)
        for place, words in enumerate(self._waiting.values()):
            for word in words:
                index = self._earliest(silent[place]) if certain else None
                if index is not None:
                    self._open.discard(index)
                yield index, word

    def _earliest(self, ttl: int) -> int | None:
        return min((index for index in self._open if self._ttls[index] == ttl), default=None)

    def _silent_ttls(self) -> set[int]:
        heard = {ttl for index, ttl in enumerate(self._ttls) if index not in self._open}
        return {ttl for ttl in self._ttls if ttl not in heard and ttl < self._beyond}
