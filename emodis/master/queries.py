"""What a client may ask about measurements: status, results."""

from __future__ import annotations

from collections.abc import Callable

import attrs
from twisted.internet.defer import Deferred

from emodis.master.client_session import ClientPort
from emodis.master.clocks import NS, Clocks
from emodis.master.greeting import SOFTWARE
from emodis.master.ledger import Ledger
from emodis.master.measurement import Measurement, Stage, Watcher
from emodis.master.membership import Membership
from emodis.master.owners import Owners
from emodis.master.store.records import MeasurementRecord
from emodis.master.words import counted
from emodis.techniques.base import Technique
from emodis.wire.v1.client_pb2 import (
    Ended,
    GetResults,
    GetStatus,
    MeasurementStatus,
    Refused,
    ResultsBegin,
    Status,
    ToClient,
)
from emodis.wire.v1.common_pb2 import CODE_UNKNOWN_ID

# Results are read in pages; with observations a single one can have 768 KiB.
RESULTS_PER_PAGE = 100
HEAVY_RESULTS_PER_PAGE = 4


@attrs.define(eq=False, kw_only=True)
class Queries:
    """Answers from what is present and from what is stored."""

    clocks: Clocks
    ledger: Ledger
    members: Membership
    live: dict[str, Measurement]
    owners: Owners
    find: Callable[[str], Technique | None]
    clients_online: Callable[[], int]
    loop_lag_s: Callable[[], float]
    started_ns: int

    async def status(self, wanted: GetStatus) -> ToClient:
        """Of the master and everything that goes on, or of one measurement."""
        status = Status(
            call_id=wanted.call_id,
            software=SOFTWARE,
            uptime_s=(self.clocks.monotonic_ns() - self.started_ns) / NS,
            agents_online=len(self.members),
            clients_online=self.clients_online(),
            store_queue=self.ledger.queue_rows,
            loop_lag_s=self.loop_lag_s(),
        )
        if not wanted.measurement_id:
            status.measurements.extend(
                _live_status(measurement)
                for measurement in self.live.values()
                if measurement.parent is None
            )
            return ToClient(status=status)
        record = await self.ledger.measurement(wanted.measurement_id)
        if record is None:
            return ToClient(refused=unknown(wanted.call_id, wanted.measurement_id))
        measurement = self.live.get(record.id)
        status.measurements.append(
            _live_status(measurement) if measurement is not None else _stored_status(record)
        )
        return ToClient(status=status)

    async def results(self, port: ClientPort, wanted: GetResults) -> None:
        """ResultsBegin, the results, Ended."""
        record = await self.ledger.measurement(wanted.measurement_id)
        if record is None:
            port.send(ToClient(refused=unknown(wanted.call_id, wanted.measurement_id)))
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


def unknown(call_id: int, measurement_id: str) -> Refused:
    """No such measurement."""
    return Refused(
        call_id=call_id,
        code=CODE_UNKNOWN_ID,
        text=f"there is no measurement {measurement_id[:80]!r}, or several ids begin so",
        hint="`emodis-client status` lists what goes on; a request prints its id",
    )


def _live_status(measurement: Measurement) -> MeasurementStatus:
    return MeasurementStatus(
        measurement_id=measurement.id,
        technique=measurement.technique.NAME,
        state=measurement.stage.value,
        runs_total=measurement.runs_total,
        runs_ended=measurement.runs_total - len(measurement.open),
        admitted_unix_ns=measurement.admitted_unix_ns,
        targets=measurement.targets,
    )


def _stored_status(record: MeasurementRecord) -> MeasurementStatus:
    return MeasurementStatus(
        measurement_id=record.id,
        technique=record.call.technique,
        state=Stage.ENDED.value,
        runs_total=record.selected.runs_total if record.selected is not None else 0,
        runs_ended=sum(count.runs for count in record.ended.counts) if record.ended else 0,
        admitted_unix_ns=record.admitted_unix_ns,
        targets=record.targets,
    )


def _so_far(measurement: Measurement) -> Ended:
    """The end of an answer about a measurement that goes on."""
    ended = measurement.ended()
    ended.text = f"it has not ended: {counted(len(measurement.open), 'run')} not over yet"
    return ended
