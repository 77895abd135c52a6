"""Results that the master has not acknowledged yet. In memory: they do not outlive the process.

They leave through a window, so that a pile of large results on a slow uplink cannot hold up the
keepalives behind it in the socket.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import attrs

from emodis.agent.assignment import TaskKey, key_of
from emodis.wire.v1.agent_pb2 import RunResult
from emodis.wire.v1.common_pb2 import RunKey

Send = Callable[[RunResult], None]


def _silently(result: RunResult) -> None:
    """There is nobody to send to."""


@attrs.define
class Spool:
    """Keeps each result until its Ack; sends as much at once as the window holds.

    A run may start only while there is room (`full` is false), so nothing measured is ever thrown
    away. Short refusals may exceed the bound a little: they come from a bounded queue.
    """

    max_results: int = 256
    max_bytes: int = 32 << 20
    window_bytes: int = 256 << 10
    _held: dict[TaskKey, RunResult] = attrs.field(factory=dict, init=False)
    # Sent in this session and not acknowledged, with their sizes.
    _in_flight: dict[TaskKey, int] = attrs.field(factory=dict, init=False)
    _unsent: dict[TaskKey, None] = attrs.field(factory=dict, init=False)
    _held_bytes: int = attrs.field(default=0, init=False)
    _send: Send = attrs.field(default=_silently, init=False)
    _online: bool = attrs.field(default=False, init=False)

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, key: object) -> bool:
        return key in self._held

    @property
    def full(self) -> bool:
        """There is no room for the result of another run."""
        return len(self._held) >= self.max_results or self._held_bytes >= self.max_bytes

    def put(self, result: RunResult) -> None:
        """Keep a result, and send it as soon as the window allows."""
        key = key_of(result.run)
        if key in self._held:
            return
        self._held[key] = result
        self._held_bytes += result.ByteSize()
        self._unsent[key] = None
        self._pump()

    def open(self, send: Send) -> None:
        """A new session: everything still held goes out again, marked as sent before."""
        self._send, self._online = send, True
        self._in_flight.clear()
        self._unsent = dict.fromkeys(self._held)
        for result in self._held.values():
            self._held_bytes -= result.ByteSize()
            result.respooled = True
            self._held_bytes += result.ByteSize()
        self._pump()

    def close(self) -> None:
        """The session is over; results stay."""
        self._send, self._online = _silently, False
        self._in_flight.clear()

    def acknowledged(self, runs: Iterable[RunKey]) -> None:
        """The master has committed these: forget them."""
        for key in map(key_of, runs):
            result = self._held.pop(key, None)
            if result is not None:
                self._held_bytes -= result.ByteSize()
            self._in_flight.pop(key, None)
            self._unsent.pop(key, None)
        self._pump()

    def _pump(self) -> None:
        while self._online and self._unsent:
            key = next(iter(self._unsent))
            size_bytes = self._held[key].ByteSize()
            # One result always fits, however large.
            if self._in_flight and sum(self._in_flight.values()) + size_bytes > self.window_bytes:
                return
            del self._unsent[key]
            self._in_flight[key] = size_bytes
            self._send(self._held[key])
