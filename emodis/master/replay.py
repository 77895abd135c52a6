"""Results read back from the store, and live ones after them for those who follow."""

from __future__ import annotations

from collections.abc import Callable

import attrs
from twisted.internet.defer import Deferred

from emodis.master.client_session import ClientPort
from emodis.master.ledger import Ledger
from emodis.master.lookup import find_or_refuse
from emodis.master.measurement import Measurement, Stage
from emodis.master.owners import Owners
from emodis.master.store.records import MeasurementRecord
from emodis.master.watcher import Watcher
from emodis.master.words import counted
from emodis.techniques.base import Technique
from emodis.wire.v1.client_pb2 import Ended, GetResults, ResultsBegin, ToClient

# Results are read in pages; with observations a single one can have 768 KiB.
RESULTS_PER_PAGE = 100
HEAVY_RESULTS_PER_PAGE = 4


@attrs.define(eq=False, kw_only=True)
class Replay:
    """Answers GetResults, and a request that was sent again."""

    ledger: Ledger
    live: dict[str, Measurement]
    owners: Owners
    find: Callable[[str], Technique | None]

    async def answer(self, port: ClientPort, wanted: GetResults) -> None:
        """ResultsBegin, the results, Ended."""
        record = await find_or_refuse(self.ledger, port, wanted.call_id, wanted.measurement_id)
        if record is None:
            return
        port.send(
            ToClient(
                results_begin=ResultsBegin(
                    call_id=wanted.call_id,
                    measurement_id=record.id,
                    call=record.call,
                    targets=record.targets,
                    agents=record.selected.agents if record.selected is not None else (),
                    admitted_unix_ns=record.admitted_unix_ns,
                )
            )
        )
        watcher = Watcher(port, with_observations=wanted.with_observations, cursor=wanted.after)
        await self.stream(record, watcher, follow=wanted.follow)

    async def stream(self, record: MeasurementRecord, watcher: Watcher, *, follow: bool) -> None:
        """All results from the watcher's cursor on; then live ones, if wanted; then Ended."""
        measurement = self.live.get(record.id)
        watcher.catching_up = True
        if measurement is not None and follow:
            measurement.watchers.append(watcher)
        await self._catch_up(record, watcher)
        if measurement is None or not follow:
            watcher.held.append(ToClient(ended=await self._last_word(record.id)))
        watcher.caught_up()

    async def _last_word(self, measurement_id: str) -> Ended:
        """How it ended, read after its results; or how far it has come."""
        measurement = self.live.get(measurement_id)
        if measurement is not None and measurement.stage is not Stage.ENDED:
            return _so_far(measurement)
        if measurement is not None:
            written: Deferred[None] = Deferred()
            measurement.farewells.append(written)
            await written
        record = await self.ledger.measurement(measurement_id)
        if record is not None and record.ended is not None:
            return record.ended
        return Ended(measurement_id=measurement_id, text="its end is not known")

    async def _catch_up(self, record: MeasurementRecord, watcher: Watcher) -> None:
        technique = self.find(record.call.technique)
        limit = HEAVY_RESULTS_PER_PAGE if watcher.with_observations else RESULTS_PER_PAGE
        while True:
            watcher.missed = False
            page = await self.ledger.results(
                record.id,
                after=watcher.cursor,
                limit=limit,
                with_observations=watcher.with_observations,
            )
            for result in page:
                watcher.cursor = result.cursor
                if result.run.destination < len(record.targets):
                    target = record.targets[result.run.destination]
                    self.owners.fill(result, technique, target)
                    watcher.port.send(ToClient(result=result))
            await watcher.port.drained()
            if len(page) < limit and not watcher.missed:
                return


def _so_far(measurement: Measurement) -> Ended:
    """The end of an answer about a measurement that goes on."""
    ended = measurement.ended()
    ended.text = f"it has not ended: {counted(len(measurement.open), 'run')} not over yet"
    return ended
