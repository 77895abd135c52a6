"""The end of a measurement: written down first, then told."""

from __future__ import annotations

from collections import OrderedDict

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from emodis.master.clocks import Clocks
from emodis.master.ledger import Ledger
from emodis.master.measurement import Measurement, Stage
from emodis.master.store.errors import StoreError
from emodis.wire.v1.client_pb2 import Ended, ToClient
from emodis.wire.v1.common_pb2 import End

# Of how many measurements that were given up it is remembered that nobody wants their payload.
MOST_UNWANTED = 10_000


@attrs.define(eq=False, kw_only=True)
class Endings:
    """Takes measurements out of `live`."""

    clocks: Clocks
    ledger: Ledger
    live: dict[str, Measurement]
    log: Logger
    _unwanted: OrderedDict[str, None] = attrs.field(factory=OrderedDict, init=False)

    def finish(self, measurement: Measurement) -> None:
        """Nothing of it is open any more."""
        if measurement.stage is Stage.ENDED:
            return
        measurement.stage = Stage.ENDED
        if measurement.timer is not None and measurement.timer.active():
            measurement.timer.cancel()
        ending = Deferred.fromCoroutine(self._finish(measurement))
        _ = ending.addErrback(self._bug, measurement)

    def is_unwanted(self, measurement_id: str) -> bool:
        """Nobody wants what still comes for this one; its ledger rows remain."""
        return measurement_id in self._unwanted

    async def _finish(self, measurement: Measurement) -> None:
        ended = measurement.ended()
        try:
            await self._write_down(measurement, ended)
        except StoreError as error:
            self.log.error("{line}", line=f"measurement {measurement.id}: {error}")  # noqa: TRY400 - one line
        self.log.info("measurement {id}: ended, {runs}", id=measurement.id, runs=_counts(ended))
        if not measurement.request.dry_run or measurement.verdict is not None:
            measurement.tell(ToClient(ended=ended))
        del self.live[measurement.id]
        farewells, measurement.farewells = measurement.farewells, []
        for farewell in farewells:
            farewell.callback(None)

    async def _write_down(self, measurement: Measurement, ended: Ended) -> None:
        if measurement.verdict is not None and measurement.verdict.discard:
            self._unwanted[measurement.id] = None
            while len(self._unwanted) > MOST_UNWANTED:
                self._unwanted.popitem(last=False)
            await self.ledger.discard_payloads(measurement.id)
        await self.ledger.end_measurement(
            measurement.id, ended, ended_unix_ns=self.clocks.unix_ns()
        )

    def _bug(self, failure: Failure, measurement: Measurement) -> None:
        self.log.failure("ending {id}: internal error", id=measurement.id, failure=failure)


def _counts(ended: Ended) -> str:
    counts = (
        f"{count.runs} {End.Name(count.end).removeprefix('END_').lower()}" for count in ended.counts
    )
    return ", ".join(counts) or "no runs"
