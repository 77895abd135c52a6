"""A request's way in: the same one twice, admission, targets, agents, a row in the store."""

from __future__ import annotations

from collections.abc import Callable

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from emodis.master.client_session import ClientPort
from emodis.master.clocks import Clocks
from emodis.master.conduct import Conductor
from emodis.master.endings import Endings
from emodis.master.errands import Errands
from emodis.master.ledger import Ledger
from emodis.master.lookup import find_or_refuse
from emodis.master.measurement import Measurement
from emodis.master.preparation import Prepared, Preparer
from emodis.master.replay import Replay
from emodis.master.rounds import Rounds
from emodis.master.store.errors import StoreError
from emodis.master.store.records import MeasurementRecord
from emodis.master.verdicts import CANCELLED, CLIENT_GONE
from emodis.master.watcher import Watcher
from emodis.wire.v1.client_pb2 import Accepted, Cancel, Cancelled, Refused, Request, ToClient


@attrs.define(eq=False, kw_only=True)
class Requests:
    """All requests of all clients."""

    clocks: Clocks
    ledger: Ledger
    live: dict[str, Measurement]
    errands: Errands
    preparer: Preparer
    conductor: Conductor
    rounds: Rounds
    endings: Endings
    replay: Replay
    new_id: Callable[[], str]
    log: Logger
    # Requests on their way in, by client id and idempotency key, with those who wait for them.
    _admitting: dict[tuple[str, bytes], list[Deferred[None]]] = attrs.field(
        factory=dict, init=False
    )

    async def serve(self, port: ClientPort, request: Request) -> None:
        """Accept or refuse it; once it is accepted, the conductor goes on by itself."""
        key = (port.name, request.idempotency)
        if request.idempotency:
            while key in self._admitting:
                waiting: Deferred[None] = Deferred()
                self._admitting[key].append(waiting)
                await waiting
            self._admitting[key] = []
        try:
            accepted = await self._admit(port, request)
        finally:
            for waiting in self._admitting.pop(key, []):
                waiting.callback(None)
        if accepted is not None:
            self.conductor.carry_on(*accepted)

    async def cancel(self, port: ClientPort, wanted: Cancel) -> None:
        """Anybody may stop a measurement, also one that has ended."""
        record = await find_or_refuse(self.ledger, port, wanted.call_id, wanted.measurement_id)
        if record is None:
            return
        port.send(ToClient(cancelled=Cancelled(call_id=wanted.call_id, measurement_id=record.id)))
        measurement = self.live.get(record.id)
        if measurement is not None:
            self.rounds.cancel(measurement, CANCELLED)

    def client_left(self, port: ClientPort) -> None:
        """Its work is cancelled, unless it was detached."""
        self.errands.drop(port)
        for measurement in tuple(self.live.values()):
            measurement.drop_watcher(port)
            if measurement.owner is port:
                self.rounds.cancel(measurement, CLIENT_GONE)

    async def _admit(
        self, port: ClientPort, request: Request
    ) -> tuple[Measurement, Prepared] | None:
        """Everything up to Accepted. None: it was refused, or there is a measurement already."""
        if request.idempotency:
            known = await self.ledger.by_idempotency(port.name, request.idempotency)
            if known is not None:
                self._same_again(port, request, known)
                return None
        prepared = await self.preparer.prepare(port.peer_host, request, role=port.granted)
        if isinstance(prepared, Refused):
            self._refuse(port, request, prepared)
            return None
        measurement = self._create(port, request, prepared)
        self.live[measurement.id] = measurement
        try:
            await self.ledger.save_measurement(measurement.record())
        except StoreError:
            del self.live[measurement.id]
            raise
        except CancelledError:
            # It may reach the disk all the same: then its end does, too.
            measurement.verdict = measurement.verdict or CLIENT_GONE
            self.endings.finish(measurement)
            raise
        return measurement, prepared

    def _create(self, port: ClientPort, request: Request, prepared: Prepared) -> Measurement:
        return Measurement(
            id=self.new_id(),
            client_id=port.name,
            call=prepared.admitted.call,
            technique=prepared.admitted.technique,
            targets=prepared.targets,
            request=request,
            budget_s=prepared.admitted.worst.duration_s,
            admitted_unix_ns=self.clocks.unix_ns(),
            owner=None if request.detach else port,
            watchers=[Watcher(port)],
        )

    def _same_again(self, port: ClientPort, request: Request, known: MeasurementRecord) -> None:
        """The same request came twice: this client gets the measurement of the first."""
        measurement = self.live.get(known.id)
        if measurement is not None and measurement.owner is not None:
            measurement.owner = port
        accepted = Accepted(
            call_id=request.call_id,
            measurement_id=known.id,
            targets=known.targets,
            call=known.call,
        )
        port.send(ToClient(accepted=accepted))
        if known.selected is not None:
            port.send(ToClient(selected=known.selected))
        streaming = self.replay.stream(known, Watcher(port), follow=True)
        self.errands.run(port, request.call_id, streaming)

    def _refuse(self, port: ClientPort, request: Request, refused: Refused) -> None:
        refused.call_id = request.call_id
        self.log.info("refused a request of {who}: {text}", who=port.name, text=refused.text)
        port.send(ToClient(refused=refused))
