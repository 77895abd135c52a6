"""One train of SYNs by `connecting`: what it cannot be asked for, and how it is flown."""

from __future__ import annotations

import contextlib

from emodis.packets.connecting import SYN_BYTES, Connections
from emodis.packets.families import family_of
from emodis.packets.flight import Flight
from emodis.packets.flow import IdBlock
from emodis.packets.ledger import Ledger
from emodis.packets.model import Address, Train, TrainOutcome
from emodis.packets.replies import Answer
from emodis.packets.transport import Gate, NotPermitted

NO_FLOWS = (
    "choosing the flow of a SYN needs raw sockets; run as root or with CAP_NET_RAW, or use "
    "-o proto=udp or icmp"
)
NO_SIZES = (
    "without raw sockets a SYN has {bytes} bytes; leave its size alone, or run as root or with "
    "CAP_NET_RAW"
)


def check(train: Train, target: Address) -> None:
    """Refuse what only whoever writes SYNs himself can send (NotPermitted)."""
    size_bytes = family_of(target).header_bytes + SYN_BYTES
    if train.flow:
        raise NotPermitted(NO_FLOWS)
    if any(probe.size_bytes != size_bytes for probe in train.probes):
        raise NotPermitted(NO_SIZES.format(bytes=size_bytes))


def fly(train: Train, target: Address, *, ids: IdBlock, ledger: Ledger, gate: Gate) -> TrainOutcome:
    """Open a connection for each probe, and reset it when it has told its fate.

    Raises:
        TransportError: if this host does not let them out.
    """
    connections = Connections(target, train.port, dscp=train.dscp, df=train.df, ids=ids)
    with contextlib.closing(connections):
        flight = Flight(
            train,
            batch=[probe.ttl for probe in train.probes],
            ledger=ledger,
            read=_itself,
            gate=gate,
            sockets=connections,
        )
        flight.fly()
    gate.traffic.sent_packets += connections.extra_packets
    gate.traffic.sent_bytes += connections.extra_bytes
    echoes, _ = ledger.echoes()
    return TrainOutcome(
        echoes=echoes,
        kernel_tx=False,
        kernel_rx=connections.stamps_arrivals,
        duplicates=ledger.duplicates,
        unmatched=flight.unmatched,
        cut_short=flight.cut_short,
        by_connect=True,
    )


def _itself(answer: Answer | None) -> Answer | None:
    return answer
