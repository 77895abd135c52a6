"""A client that gets what a measurement yields: from the store first, live from then on."""

from __future__ import annotations

import attrs

from emodis.master.client_session import ClientPort
from emodis.wire.v1.client_pb2 import Result, ToClient


@attrs.define(eq=False)
class Watcher:
    """While it catches up from the store, live results are held back: `missed` says that there is
    more to read."""

    port: ClientPort
    with_observations: bool = False
    cursor: int = 0
    catching_up: bool = False
    missed: bool = False
    # What must not come before the results that are being read.
    held: list[ToClient] = attrs.field(factory=list, init=False)

    def tell(self, message: ToClient) -> None:
        """Hand over a message that is no result, in its place."""
        if self.catching_up:
            self.held.append(message)
        else:
            self.port.send(message)

    def caught_up(self) -> None:
        """All that is in the store has been sent: live from now on."""
        self.catching_up = False
        held, self.held = self.held, []
        for message in held:
            self.port.send(message)

    def result(self, result: Result) -> None:
        """Hand a result over, once."""
        if self.catching_up:
            self.missed = True
        elif result.cursor > self.cursor:
            self.cursor = result.cursor
            self.port.send(ToClient(result=self.fitting(result)))

    def fitting(self, result: Result) -> Result:
        """Without the observations, unless they were asked for."""
        if self.with_observations or not result.outcome.observations:
            return result
        slim = Result()
        slim.CopyFrom(result)
        slim.outcome.ClearField("observations")
        return slim
