"""The raw transport: draws a run's identity, builds its trains and lets them fly."""

from __future__ import annotations

import functools
import random
from collections import deque
from ipaddress import IPv4Address

import attrs

from emodis.packets import bpf
from emodis.packets.clocks import boottime_ns, realtime_offset_ns
from emodis.packets.flight import Flight
from emodis.packets.flow import ID_COUNT, IdBlock, Identity
from emodis.packets.ledger import Ledger
from emodis.packets.mmsg import SendBatch
from emodis.packets.model import Address, Kind, Train, TrainOutcome
from emodis.packets.replies import Expectation, parse
from emodis.packets.sockets import RawSockets, source_towards
from emodis.packets.tape import Tape, Taped
from emodis.packets.templates import build
from emodis.packets.transport import ClockStep, FamilyMismatch, Gate, Interrupt, Traffic

CLOCK_STEP_NS = 1_000_000
# Late answers to one of the last runs may still come; nobody else gets their ports that long.
REST_NS = 10_000_000_000
REMEMBERED_RUNS = 3


@attrs.define
class _Run:
    """What belongs to one run."""

    identity: Identity
    max_bytes: int
    clock_offset_ns: int
    ids_used: int = 0
    filtered_for: Kind | None = None

    @property
    def ids(self) -> IdBlock:
        """Every id given out so far."""
        return IdBlock(self.identity.first_id, self.ids_used)

    def take_ids(self, count: int) -> IdBlock:
        """The next ids; unique within the run, so there is an end to them (ValueError)."""
        if self.ids_used + count > ID_COUNT:
            raise ValueError(f"a run cannot have more than {ID_COUNT} probes")
        block = IdBlock(self.ids.at(self.ids_used), count)
        self.ids_used += count
        return block


class RawTransport:
    """See `transport.Transport`."""

    def __init__(self, chance: random.Random) -> None:
        """Open the sockets (PermissionError without root or CAP_NET_RAW)."""
        self._chance = chance
        self._sockets = RawSockets()
        self.tx_stamp = "kernel" if self._sockets.stamps_departures else "user"
        self.rx_stamp = "kernel" if self._sockets.stamps_arrivals else "user"
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
        if not isinstance(address, IPv4Address):
            raise FamilyMismatch("this prober speaks IPv4 only; choose an IPv4 destination")
        identity = self._draw(source_towards(address), address)
        self._run = _Run(identity, max_bytes, realtime_offset_ns())

    def exchange(
        self, train: Train, *, stop_by_boottime_ns: int, interrupt: Interrupt
    ) -> TrainOutcome:
        """See `Transport.exchange`."""
        if self._run is None:
            raise RuntimeError("a train outside a run; call begin first")
        run = self._run
        if train.kind is Kind.TCP_SYN:
            raise ValueError("the raw transport sends ICMP and UDP probes")
        flow = run.identity.flow(train.kind, train.flow)
        ids = run.take_ids(len(train.probes))
        ledger = Ledger(train, ids, flow.target)
        idents = run.identity.idents(train.kind)
        sizes = [probe.size_bytes for probe in train.probes]
        expected = Expectation(kind=train.kind, target=flow.target, idents=idents, ids=run.ids)
        flight = Flight(
            train,
            batch=SendBatch(build(flow, train.probes, ids), sizes, flow.target),
            ledger=ledger,
            read=functools.partial(parse, expected=expected),
            gate=Gate(stop_by_boottime_ns, run.max_bytes, self._traffic, interrupt, boottime_ns),
            sockets=self._sockets if self._tape is None else Taped(self._sockets, self._tape),
        )
        if run.filtered_for is not train.kind:
            self._sockets.let_in(bpf.answers(train.kind, flow.target, idents))
            run.filtered_for = train.kind
        self._sockets.forget_stamps()
        drops = self._sockets.drops()
        flight.fly()
        if abs(realtime_offset_ns() - run.clock_offset_ns) > CLOCK_STEP_NS:
            raise ClockStep("this host's clock was set during the run; measure again")
        echoes, kernel_tx = ledger.echoes()
        return TrainOutcome(
            echoes=echoes,
            kernel_tx=kernel_tx,
            kernel_rx=self._sockets.stamps_arrivals,
            duplicates=ledger.duplicates,
            unmatched=flight.unmatched,
            receive_drops=self._sockets.drops() - drops,
            cut_short=flight.cut_short,
        )

    def record(self, tape: Tape | None) -> None:
        """See `tape.Recordable`."""
        self._tape = tape

    def end(self) -> None:
        """See `Transport.end`."""
        if self._run is not None:
            self._past.append((self._run.identity, boottime_ns()))
        self._run = None
        self._sockets.let_nothing_in()

    def close(self) -> None:
        """Give the sockets back."""
        self._sockets.close()

    def _draw(self, source: IPv4Address, target: IPv4Address) -> Identity:
        """An identity that no late answer to one of the last runs can be taken for."""
        now_ns = boottime_ns()
        recent = [past for past, ended_ns in self._past if now_ns - ended_ns < REST_NS]
        while True:
            # At most three of 120 ranges are taken, so this ends soon.
            identity = Identity.draw(source, target, self._chance)
            if not any(identity.overlaps(past) for past in recent):
                return identity
