"""The raw transport: draws a run's identity, builds its trains and lets them fly."""

from __future__ import annotations

import functools
import random
from collections import deque

import attrs

from emodis.packets.clocks import boottime_ns, realtime_offset_ns, was_set
from emodis.packets.flight import Flight
from emodis.packets.flow import FLOW_COUNT, Flow, IdBlock, Identity, Ids
from emodis.packets.ledger import Ledger
from emodis.packets.mmsg import SendBatch
from emodis.packets.model import Address, Kind, Train, TrainOutcome
from emodis.packets.quotes import Expectation
from emodis.packets.replies import parse
from emodis.packets.sockets import RawSockets, open_sockets, source_towards
from emodis.packets.tape import Tape, Taped
from emodis.packets.templates import build, syn_payload_bytes
from emodis.packets.transport import ClockStep, FamilyMismatch, Gate, Interrupt, Traffic

# Late answers to one of the last runs may still come; nobody else gets their ports that long.
REST_NS = 10_000_000_000
REMEMBERED_RUNS = 3


@attrs.define
class _Run:
    """What belongs to one run."""

    identity: Identity
    sockets: RawSockets
    max_bytes: int
    clock_offset_ns: int
    ids: Ids
    # Kind and port that the filters let answers in for.
    filtered_for: tuple[Kind, int] | None = None


class RawTransport:
    """See `transport.Transport`."""

    can_mute = True

    def __init__(self, chance: random.Random) -> None:
        """Open the sockets (PermissionError without root or CAP_NET_RAW)."""
        self._chance = chance
        self._sockets = open_sockets()
        self.families = frozenset(self._sockets)
        self.tx_stamp = "kernel" if self._sockets[4].stamps_departures else "user"
        self.rx_stamp = "kernel" if self._sockets[4].stamps_arrivals else "user"
        self._traffic = Traffic()
        self._run: _Run | None = None
        self._tape: Tape | None = None
        # Identities of the last runs and when they ended (CLOCK_BOOTTIME).
        self._past: deque[tuple[Identity, int]] = deque(maxlen=REMEMBERED_RUNS)

    @property
    def traffic(self) -> Traffic:
        """The counters of the current run, or of the last one."""
        return self._traffic

    def begin(self, address: Address, *, max_bytes: int) -> None:
        """See `Transport.begin`."""
        self._traffic = Traffic()
        sockets = self._sockets.get(address.version)
        if sockets is None:
            raise FamilyMismatch("IPv6 does not work on this host; choose an IPv4 destination")
        identity = self._draw(source_towards(address), address)
        self._run = _Run(identity, sockets, max_bytes, realtime_offset_ns(), Ids(identity.first_id))

    def exchange(
        self, train: Train, *, stop_by_boottime_ns: int, interrupt: Interrupt
    ) -> TrainOutcome:
        """See `Transport.exchange`."""
        if self._run is None:
            raise RuntimeError("a train outside a run; call begin first")
        run, sockets = self._run, self._run.sockets
        flow = run.identity.flow(
            train.kind, train.flow, port=train.port, dscp=train.dscp, df=train.df, tag=train.tag
        )
        ids = run.ids.take(len(train.probes))
        ledger = Ledger(train, ids, flow.target)
        expected = _expectation(train, flow, run)
        sizes = [probe.size_bytes for probe in train.probes]
        flight = Flight(
            train,
            batch=SendBatch(_packets(train, flow, ids, run), sizes, flow.target),
            ledger=ledger,
            read=functools.partial(parse, expected=expected),
            gate=Gate(stop_by_boottime_ns, run.max_bytes, self._traffic, interrupt, boottime_ns),
            sockets=sockets if self._tape is None else Taped(sockets, self._tape),
        )
        if run.filtered_for != (train.kind, train.port):
            sockets.let_in(expected)
            run.filtered_for = train.kind, train.port
        sockets.forget_stamps()
        drops = sockets.drops()
        flight.fly()
        if was_set(run.clock_offset_ns):
            raise ClockStep("this host's clock was set during the run; measure again")
        echoes, kernel_tx = ledger.echoes()
        return TrainOutcome(
            echoes=echoes,
            kernel_tx=kernel_tx,
            kernel_rx=sockets.stamps_arrivals,
            duplicates=ledger.duplicates,
            unmatched=flight.unmatched,
            receive_drops=sockets.drops() - drops,
            cut_short=flight.cut_short,
            flow_key=None if train.spread else flow.key,
        )

    def record(self, tape: Tape | None) -> None:
        """See `tape.Recordable`."""
        self._tape = tape

    def end(self) -> None:
        """See `Transport.end`."""
        if self._run is not None:
            self._past.append((self._run.identity, boottime_ns()))
            self._run.sockets.let_nothing_in()
        self._run = None

    def close(self) -> None:
        """Give the sockets back."""
        for sockets in self._sockets.values():
            sockets.close()

    def _draw(self, source: Address, target: Address) -> Identity:
        """An identity that no late answer to one of the last runs can be taken for."""
        now_ns = boottime_ns()
        recent = [past for past, ended_ns in self._past if now_ns - ended_ns < REST_NS]
        while True:
            # At most three of 120 ranges are taken, so this ends soon.
            identity = Identity.draw(source, target, self._chance)
            if not any(identity.overlaps(past) for past in recent):
                return identity


def _packets(train: Train, flow: Flow, ids: IdBlock, run: _Run) -> bytearray:
    if not train.spread:
        return build(flow, train.probes, ids)
    if train.kind is not Kind.TCP_SYN:
        raise ValueError("only SYNs can be spread over flows")
    data = bytearray()
    for index, probe in enumerate(train.probes):
        number = (train.flow + index) % FLOW_COUNT
        own = run.identity.flow(train.kind, number, port=train.port, dscp=train.dscp, df=train.df)
        data += build(own, [probe], IdBlock(ids.at(index), 1))
    return data


def _expectation(train: Train, flow: Flow, run: _Run) -> Expectation:
    payloads: set[int] = set()
    if train.kind is Kind.TCP_SYN:
        version = flow.target.version
        payloads = {syn_payload_bytes(version, probe.size_bytes) for probe in train.probes}
    return Expectation(
        kind=train.kind,
        target=flow.target,
        source=flow.source,
        idents=run.identity.idents(train.kind),
        ids=run.ids.all,
        ident=flow.ident,
        port=flow.port,
        secret=flow.secret,
        payloads=frozenset(payloads),
        tag=flow.tag,
    )
