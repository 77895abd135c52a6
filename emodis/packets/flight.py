"""One train on its way: leave on time, collect what comes back, know when to stop.

The answers are read while waiting, also between paced departures, so that no queue overflows; the
processor is given away until shortly before each departure.
"""

from __future__ import annotations

import gc
import select
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar

from emodis.packets.clocks import monotonic_ns, realtime_ns
from emodis.packets.ledger import Ledger
from emodis.packets.mmsg import LARGEST_CALL
from emodis.packets.model import Probe, Train
from emodis.packets.replies import Answer
from emodis.packets.timestamps import Moment, TransmitStamp
from emodis.packets.transport import Gate, transmission_ns

# Sleep until this long before a departure, then spin: the kernel wakes sleepers 50 to 150 us late,
# and a process that spins all the time loses its time slice when it matters (LAB.md 1).
SPIN_NS = 200_000
# How long transmit stamps may lag behind the last send call when no shaper holds the packets.
STAMP_GRACE_NS = 10_000_000
# While a shaper holds them, stamps are fetched this often, so that their queue never overflows.
STAMP_FETCH_NS = 20_000_000
STAMP_PAUSE_NS = 1_000_000
# A full send buffer: look again after this at the latest.
FULL_BUFFER_WAIT_NS = 5_000_000


def departures(probes: Sequence[Probe]) -> Iterator[tuple[int, int, int]]:
    """Yield (first, end, ns after the train's start) of the probes that leave through one call."""
    first, at_ns = 0, 0
    for index, probe in enumerate(probes):
        if index and probe.after_ns:
            yield first, index, at_ns
            first, at_ns = index, at_ns + probe.after_ns
    if probes:
        yield first, len(probes), at_ns


class Described(Protocol):
    """What select can wait for."""

    def fileno(self) -> int: ...


Arrived = TypeVar("Arrived")
Arriving = TypeVar("Arriving", covariant=True)
# What leaves, in whatever form the sockets take it.
Batch = TypeVar("Batch")
Sending = TypeVar("Sending", contravariant=True)


class Sockets(Protocol[Sending, Arriving]):
    """What a flight needs of a transport's sockets; see `sockets.RawSockets`."""

    stamps_departures: bool
    next_key: int

    @property
    def holds_answers(self) -> bool:
        """Whether answers were read together with stamps, so that select does not tell of them."""
        ...

    @property
    def sender(self) -> Described: ...
    @property
    def receiver(self) -> Described: ...
    def send(self, batch: Sending, start: int, end: int) -> int: ...
    def answers(self) -> Iterator[tuple[Arriving, int | None]]: ...
    def stamps(self) -> Iterator[TransmitStamp]: ...


class Flight(Generic[Batch, Arrived]):
    """Drives one train; used once. `read` says what something that arrived is an answer to."""

    def __init__(
        self,
        train: Train,
        *,
        batch: Batch,
        ledger: Ledger,
        read: Callable[[Arrived], Answer | None],
        gate: Gate,
        sockets: Sockets[Batch, Arrived],
    ) -> None:
        self._train = train
        self._sizes = [probe.size_bytes for probe in train.probes]
        self._batch = batch
        self._ledger = ledger
        self._read = read
        self._gate = gate
        self._traffic = gate.traffic
        self._sockets = sockets
        self._first_key = sockets.next_key
        self._sent_bytes = 0
        self._started_ns = 0
        self._last_call_ns: int | None = None
        self._last_answer_ns: int | None = None
        self.unmatched = 0
        self.cut_short = False

    def fly(self) -> None:
        """Send and collect, without a garbage collection in the middle of the train."""
        collecting = gc.isenabled()
        gc.disable()
        try:
            self.send()
            self.collect()
        finally:
            if collecting:
                gc.enable()

    def send(self) -> None:
        """Let the whole train leave, or as much of it as the gate allows."""
        for first, end, at_ns in departures(self._train.probes):
            if first:
                self._wait_until(self._started_ns + at_ns)
            if not self._send_group(first, end):
                self.cut_short = True
                self._ledger.cut_short()
                return

    def collect(self) -> None:
        """Read answers until the train is over."""
        self._fetch_stamps()
        while not self._ledger.complete and not self._gate.interrupt.waiting():
            left_ns = self._end_ns() - monotonic_ns()
            if left_ns <= 0:
                break
            if self._ledger.unstamped:
                left_ns = min(left_ns, STAMP_FETCH_NS)
            self._listen(left_ns)
            self._fetch_stamps()
        # This process may have been asleep past the end while answers came in time.
        self._read_answers()
        self._wait_for_stamps()

    def _send_group(self, first: int, end: int) -> bool:
        while first < end:
            size_bytes = sum(self._sizes[first : min(end, first + LARGEST_CALL)])
            if self._ledger.unstamped:
                # What has left meanwhile is not in the way any more.
                self._fetch_stamps()
            if not self._gate.lets(size_bytes):
                return False
            before_ns, call_ns = realtime_ns(), monotonic_ns()
            sent = self._sockets.send(self._batch, first, end)
            after_ns = realtime_ns()
            if sent:
                self._account(first, sent, before_ns, after_ns, call_ns)
            else:
                self._wait_for_room()
            first += sent
        return True

    def _account(self, first: int, sent: int, before_ns: int, after_ns: int, call_ns: int) -> None:
        traffic = self._traffic
        if self._last_call_ns is None:
            self._started_ns = traffic.train_started_ns = call_ns
        if traffic.started_unix_ns is None:
            traffic.started_unix_ns = before_ns
        size_bytes = sum(self._sizes[first : first + sent])
        traffic.sent_packets += sent
        self._gate.sent(size_bytes)
        self._sent_bytes += size_bytes
        self._last_call_ns = monotonic_ns()
        self._ledger.sent(first, sent, before_ns, after_ns)

    def _wait_until(self, deadline_ns: int) -> None:
        """Come back at the deadline, or earlier if an interrupt waits."""
        while (left_ns := deadline_ns - monotonic_ns()) > SPIN_NS:
            if self._gate.interrupt.waiting():
                return
            left_ns -= SPIN_NS
            self._listen(min(left_ns, STAMP_FETCH_NS) if self._ledger.unstamped else left_ns)
            self._fetch_stamps()
        while monotonic_ns() < deadline_ns:
            pass

    def _wait_for_room(self) -> None:
        # Stamps that wait make the socket look ready for everything.
        self._fetch_stamps()
        sender, receiver = self._sockets.sender, self._sockets.receiver
        watched = [receiver.fileno(), self._gate.interrupt.fileno()]
        select.select(watched, [sender], [], FULL_BUFFER_WAIT_NS / 1e9)
        self._read_answers()

    def _listen(self, wait_ns: int) -> None:
        """Wait for an answer or an interrupt, and read the answers."""
        receiver = self._sockets.receiver.fileno()
        watched = [receiver, self._gate.interrupt.fileno()]
        ready, _, _ = select.select(watched, [], [], wait_ns / 1e9)
        if receiver in ready:
            self._read_answers()

    def _read_answers(self) -> None:
        for arrived, stamp_ns in self._sockets.answers():
            answer = self._read(arrived)
            if answer is None:
                self.unmatched += 1
                continue
            if self._ledger.record(answer, realtime_ns() if stamp_ns is None else stamp_ns):
                self._traffic.recv_packets += 1
                self._traffic.recv_bytes += answer.size_bytes
                self._last_answer_ns = monotonic_ns()

    def _fetch_stamps(self) -> None:
        for stamp in self._sockets.stamps():
            index = (stamp.key - self._first_key) % (1 << 32)
            if index >= len(self._sizes):
                continue
            if stamp.moment is Moment.QUEUED:
                self._ledger.queued(index, stamp.at_ns)
            else:
                self._ledger.left(index, stamp.at_ns)
        if self._ledger.all_left:
            self._gate.all_left()
        if self._sockets.holds_answers:
            self._read_answers()

    def _wait_for_stamps(self) -> None:
        """Stamps of packets that have left are there within microseconds; give them some time.

        What a shaper of this host holds is waited for, also after an abort: when a run has ended,
        its destination goes to another agent.
        """
        if not self._sockets.stamps_departures or self._last_call_ns is None:
            return
        end_ns = self._last_call_ns + STAMP_GRACE_NS
        while self._ledger.unstamped and (
            monotonic_ns() < end_ns or (self._ledger.holding and self._gate.queue_ns())
        ):
            self._pause(STAMP_PAUSE_NS)
            self._fetch_stamps()

    def _pause(self, wait_ns: int) -> None:
        """As `_listen`, but an interrupt that waits does not wake it: that would be a busy loop."""
        receiver = self._sockets.receiver.fileno()
        if select.select([receiver], [], [], wait_ns / 1e9)[0]:
            self._read_answers()

    def _end_ns(self) -> int:
        """When to stop waiting, on CLOCK_MONOTONIC."""
        now_ns = monotonic_ns()
        gate = self._gate
        out_ns = self._all_out_ns(now_ns)
        ends = [
            out_ns + self._train.wait_ns,
            now_ns + gate.stop_by_boottime_ns - gate.boottime_ns(),
        ]
        if self._train.settle_ns is not None and self._last_answer_ns is not None:
            ends.append(max(self._last_answer_ns, out_ns) + self._train.settle_ns)
        return min(ends)

    def _all_out_ns(self, now_ns: int) -> int:
        """When the last packet left this host, or the latest it can still do so."""
        if self._last_call_ns is None:
            return now_ns - self._train.wait_ns
        left_ns = self._ledger.last_left_ns
        if left_ns is not None:
            return now_ns - max(0, realtime_ns() - left_ns)
        if self._ledger.queueing:
            return self._last_call_ns + transmission_ns(self._sent_bytes)
        return self._last_call_ns
