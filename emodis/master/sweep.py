"""The one timer of all sessions: once a second, whoever has been silent for too long is told so."""

from __future__ import annotations

import attrs

from emodis.master.timers import Timers
from emodis.master.watch import Lag

PERIOD_S = 1.0


@attrs.define
class Sweep:
    """Distrusts itself: time in which the master stood still is nobody's silence."""

    timers: Timers
    _lag: Lag = attrs.field(factory=lambda: Lag(PERIOD_S))

    @property
    def lag_s(self) -> float:
        """How late the last tick was."""
        return self._lag.lag_s

    def tick(self, now_s: float, *, pressed: bool) -> None:
        """`pressed`: agents are not being read, so their silence is ours."""
        lost_s = self._lag.tick(now_s)
        if pressed:
            lost_s += PERIOD_S
        if lost_s:
            self.timers.forgive(lost_s)
        for connection in self.timers.due(now_s):
            connection.silent()
