"""The transport for hosts that give us no raw sockets: datagram sockets and their error queues.

The kernel writes the headers, so there are no wrong checksums (no muted probes), and what a router
quotes of our header is not seen. Times are as good: the same kernel stamps. SYNs are connections
that the kernel opens: see `handshakes`.
"""

from __future__ import annotations

import random

import attrs

from emodis.packets import handshakes
from emodis.packets.clocks import boottime_ns, realtime_ns, realtime_offset_ns, was_set
from emodis.packets.datagrams import DatagramBatch, Wording, payloads
from emodis.packets.flight import Flight
from emodis.packets.flow import FLOW_COUNT, ID_COUNT, IdBlock, Ids
from emodis.packets.flowsocket import Arrival, FlowSocket
from emodis.packets.ledger import Ledger
from emodis.packets.mmsg import SendBatch
from emodis.packets.model import Address, FlowKey, Kind, Train, TrainOutcome
from emodis.packets.reading import Reading, Sender
from emodis.packets.transport import (
    ClockStep,
    FamilyMismatch,
    Gate,
    Interrupt,
    NotPermitted,
    Traffic,
)
from emodis.packets.trial import has_ipv6, try_datagrams

# Where a run asks whether there is a way at all; nothing is sent to it.
_ANY_PORT = 9
NO_MUTING = (
    "muting load packets needs raw sockets; run as root or with CAP_NET_RAW, or use -o mute=none"
)

_Key = tuple[Kind, int, int, bytes]


@attrs.define
class _Run:
    """What belongs to one run."""

    address: Address
    max_bytes: int
    clock_offset_ns: int
    token: int
    ids: Ids
    sockets: dict[_Key, tuple[FlowSocket, Wording]] = attrs.field(factory=dict)
    known: dict[Address, int] = attrs.field(factory=dict)


class UnprivilegedTransport:
    """See `transport.Transport`."""

    can_mute = False

    def __init__(self, chance: random.Random) -> None:
        """Find out what this kernel does (NotPermitted if it has no usable error queue)."""
        self._chance = chance
        trial = try_datagrams()
        if not trial.errors:
            raise NotPermitted("this host's kernel does not report ICMP errors to UDP sockets")
        self.tx_stamp = "kernel" if trial.departures else "user"
        self.rx_stamp = "kernel" if trial.arrivals else "user"
        self.can_echo = trial.echo
        self.families = frozenset({4, 6} if has_ipv6() else {4})
        self._keys_leak = trial.keys_leak
        self._traffic = Traffic()
        self._run: _Run | None = None

    @property
    def traffic(self) -> Traffic:
        """The counters of the current run, or of the last one."""
        return self._traffic

    def begin(self, address: Address, *, max_bytes: int) -> None:
        """See `Transport.begin`."""
        self._traffic = Traffic()
        if address.version not in self.families:
            raise FamilyMismatch("IPv6 does not work on this host; choose an IPv4 destination")
        FlowSocket(Kind.UDP, address, _ANY_PORT).close()
        self._run = _Run(
            address=address,
            max_bytes=max_bytes,
            clock_offset_ns=realtime_offset_ns(),
            token=self._chance.getrandbits(16),
            ids=Ids(self._chance.randrange(1, ID_COUNT + 1)),
        )

    def exchange(
        self, train: Train, *, stop_by_boottime_ns: int, interrupt: Interrupt
    ) -> TrainOutcome:
        """See `Transport.exchange`."""
        run = self._run
        if run is None:
            raise RuntimeError("a train outside a run; call begin first")
        _check(train)
        ids = run.ids.take(len(train.probes))
        ledger = Ledger(train, ids, run.address)
        gate = Gate(stop_by_boottime_ns, run.max_bytes, self._traffic, interrupt, boottime_ns)
        if train.kind is Kind.TCP_SYN:
            handshakes.check(train, run.address)
            outcome = handshakes.fly(train, run.address, ids=ids, ledger=ledger, gate=gate)
        else:
            outcome = self._fly(run, train, ids, ledger, gate)
        if was_set(run.clock_offset_ns):
            raise ClockStep("this host's clock was set during the run; measure again")
        return outcome

    def _fly(
        self, run: _Run, train: Train, ids: IdBlock, ledger: Ledger, gate: Gate
    ) -> TrainOutcome:
        """Send datagrams, and read their fate from the error queue."""
        sock, wording = self._socket(run, train)
        data, lengths = payloads(wording, sock.family, train.probes, ids)
        ttls = [probe.ttl for probe in train.probes]
        sender = Sender(
            kind=train.kind,
            target=run.address,
            family=sock.family,
            token=run.token,
            ids=run.ids.all,
            tag=train.tag,
        )
        reading = Reading(train, ids, sender, run.known)
        sock.begin_train(train.dscp, df=train.df)
        drops = sock.drops()
        flight: Flight[SendBatch, Arrival] = Flight(
            train,
            batch=DatagramBatch(data, lengths, family=sock.family, ttls=ttls),
            ledger=ledger,
            read=reading.read,
            gate=gate,
            sockets=sock,
        )
        flight.fly()
        explained = self._settle(reading, ledger)
        echoes, kernel_tx = ledger.echoes()
        return TrainOutcome(
            echoes=echoes,
            kernel_tx=kernel_tx,
            kernel_rx=sock.stamps_arrivals,
            duplicates=ledger.duplicates,
            unmatched=flight.unmatched - explained,
            receive_drops=sock.drops() - drops,
            cut_short=flight.cut_short,
            flow_key=_flow_key(train, wording),
        )

    def end(self) -> None:
        """See `Transport.end`."""
        if self._run is not None:
            for sock, _ in self._run.sockets.values():
                sock.close()
        self._run = None

    def close(self) -> None:
        """Give the sockets back."""
        self.end()

    def _socket(self, run: _Run, train: Train) -> tuple[FlowSocket, Wording]:
        """The socket of the train's flow, kept for the run, so that its port stays the same."""
        port = 0 if train.kind is Kind.ICMP_ECHO else train.port
        key = (train.kind, train.flow, port, train.tag)
        if key not in run.sockets:
            sock = FlowSocket(train.kind, run.address, port, keys_leak=self._keys_leak)
            host, number = sock.source
            wording = Wording(
                kind=train.kind,
                token=run.token,
                check=self._chance.randrange(1, 0xFFFF),
                ident=number,
                pseudo=host + run.address.packed if run.address.version == 6 else b"",
                tag=train.tag,
            )
            run.sockets[key] = (sock, wording)
        return run.sockets[key]

    def _settle(self, reading: Reading, ledger: Ledger) -> int:
        """Enter the answers that only the whole train explains; how many."""
        explained = 0
        for answer, received_ns in reading.settle():
            if ledger.record(answer, realtime_ns() if received_ns is None else received_ns):
                self._traffic.recv_packets += 1
                self._traffic.recv_bytes += answer.size_bytes
                explained += 1
        return explained


def _flow_key(train: Train, wording: Wording) -> FlowKey:
    """What is known of it: the kernel chooses the flow label of IPv6."""
    if train.kind is Kind.ICMP_ECHO:
        return FlowKey(icmp_ident=wording.ident, icmp_checksum=wording.check)
    return FlowKey(source_port=wording.ident, destination_port=train.port)


def _check(train: Train) -> None:
    """Refuse what these sockets cannot send (ValueError, NotPermitted)."""
    if not 0 <= train.flow < FLOW_COUNT:
        raise ValueError(f"flow number {train.flow} is outside 0..{FLOW_COUNT - 1}")
    if not 1 <= train.port <= 0xFFFF:
        raise ValueError(f"a destination port of {train.port} is outside 1..65535")
    if not 0 <= train.dscp <= 63:
        raise ValueError(f"a DSCP of {train.dscp} is outside 0..63")
    if train.tag and train.kind is not Kind.UDP:
        raise ValueError("only UDP probes can have a tag")
    if not train.tag and any(probe.muted for probe in train.probes):
        raise NotPermitted(NO_MUTING)
