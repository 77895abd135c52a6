"""A train on sockets that are given: what leaves when, and when waiting ends."""

from __future__ import annotations

import gc
import socket
from collections.abc import Callable, Iterator
from functools import partial
from types import TracebackType
from typing import Self

import attrs
import pytest

from emodis.packets.clocks import boottime_ns, monotonic_ns, realtime_ns
from emodis.packets.flight import Flight, departures
from emodis.packets.flow import IdBlock
from emodis.packets.ledger import Ledger
from emodis.packets.mmsg import SendBatch
from emodis.packets.model import Kind, Probe, Train
from emodis.packets.replies import parse
from emodis.packets.timestamps import Moment, TransmitStamp
from emodis.packets.transport import Gate, Stop, Traffic
from tests.unit.packets.answers import THERE, expectation, icmp_error, probe_packet

IDS = IdBlock(300, 50)
FAR_NS = 60_000_000_000
SHORT_NS = 5_000_000


class FakeSockets:
    """Answers what `reply` says to each packet as soon as it is sent."""

    stamps_departures = True
    holds_answers = False

    def __init__(
        self, reply: Callable[[int], bytes | None], room: int = 1000, held: int = 1000
    ) -> None:
        self.receiver, self._far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sender = self._far
        self.receiver.setblocking(False)
        self.next_key = 17
        self.calls: list[tuple[int, int]] = []
        self.call_times_ns: list[int] = []
        self._reply = reply
        # Packets the send buffer takes before it is full once.
        self._room = room
        # From this packet on they stay in a shaper until `let_go`.
        self._held = held
        self._stamps: list[TransmitStamp] = []

    def send(self, batch: SendBatch, start: int, end: int) -> int:
        self.calls.append((start, end))
        self.call_times_ns.append(monotonic_ns())
        sent = min(self._room, end - start)
        self._room = 1000 if sent == 0 else self._room - sent
        for index in range(start, start + sent):
            at_ns = realtime_ns()
            self._stamp(index, at_ns, Moment.QUEUED)
            if index < self._held:
                self._stamp(index, at_ns, Moment.LEFT)
            answer = self._reply(index)
            if answer is not None:
                self._far.send(answer)
        return sent

    def let_go(self, index: int) -> None:
        """The shaper lets a packet out."""
        self._stamp(index, realtime_ns(), Moment.LEFT)

    def _stamp(self, index: int, at_ns: int, moment: Moment) -> None:
        self._stamps.append(TransmitStamp(17 + index, moment, at_ns))

    def answers(self) -> Iterator[tuple[bytes, int | None]]:
        while True:
            try:
                yield self.receiver.recv(2048), realtime_ns()
            except BlockingIOError:
                return

    def stamps(self) -> Iterator[TransmitStamp]:
        while self._stamps:
            yield self._stamps.pop(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.receiver.close()
        self._far.close()


@attrs.define
class Word:
    """An interrupt: given after so many questions, with a descriptor that always asks for one."""

    patience: int = 1_000_000
    _pair: tuple[socket.socket, socket.socket] = attrs.field(factory=socket.socketpair)

    def __attrs_post_init__(self) -> None:
        if self.patience < 1_000_000:
            self._pair[1].send(b"x")

    def fileno(self) -> int:
        return self._pair[0].fileno()

    def waiting(self) -> bool:
        self.patience -= 1
        return self.patience < 0

    def __del__(self) -> None:
        for end in self._pair:
            end.close()


@attrs.define
class Rig:
    flight: Flight[SendBatch, bytes]
    ledger: Ledger
    traffic: Traffic

    def fly(self) -> None:
        self.flight.fly()


def rig(
    sockets: FakeSockets,
    probes: list[Probe],
    *,
    wait_ns: int = FAR_NS,
    settle_ns: int | None = None,
    stop_in_ns: int = FAR_NS,
    max_bytes: int = 0,
    interrupt: Word | None = None,
) -> Rig:
    train = Train(kind=Kind.UDP, probes=tuple(probes), wait_ns=wait_ns, settle_ns=settle_ns)
    ledger = Ledger(train, IdBlock(IDS.first, len(probes)), THERE)
    traffic = Traffic()
    sizes = [probe.size_bytes for probe in probes]
    flight = Flight(
        train,
        batch=SendBatch(bytearray(sum(sizes)), sizes, THERE),
        ledger=ledger,
        read=partial(parse, expected=expectation(Kind.UDP, 4, IDS)),
        gate=Gate(boottime_ns() + stop_in_ns, max_bytes, traffic, interrupt or Word(), boottime_ns),
        sockets=sockets,
    )
    return Rig(flight, ledger, traffic)


def router(index: int) -> bytes:
    return icmp_error(probe_packet(Kind.UDP, IDS.at(index)))


def silence(index: int) -> None:
    return None


ONE = Probe(ttl=1, size_bytes=60)


class TestDepartures:
    def test_neighbours_without_a_gap_leave_together(self) -> None:
        later = Probe(ttl=1, size_bytes=60, after_ns=7)
        assert list(departures([ONE, ONE, later, ONE, later])) == [(0, 2, 0), (2, 4, 7), (4, 5, 14)]

    def test_a_gap_before_the_first_means_nothing(self) -> None:
        assert list(departures([Probe(ttl=1, size_bytes=60, after_ns=9), ONE])) == [(0, 2, 0)]

    def test_an_empty_train_has_none(self) -> None:
        assert list(departures([])) == []


def test_a_train_is_over_when_all_is_answered() -> None:
    with FakeSockets(router) as sockets:
        made = rig(sockets, [ONE] * 5)
        made.fly()
    echoes, kernel = made.ledger.echoes()
    assert sockets.calls == [(0, 5)]
    assert kernel
    assert all(echo.reply is not None for echo in echoes)
    traffic = made.traffic
    assert (traffic.sent_packets, traffic.sent_bytes) == (5, 300)
    assert (traffic.recv_packets, traffic.recv_bytes) == (5, 5 * 88)
    assert traffic.started_unix_ns is not None


def test_paced_probes_never_leave_early() -> None:
    paced = [ONE, *[Probe(ttl=1, size_bytes=60, after_ns=2_000_000)] * 3]
    with FakeSockets(router) as sockets:
        made = rig(sockets, paced)
        made.fly()
    assert sockets.calls == [(0, 1), (1, 2), (2, 3), (3, 4)]
    start_ns = made.traffic.train_started_ns
    assert start_ns is not None
    for index, at_ns in enumerate(sockets.call_times_ns):
        assert at_ns - start_ns >= 2_000_000 * index


def test_waiting_ends_with_the_waiting_time() -> None:
    with FakeSockets(silence) as sockets:
        made = rig(sockets, [ONE], wait_ns=SHORT_NS)
        made.fly()
    assert made.ledger.answers == 0
    assert not made.flight.cut_short


def test_waiting_ends_when_it_has_settled() -> None:
    with FakeSockets(lambda index: router(index) if index == 0 else None) as sockets:
        made = rig(sockets, [ONE, ONE], settle_ns=SHORT_NS)
        made.fly()
    assert made.ledger.answers == 1


def test_waiting_ends_at_stop_by() -> None:
    with FakeSockets(silence) as sockets:
        made = rig(sockets, [ONE], stop_in_ns=SHORT_NS)
        made.fly()
    assert not made.flight.cut_short


def test_what_came_while_we_slept_is_read_all_the_same() -> None:
    with FakeSockets(router) as sockets:
        made = rig(sockets, [ONE], wait_ns=0)
        made.fly()
    assert made.ledger.answers == 1


def test_an_abort_ends_the_waiting() -> None:
    with FakeSockets(silence) as sockets:
        rig(sockets, [ONE], interrupt=Word(patience=3)).fly()
    assert sockets.calls == [(0, 1)]


def test_a_full_send_buffer_is_waited_for_and_the_rest_follows() -> None:
    with FakeSockets(router, room=3) as sockets:
        made = rig(sockets, [ONE] * 5)
        made.fly()
    assert sockets.calls == [(0, 5), (3, 5), (3, 5)]
    assert made.traffic.sent_packets == 5


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"max_bytes": 150}, Stop.BYTE_CAP),
        ({"interrupt": Word(patience=4)}, Stop.INTERRUPT),
        # Two probes of 60 bytes take 1.92 ms at 0.5 Mbit/s, and the third leaves after 200 ms.
        ({"stop_in_ns": 150_000_000}, Stop.STOP_BY),
    ],
)
def test_the_gate_is_asked_before_every_call(limits: dict[str, object], reason: Stop) -> None:
    paced = [ONE, *[Probe(ttl=1, size_bytes=60, after_ns=100_000_000)] * 2]
    with FakeSockets(router) as sockets:
        made = rig(sockets, paced, **limits)  # type: ignore[arg-type]
        made.fly()
    assert made.flight.cut_short
    assert made.traffic.stopped_by is reason
    # What never left is not waited for.
    assert reason is Stop.INTERRUPT or made.ledger.complete
    assert 1 <= len(sockets.calls) < 3
    echoes, _ = made.ledger.echoes()
    assert echoes[-1].sent_ns is None


# 1250 bytes take 20 ms at 0.5 Mbit/s, twice the grace for stamps.
LARGE = Probe(ttl=1, size_bytes=1250)


def test_an_aborted_train_is_over_when_the_shaper_cannot_hold_any_of_it() -> None:
    with FakeSockets(silence, held=1) as sockets:
        made = rig(sockets, [LARGE] * 3, interrupt=Word(patience=1))
        began_ns = boottime_ns()
        made.fly()
        took_ns = boottime_ns() - began_ns
    assert sockets.calls == [(0, 3)]
    assert took_ns >= 3 * 20_000_000


def test_an_aborted_train_is_over_when_the_shaper_has_let_it_go() -> None:
    class Slow(FakeSockets):
        looks = 0

        def stamps(self) -> Iterator[TransmitStamp]:
            self.looks += 1
            if self.looks == 5:
                self.let_go(2)
            return super().stamps()

    with Slow(silence, held=1) as sockets:
        made = rig(sockets, [LARGE] * 3, interrupt=Word(patience=1))
        made.fly()
        assert made.traffic.clear_ns == 0
    assert sockets.looks >= 5


def test_a_paced_train_that_queues_ends_before_its_stop_by() -> None:
    # Every 5 ms 20 ms' worth of bytes: after three of them the fourth would be late.
    paced = [LARGE, *[Probe(ttl=1, size_bytes=1250, after_ns=5_000_000)] * 9]
    with FakeSockets(silence, held=1) as sockets:
        made = rig(sockets, paced, stop_in_ns=75_000_000, wait_ns=0)
        made.fly()
    assert made.traffic.stopped_by is Stop.STOP_BY
    assert 1 <= len(sockets.calls) <= 4


def test_strangers_are_counted_and_late_answers_are_not() -> None:
    def noise(index: int) -> bytes:
        return icmp_error(probe_packet(Kind.UDP, 299 if index == 0 else IDS.at(40)))

    with FakeSockets(noise) as sockets:
        made = rig(sockets, [ONE, ONE], wait_ns=SHORT_NS)
        made.fly()
    assert made.flight.unmatched == 1
    assert made.traffic.recv_packets == 0


@pytest.mark.parametrize("collecting", [True, False])
def test_nothing_is_collected_in_the_middle_of_a_train(collecting: bool) -> None:
    """Whatever happens, it is as before when the train is over."""
    seen: list[bool] = []

    class Watching(FakeSockets):
        def send(self, batch: SendBatch, start: int, end: int) -> int:
            seen.append(gc.isenabled())
            return super().send(batch, start, end)

        def answers(self) -> Iterator[tuple[bytes, int | None]]:
            seen.append(gc.isenabled())
            return super().answers()

    class Broken(Watching):
        def send(self, batch: SendBatch, start: int, end: int) -> int:
            super().send(batch, start, end)
            raise OSError("gone")

    was_collecting = gc.isenabled()
    try:
        (gc.enable if collecting else gc.disable)()
        with Watching(router) as sockets:
            rig(sockets, [ONE, ONE]).fly()
        assert gc.isenabled() is collecting
        with Broken(router) as sockets, pytest.raises(OSError, match="gone"):
            rig(sockets, [ONE, ONE]).fly()
        assert gc.isenabled() is collecting
    finally:
        (gc.enable if was_collecting else gc.disable)()
    assert len(seen) >= 3
    assert not any(seen)
