"""Timeouts by one sweep: an ordered dict, longest silent first, no timer each (SCALE.md 4).

A master that was itself late (stopped, swapped out, a long collection) must not blame its peers:
`forgive` moves everybody's deadline by the time that was lost (SCALE.md 7, Lifeguard).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

import attrs

K = TypeVar("K")


@attrs.define
class Watch(Generic[K]):
    """Who was heard when; the one not heard for `timeout_s` is due."""

    timeout_s: float
    _heard_s: OrderedDict[K, float] = attrs.field(factory=OrderedDict, init=False)
    _forgiven_s: float = attrs.field(default=0.0, init=False)

    def __len__(self) -> int:
        return len(self._heard_s)

    def heard(self, key: K, now_s: float) -> None:
        """Start to watch, or push the deadline forward."""
        self._heard_s[key] = now_s - self._forgiven_s
        self._heard_s.move_to_end(key)

    def forget(self, key: K) -> None:
        """Watch it no longer; unknown ones are fine."""
        self._heard_s.pop(key, None)

    def forgive(self, lost_s: float) -> None:
        """Give everybody this much more time, once."""
        self._forgiven_s += lost_s

    def due(self, now_s: float) -> list[K]:
        """Take out everybody whose time has passed, longest silent first."""
        oldest_s = now_s - self._forgiven_s - self.timeout_s
        out: list[K] = []
        while self._heard_s:
            key, heard_s = next(iter(self._heard_s.items()))
            if heard_s > oldest_s:
                break
            del self._heard_s[key]
            out.append(key)
        return out


@attrs.define
class Lag:
    """How late the sweep is; `tick` answers the time lost beyond `tolerance_s`."""

    period_s: float = 1.0
    tolerance_s: float = 1.0
    lag_s: float = attrs.field(default=0.0, init=False)
    _last_s: float | None = attrs.field(default=None, init=False)

    def tick(self, now_s: float) -> float:
        """Seconds to forgive, 0 for a tick that came about when it should."""
        last_s, self._last_s = self._last_s, now_s
        self.lag_s = 0.0 if last_s is None else max(0.0, now_s - last_s - self.period_s)
        return self.lag_s if self.lag_s > self.tolerance_s else 0.0
