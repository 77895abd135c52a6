"""Paced UDP between two ordinary sockets of this host."""

from __future__ import annotations

import gc
import select
import socket
from collections.abc import Iterator
from ipaddress import IPv4Address, ip_address

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6

from emodis.packets.arrivals import Arrival, ArrivalSocket
from emodis.packets.clocks import boottime_ns, realtime_ns
from emodis.packets.paced import headers_bytes
from emodis.packets.pacing import PacedSocket
from emodis.packets.tape import Tape
from emodis.packets.transport import Gate, Stop, Traffic

HERE = IPv4Address("127.0.0.1")
FAR_NS = 60_000_000_000
PAYLOADS = [bytes([number]) * 100 for number in range(20)]


class Calm:
    """Nobody interrupts."""

    def __init__(self) -> None:
        self.ends = socket.socketpair()
        self.asked = 0
        self.after = 1 << 30

    def fileno(self) -> int:
        return self.ends[0].fileno()

    def waiting(self) -> bool:
        self.asked += 1
        return self.asked > self.after

    def close(self) -> None:
        for end in self.ends:
            end.close()


@pytest.fixture
def calm() -> Iterator[Calm]:
    interrupt = Calm()
    yield interrupt
    interrupt.close()


@pytest.fixture
def listening() -> Iterator[ArrivalSocket]:
    sock = ArrivalSocket()
    yield sock
    sock.close()


def gate(calm: Calm, *, max_bytes: int = 0, left_ns: int = FAR_NS) -> Gate:
    return Gate(
        stop_by_boottime_ns=boottime_ns() + left_ns,
        max_bytes=max_bytes,
        traffic=Traffic(),
        interrupt=calm,
        boottime_ns=boottime_ns,
    )


def arrived(sock: ArrivalSocket, count: int) -> list[Arrival]:
    """So many, or what there is when nothing comes any more."""
    found: list[Arrival] = []
    while len(found) < count and select.select([sock], [], [], 5)[0]:
        found += sock.arrived(count)
    return found


@pytest.mark.parametrize(
    ("here", "gap_ns"), [("127.0.0.1", 0), ("127.0.0.1", 1_000_000), ("::1", 0)]
)
def test_a_train_leaves_in_order_and_at_its_pace(
    calm: Calm, listening: ArrivalSocket, here: str, gap_ns: int
) -> None:
    sending = PacedSocket(ip_address(here), listening.port)
    gating = gate(calm)
    before_ns = realtime_ns()
    sent = sending.send(PAYLOADS, gap_ns, gating)
    after_ns = realtime_ns()
    sending.close()
    assert sent is not None
    seen = arrived(listening, len(PAYLOADS))
    assert [arrival.payload for arrival in seen] == PAYLOADS
    assert {arrival.host for arrival in seen} == {here}
    assert list(sent.times_ns) == sorted(sent.times_ns)
    assert before_ns <= sent.times_ns[0] <= sent.times_ns[-1] <= after_ns
    for left_ns, arrival in zip(sent.times_ns, seen, strict=True):
        assert left_ns <= arrival.at_ns
    # However late some were on a busy machine, none left before its time.
    for number, left_ns in enumerate(sent.times_ns):
        assert left_ns - before_ns >= number * gap_ns
    assert gating.traffic.sent_packets == len(PAYLOADS)
    assert gating.traffic.sent_bytes == len(PAYLOADS) * (
        100 + headers_bytes(ip_address(here).version)
    )


@pytest.mark.parametrize("here", ["127.0.0.1", "::1"])
def test_what_has_left_is_on_the_tape_as_it_arrived(
    calm: Calm, listening: ArrivalSocket, here: str
) -> None:
    tape = Tape()
    sending = PacedSocket(ip_address(here), listening.port, tape=tape)
    sent = sending.send(PAYLOADS, 0, gate(calm))
    sending.close()
    assert sent is not None
    seen = arrived(listening, len(PAYLOADS))
    version = ip_address(here).version
    packets = [(at_ns, (IP if version == 4 else IPv6)(packet)) for at_ns, packet in tape.take()]
    assert [at_ns for at_ns, _ in packets] == list(sent.times_ns)
    assert [bytes(packet[UDP].payload) for _, packet in packets] == PAYLOADS
    assert {(packet.src, packet[UDP].sport) for _, packet in packets} == {
        (arrival.host, arrival.port) for arrival in seen
    }
    assert {(packet.dst, packet[UDP].dport) for _, packet in packets} == {(here, listening.port)}


def test_what_left_before_a_gate_closed_is_on_the_tape(
    calm: Calm, listening: ArrivalSocket
) -> None:
    tape = Tape()
    sending = PacedSocket(HERE, listening.port, tape=tape)
    calm.after = 5
    assert sending.send(PAYLOADS, 0, gate(calm)) is None
    sending.close()
    assert [IP(packet)[UDP].load for _, packet in tape.take()] == PAYLOADS[:5]


def test_stamps_of_one_train_are_not_taken_for_those_of_the_next(
    calm: Calm, listening: ArrivalSocket
) -> None:
    sending = PacedSocket(HERE, listening.port)
    times_ns: list[int] = []
    for _ in range(3):
        sent = sending.send(PAYLOADS, 0, gate(calm))
        assert sent is not None
        assert sent.kernel
        times_ns += sent.times_ns
    sending.close()
    assert times_ns == sorted(times_ns)


def test_a_partner_without_that_port_does_not_end_a_train(calm: Calm) -> None:
    unused = ArrivalSocket()
    unused.close()
    sending = PacedSocket(HERE, unused.port)
    sent = sending.send(PAYLOADS, 100_000, gate(calm))
    sending.close()
    assert sent is not None
    assert len(sent.times_ns) == len(PAYLOADS)


@pytest.mark.parametrize(
    ("limits", "why"),
    [({"max_bytes": 1000}, Stop.BYTE_CAP), ({"left_ns": 1_000_000}, Stop.STOP_BY)],
)
def test_a_gate_that_closes_stops_it(
    calm: Calm, listening: ArrivalSocket, limits: dict[str, int], why: Stop
) -> None:
    sending = PacedSocket(HERE, listening.port)
    gating = gate(calm, **limits)
    assert sending.send(PAYLOADS, 2_000_000, gating) is None
    sending.close()
    assert gating.traffic.stopped_by is why
    assert gating.traffic.sent_packets < len(PAYLOADS)


def test_an_interrupt_stops_it_in_the_middle(calm: Calm, listening: ArrivalSocket) -> None:
    sending = PacedSocket(HERE, listening.port)
    calm.after = 5
    gating = gate(calm)
    assert sending.send(PAYLOADS, 2_000_000, gating) is None
    sending.close()
    assert gating.traffic.stopped_by is Stop.INTERRUPT
    assert 0 < gating.traffic.sent_packets < len(PAYLOADS)


ABOVE_A_SEND_CALL_NS = 50_000


@pytest.mark.parametrize("gap_ns", [0, ABOVE_A_SEND_CALL_NS])
def test_an_interrupt_is_asked_for_before_every_send_call(
    calm: Calm, listening: ArrivalSocket, gap_ns: int
) -> None:
    sending = PacedSocket(HERE, listening.port)
    calm.after = 5
    gating = gate(calm)
    assert sending.send(PAYLOADS, gap_ns, gating) is None
    sending.close()
    assert (gating.traffic.stopped_by, gating.traffic.sent_packets) == (Stop.INTERRUPT, 5)


@pytest.mark.parametrize("gap_ns", [0, ABOVE_A_SEND_CALL_NS])
def test_no_probe_leaves_above_the_byte_cap(
    calm: Calm, listening: ArrivalSocket, gap_ns: int
) -> None:
    sending = PacedSocket(HERE, listening.port)
    gating = gate(calm, max_bytes=6 * (100 + headers_bytes(4)) - 1)
    assert sending.send(PAYLOADS, gap_ns, gating) is None
    sending.close()
    assert (gating.traffic.stopped_by, gating.traffic.sent_packets) == (Stop.BYTE_CAP, 5)


@pytest.mark.parametrize("gap_ns", [0, ABOVE_A_SEND_CALL_NS])
def test_no_probe_leaves_after_stop_by(calm: Calm, listening: ArrivalSocket, gap_ns: int) -> None:
    sending = PacedSocket(HERE, listening.port)
    gating = gate(calm)
    start_ns = boottime_ns()
    # A clock that jumps when five have left, as after a suspension.
    gating.boottime_ns = lambda: start_ns + 2 * FAR_NS * (gating.traffic.sent_packets >= 5)
    assert sending.send(PAYLOADS, gap_ns, gating) is None
    sending.close()
    assert (gating.traffic.stopped_by, gating.traffic.sent_packets) == (Stop.STOP_BY, 5)


@pytest.mark.parametrize("gap_ns", [0, 2_000_000])
@pytest.mark.parametrize("collecting", [True, False])
def test_nothing_is_collected_in_the_middle_of_a_train(
    calm: Calm,
    listening: ArrivalSocket,
    gap_ns: int,
    collecting: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever happens, it is as before when the train is over."""
    seen: list[bool] = []
    sending = PacedSocket(HERE, listening.port)
    asked = calm.waiting

    def watched() -> bool:
        seen.append(gc.isenabled())
        return asked()

    monkeypatch.setattr(calm, "waiting", watched)
    was_collecting = gc.isenabled()
    try:
        (gc.enable if collecting else gc.disable)()
        assert sending.send(PAYLOADS[:5], gap_ns, gate(calm)) is not None
        assert gc.isenabled() is collecting
        assert len(seen) >= 5
        calm.after = calm.asked + 3
        assert sending.send(PAYLOADS[:5], gap_ns, gate(calm)) is None
        assert gc.isenabled() is collecting
        sending.close()
        with pytest.raises(OSError, match="Bad file"):
            sending.send(PAYLOADS[:5], gap_ns, gate(calm))
        assert gc.isenabled() is collecting
    finally:
        (gc.enable if was_collecting else gc.disable)()
        sending.close()
    assert not any(seen)
