"""What arrives on the sockets of an unprivileged run, as answers to the probes of one train."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from emodis.packets.datagrams import PREFIX_BYTES, datagram_id, echo_id
from emodis.packets.errqueue import QueuedError
from emodis.packets.families import TRANSPORT_HEADER_BYTES, Family
from emodis.packets.flow import IdBlock
from emodis.packets.flowsocket import Arrival, Datagram, EchoReply
from emodis.packets.invitation import Arrived, read_answer
from emodis.packets.model import Address, Kind, ReplyKind, Train
from emodis.packets.placing import Placing
from emodis.packets.replies import Answer, far_ns


@attrs.frozen(kw_only=True)
class Sender:
    """What the packets of the run look like. `ids` are all that it has given out."""

    kind: Kind
    target: Address
    family: Family
    token: int
    ids: IdBlock
    tag: bytes = b""


class Reading:
    """Used for one train. `known` is the run's memory of which router stands at which TTL."""

    def __init__(
        self, train: Train, ids: IdBlock, sender: Sender, known: dict[Address, int]
    ) -> None:
        self._ids = ids
        self._sender = sender
        self._known = known
        self._ttls = [probe.ttl for probe in train.probes]
        self._placing: Placing[QueuedError] = Placing(self._ttls, known)

    def read(self, arrival: Arrival) -> Answer | None:
        """Say what it answers; None if nothing of this run, or if that must wait for `settle`."""
        if isinstance(arrival, QueuedError):
            return self._error(arrival)
        sender, header = self._sender, self._sender.family.header_bytes
        arrived: Arrived | None = None
        if isinstance(arrival, EchoReply):
            probe_id = echo_id(arrival.data, sender.family.echo_reply)
            kind, size_bytes = ReplyKind.ECHO_REPLY, header + len(arrival.data)
        else:
            if sender.tag:
                arrived = read_answer(arrival.data, sender.tag)
                probe_id = None if arrived is None else arrived.probe_id
            else:
                probe_id = self._datagram(arrival)
            kind = ReplyKind.DATAGRAM
            size_bytes = header + TRANSPORT_HEADER_BYTES + len(arrival.data)
        if probe_id is None or probe_id not in sender.ids:
            return None
        self._note(probe_id, sender.target, kind)
        icmp_type = sender.family.echo_reply if kind is ReplyKind.ECHO_REPLY else 0
        return Answer(
            probe_id=probe_id,
            kind=kind,
            address=sender.target,
            icmp_type=icmp_type,
            ttl=arrival.ttl,
            size_bytes=size_bytes,
            far_ns=None if arrived is None else far_ns(arrived),
        )

    def settle(self) -> Iterator[tuple[Answer, int | None]]:
        """Answers that only the whole train could explain, with their arrival."""
        for index, error in self._placing.settle():
            if index is not None:
                yield self._answer(self._ids.at(index), error), error.received_ns

    def _error(self, error: QueuedError) -> Answer | None:
        sender = self._sender
        if sender.kind is Kind.ICMP_ECHO:
            probe_id = echo_id(error.quoted, sender.family.echo_request)
        elif len(error.quoted) >= PREFIX_BYTES:
            probe_id = datagram_id(error.quoted, sender.token)
        else:
            index = self._placing.place(error.address)
            if index is None:
                self._placing.keep(error.address, error)
                return None
            probe_id = self._ids.at(index)
        if probe_id is None or probe_id not in sender.ids:
            return None
        self._note(probe_id, error.address, error.kind)
        return self._answer(probe_id, error)

    def _datagram(self, arrival: Datagram) -> int | None:
        """An answer of an application says nothing of which probe; an echo of it does."""
        probe_id = datagram_id(arrival.data, self._sender.token)
        if probe_id is not None:
            return probe_id
        index = self._placing.earliest_open()
        return None if index is None else self._ids.at(index)

    def _note(self, probe_id: int, address: Address, kind: ReplyKind) -> None:
        index = self._ids.index(probe_id)
        if index is None or not self._placing.is_open(index):
            # What comes second teaches nothing: it may be forged, and there may be many of it.
            return
        expired = kind is ReplyKind.TIME_EXCEEDED
        self._placing.answered(index, by_target=not expired and address == self._sender.target)
        if expired:
            self._known.setdefault(address, self._ttls[index])

    def _answer(self, probe_id: int, error: QueuedError) -> Answer:
        family = self._sender.family
        # The headers that the kernel has stripped; what the router quoted beyond is not seen.
        headers = 2 * family.header_bytes + TRANSPORT_HEADER_BYTES
        if self._sender.kind is Kind.UDP:
            headers += TRANSPORT_HEADER_BYTES
        return Answer(
            probe_id=probe_id,
            kind=error.kind,
            address=error.address,
            icmp_type=error.icmp_type,
            icmp_code=error.icmp_code,
            ttl=error.ttl,
            size_bytes=headers + len(error.quoted),
        )
