"""What has arrived of one train that the partner sends. Pure."""

from __future__ import annotations

import attrs

from emodis.techniques import igi_keys


@attrs.define(kw_only=True)
class Collection:
    """Only probes of this train, from the partner, each once; all else is counted."""

    tag: bytes
    train: int
    packets: int
    duplicates: int = 0
    foreign: int = 0
    _times_ns: dict[int, int] = attrs.field(factory=dict, init=False)

    def add(self, payload: bytes, at_ns: int, *, from_partner: bool) -> None:
        """A datagram came."""
        number = self.number(payload) if from_partner else None
        if number is None:
            self.foreign += 1
        elif number in self._times_ns:
            self.duplicates += 1
        else:
            self._times_ns[number] = at_ns

    @property
    def complete(self) -> bool:
        """Nothing is missing."""
        return len(self._times_ns) == self.packets

    @property
    def arrivals(self) -> tuple[tuple[int, int], ...]:
        """(number, time) in order of arrival."""
        return tuple(sorted(self._times_ns.items(), key=lambda arrival: arrival[1]))

    def number(self, payload: bytes) -> int | None:
        """Which probe of this train it is; None if it is none."""
        if len(payload) < igi_keys.PROBE_HEADER.size:
            return None
        tag, train, number = igi_keys.PROBE_HEADER.unpack_from(payload)
        wanted = igi_keys.same(tag, self.tag) and train == self.train and number < self.packets
        return number if wanted else None
