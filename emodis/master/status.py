"""How the master is, and how measurements get on."""

from __future__ import annotations

from collections.abc import Callable, Sized

import attrs

from emodis.master.client_session import ClientPort
from emodis.master.clocks import NS, Clocks
from emodis.master.greeting import SOFTWARE
from emodis.master.ledger import Ledger
from emodis.master.lookup import find_or_refuse
from emodis.master.measurement import Measurement, Stage
from emodis.master.store.records import MeasurementRecord
from emodis.wire.v1.client_pb2 import GetStatus, MeasurementStatus, Status, ToClient


@attrs.define(eq=False, kw_only=True)
class StatusDesk:
    """Answers GetStatus."""

    clocks: Clocks
    ledger: Ledger
    live: dict[str, Measurement]
    agents: Sized
    clients: Sized
    loop_lag_s: Callable[[], float]
    started_ns: int

    async def answer(self, port: ClientPort, wanted: GetStatus) -> None:
        """Of the master and everything that goes on, or of one measurement."""
        if not wanted.measurement_id:
            going_on = [
                _live_status(measurement)
                for measurement in self.live.values()
                if measurement.parent is None
            ]
            port.send(self._status(wanted, going_on))
            return
        record = await find_or_refuse(self.ledger, port, wanted.call_id, wanted.measurement_id)
        if record is None:
            return
        live = self.live.get(record.id)
        one = _live_status(live) if live is not None else _stored_status(record)
        port.send(self._status(wanted, [one]))

    def _status(self, wanted: GetStatus, measurements: list[MeasurementStatus]) -> ToClient:
        return ToClient(
            status=Status(
                call_id=wanted.call_id,
                software=SOFTWARE,
                uptime_s=(self.clocks.monotonic_ns() - self.started_ns) / NS,
                agents_online=len(self.agents),
                clients_online=len(self.clients),
                store_queue=self.ledger.queue_rows,
                loop_lag_s=self.loop_lag_s(),
                measurements=measurements,
            )
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
