"""A measurement by the id that a client names, or by a prefix of it."""

from __future__ import annotations

from emodis.master.client_session import ClientPort
from emodis.master.ledger import Ledger
from emodis.master.store.records import MeasurementRecord
from emodis.wire.v1.client_pb2 import Refused, ToClient
from emodis.wire.v1.common_pb2 import CODE_UNKNOWN_ID


async def find_or_refuse(
    ledger: Ledger, port: ClientPort, call_id: int, measurement_id: str
) -> MeasurementRecord | None:
    """None: there is no such measurement, and the client has been told."""
    record = await ledger.measurement(measurement_id)
    if record is None:
        refused = Refused(
            call_id=call_id,
            code=CODE_UNKNOWN_ID,
            text=f"there is no measurement {measurement_id[:80]!r}, or several ids begin so",
            hint="`emodis-client status` lists what goes on; a request prints its id",
        )
        port.send(ToClient(refused=refused))
    return record
