"""What is being done for each client; when it leaves, its errands are dropped."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from emodis.master.client_session import ClientPort
from emodis.master.store.errors import StoreError
from emodis.wire.v1.client_pb2 import Refused, ToClient
from emodis.wire.v1.common_pb2 import CODE_FULL, CODE_UNSPECIFIED

RETRY_AFTER_S = 10.0


def store_fails(error: StoreError) -> Refused:
    """The master cannot remember, so it does not promise."""
    return Refused(
        code=CODE_FULL,
        text=f"the master's store fails: {error}",
        hint="try again later; its operator finds the reason in its log",
        retry_after_s=RETRY_AFTER_S,
    )


@attrs.define(eq=False)
class Errands:
    """Coroutines by client. Whatever escapes one is answered by a Refused, never lost."""

    log: Logger
    _under_way: dict[ClientPort, set[Deferred[None]]] = attrs.field(factory=dict, init=False)

    def run(self, port: ClientPort, call_id: int, work: Coroutine[Any, Any, None]) -> None:
        """Begin it now."""
        errand = Deferred.fromCoroutine(work)
        mine = self._under_way.setdefault(port, set())
        mine.add(errand)
        _ = errand.addErrback(self._failed, port, call_id)
        _ = errand.addBoth(lambda _: mine.discard(errand))

    def drop(self, port: ClientPort) -> None:
        """It has left: nobody waits for the answers."""
        for errand in tuple(self._under_way.pop(port, ())):
            errand.cancel()

    def _failed(self, failure: Failure, port: ClientPort, call_id: int) -> None:
        """The edge of a call."""
        if failure.check(CancelledError) is not None:
            return
        if isinstance(failure.value, StoreError):
            refused = store_fails(failure.value)
        else:
            self.log.failure("a call of {who}: internal error", who=port.name, failure=failure)
            refused = Refused(
                code=CODE_UNSPECIFIED,
                text="internal error of the master",
                hint="its log has the details",
            )
        refused.call_id = call_id
        port.send(ToClient(refused=refused))
