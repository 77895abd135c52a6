"""Log lines about bad peers, rationed: a thousand of them must not fill a disk."""

from __future__ import annotations

import attrs


@attrs.define
class Complaints:
    """Lets through `burst` lines per `window_s`, and then one that counts what was left out.

    The time is an argument; the caller logs what it gets back.
    """

    burst: int = 10
    window_s: float = 60.0
    _window_start_s: float = attrs.field(default=float("-inf"), init=False)
    _said: int = attrs.field(default=0, init=False)
    _swallowed: int = attrs.field(default=0, init=False)

    def lines(self, now_s: float, text: str) -> list[str]:
        """What to log for this complaint, now: nothing, the line, or the line and a summary."""
        out: list[str] = []
        if now_s - self._window_start_s >= self.window_s:
            if self._swallowed:
                out.append(f"{self._swallowed} more complaints about peers were left out")
            self._window_start_s, self._said, self._swallowed = now_s, 0, 0
        if self._said < self.burst:
            self._said += 1
            out.append(text)
        else:
            self._swallowed += 1
        return out
