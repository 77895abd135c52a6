"""An interrupt that nobody gives."""

from __future__ import annotations

import socket


class Silence:
    """Nobody interrupts; the descriptor is one that never becomes readable."""

    def __init__(self) -> None:
        self._ends = socket.socketpair()

    def fileno(self) -> int:
        return self._ends[0].fileno()

    def waiting(self) -> bool:
        return False

    def close(self) -> None:
        for end in self._ends:
            end.close()
