"""Real datagrams on loopback, whose kernel answers at once; routers are in tests/lab."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

import attrs
import pytest

from emodis.packets import flowsocket
from emodis.packets.clocks import boottime_ns, monotonic_ns, realtime_ns
from emodis.packets.flowsocket import FlowSocket
from emodis.packets.mmsg import SendBatch
from emodis.packets.model import Kind, Probe, ReplyKind, Train, TrainOutcome
from emodis.packets.timestamps import Moment
from emodis.packets.transport import ClockStep, FamilyMismatch, NotPermitted, Stop
from emodis.packets.trial import try_datagrams
from emodis.packets.unprivileged import UnprivilegedTransport
from tests.support.clock import set_clock
from tests.support.interrupts import Silence

LOOPBACK = IPv4Address("127.0.0.1")
FAR_NS = 60_000_000_000
WAIT_NS = 5_000_000_000


@pytest.fixture
def silence() -> Iterator[Silence]:
    silence = Silence()
    yield silence
    silence.close()


@pytest.fixture
def transport() -> Iterator[UnprivilegedTransport]:
    transport = UnprivilegedTransport(random.Random(7))
    yield transport
    transport.close()


@pytest.fixture
def closed_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((str(LOOPBACK), 0))
        return int(probe.getsockname()[1])


@attrs.define
class Server:
    """Gives back to every datagram what `answer` says."""

    sock: socket.socket
    empty: bool

    @property
    def port(self) -> int:
        return int(self.sock.getsockname()[1])

    def serve(self, count: int) -> None:
        for _ in range(count):
            data, place = self.sock.recvfrom(2048)
            self.sock.sendto(b"" if self.empty else data, place)


@pytest.fixture(params=[False, True], ids=["echoing", "saying nothing of which"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((str(LOOPBACK), 0))
        sock.settimeout(30)
        yield Server(sock, request.param)


def fly(
    transport: UnprivilegedTransport,
    silence: Silence,
    probes: list[Probe],
    port: int,
    *,
    flow: int = 0,
    dscp: int = 0,
) -> TrainOutcome:
    train = Train(
        kind=Kind.UDP, probes=tuple(probes), wait_ns=WAIT_NS, port=port, flow=flow, dscp=dscp
    )
    return transport.exchange(train, stop_by_boottime_ns=boottime_ns() + FAR_NS, interrupt=silence)


def probes(count: int) -> list[Probe]:
    return [Probe(ttl=64, size_bytes=60)] * count


def test_every_probe_has_kernel_stamps_and_its_own_answer(
    transport: UnprivilegedTransport, silence: Silence, closed_port: int
) -> None:
    assert (transport.tx_stamp, transport.rx_stamp) == ("kernel", "kernel")
    transport.begin(LOOPBACK, max_bytes=0)
    before_ns = realtime_ns()
    outcome = fly(transport, silence, probes(6), closed_port)
    assert outcome.kernel_tx
    assert outcome.kernel_rx
    assert (outcome.unmatched, outcome.duplicates, outcome.receive_drops) == (0, 0, 0)
    last_ns = before_ns
    for echo in outcome.echoes:
        assert echo.reply is not None
        assert echo.sent_ns is not None
        assert echo.queued_ns is not None
        assert (echo.reply.kind, echo.reply.address) == (ReplyKind.UNREACHABLE, LOOPBACK)
        assert (echo.reply.icmp_type, echo.reply.icmp_code, echo.reply.ttl) == (3, 3, 64)
        assert last_ns < echo.queued_ns <= echo.sent_ns <= echo.reply.received_ns
        last_ns = echo.sent_ns
    traffic = transport.traffic
    assert (traffic.sent_packets, traffic.sent_bytes) == (6, 360)
    # Outer headers 28, and the whole probe is quoted.
    assert (traffic.recv_packets, traffic.recv_bytes) == (6, 6 * 88)


def test_answers_of_an_application_count_too(
    transport: UnprivilegedTransport, silence: Silence, server: Server
) -> None:
    thread = threading.Thread(target=server.serve, args=(3,))
    thread.start()
    transport.begin(LOOPBACK, max_bytes=0)
    outcome = fly(transport, silence, probes(3), server.port)
    thread.join(30)
    kinds = [echo.reply.kind if echo.reply else None for echo in outcome.echoes]
    assert kinds == [ReplyKind.DATAGRAM] * 3
    # Whoever waits knows at once that all have come.
    assert transport.traffic.train_started_ns is not None
    assert monotonic_ns() - transport.traffic.train_started_ns < WAIT_NS


def test_a_flow_keeps_its_port_for_the_run_and_others_have_others(
    transport: UnprivilegedTransport, silence: Silence, server: Server
) -> None:
    ports = []

    def serve() -> None:
        for _ in range(3):
            data, place = server.sock.recvfrom(2048)
            ports.append(place[1])
            server.sock.sendto(data, place)

    thread = threading.Thread(target=serve)
    thread.start()
    transport.begin(LOOPBACK, max_bytes=0)
    for flow in (0, 1, 0):
        fly(transport, silence, probes(1), server.port, flow=flow)
    thread.join(30)
    assert ports[0] == ports[2] != ports[1]


def test_what_these_sockets_cannot_send_is_said(
    transport: UnprivilegedTransport, silence: Silence, closed_port: int
) -> None:
    transport.begin(LOOPBACK, max_bytes=0)
    muted = [Probe(ttl=64, size_bytes=60, muted=True)]
    with pytest.raises(NotPermitted, match="muting load packets needs raw sockets"):
        fly(transport, silence, muted, closed_port)
    for size_bytes, flow, text in ((60, 1, "choosing the flow of a SYN"), (64, 0, "has 60 bytes")):
        syn = Probe(ttl=64, size_bytes=size_bytes)
        train = Train(kind=Kind.TCP_SYN, probes=(syn,), wait_ns=1, flow=flow)
        with pytest.raises(NotPermitted, match=text):
            transport.exchange(train, stop_by_boottime_ns=FAR_NS, interrupt=silence)
    for port, flow, dscp in ((9, 256, 0), (0, 0, 0), (9, 0, 64)):
        with pytest.raises(ValueError, match="outside"):
            fly(transport, silence, probes(1), port, flow=flow, dscp=dscp)
    assert transport.traffic.sent_packets == 0


def test_the_byte_cap_holds_over_the_trains_of_a_run(
    transport: UnprivilegedTransport, silence: Silence, closed_port: int
) -> None:
    transport.begin(LOOPBACK, max_bytes=150)
    assert not fly(transport, silence, probes(2), closed_port).cut_short
    assert fly(transport, silence, probes(1), closed_port).cut_short
    assert transport.traffic.stopped_by is Stop.BYTE_CAP
    assert transport.traffic.sent_bytes == 120


def test_ipv6_answers_on_loopback_just_so(
    transport: UnprivilegedTransport, silence: Silence, closed_port: int
) -> None:
    if 6 not in transport.families:
        with pytest.raises(FamilyMismatch):
            transport.begin(IPv6Address("::1"), max_bytes=0)
        return
    transport.begin(IPv6Address("::1"), max_bytes=0)
    outcome = fly(transport, silence, [Probe(ttl=64, size_bytes=80)] * 3, closed_port)
    assert outcome.kernel_tx
    for echo in outcome.echoes:
        assert echo.reply is not None
        assert (echo.reply.kind, echo.reply.icmp_type) == (ReplyKind.UNREACHABLE, 1)
        assert (echo.reply.address, echo.reply.ttl) == (IPv6Address("::1"), 64)


def test_a_train_outside_a_run_is_a_mistake(
    transport: UnprivilegedTransport, silence: Silence
) -> None:
    with pytest.raises(RuntimeError):
        fly(transport, silence, probes(1), 9)


def test_this_kernel_reports_errors_with_stamps() -> None:
    trial = try_datagrams()
    assert trial.errors
    assert trial.arrivals
    assert trial.departures


class Moody(SendBatch):
    """A batch whose every second call fails with an error that an earlier probe met."""

    def __init__(self) -> None:
        super().__init__(bytearray(40), [4] * 10, LOOPBACK)
        self.calls: list[tuple[int, int]] = []

    def send(self, fd: int, start: int, end: int) -> int:
        self.calls.append((start, end))
        if len(self.calls) % 2:
            raise ConnectionRefusedError(111, "Connection refused")
        return min(3, end - start)


@pytest.mark.parametrize("leak", [False, True])
def test_an_error_of_an_earlier_probe_does_not_stop_the_sending(
    closed_port: int, leak: bool
) -> None:
    sock = FlowSocket(Kind.UDP, LOOPBACK, closed_port, keys_leak=leak)
    batch = Moody()
    assert sock.send(batch, 0, 10) == 10
    assert [start for start, _ in batch.calls] == [0, 0, 3, 3, 6, 6, 9, 9]
    # Where failures use up keys, each of the four, and each call that stopped early, used one.
    last_key = 9 + (4 + 3 if leak else 0)
    sock._place(last_key, Moment.LEFT, 5)
    assert [(stamp.key, stamp.at_ns) for stamp in sock.stamps()] == [(9, 5)]
    sock.close()


def test_a_host_that_refuses_every_time_is_believed(closed_port: int) -> None:
    class Refusing(Moody):
        def send(self, fd: int, start: int, end: int) -> int:
            raise PermissionError(1, "Operation not permitted")

    sock = FlowSocket(Kind.UDP, LOOPBACK, closed_port)
    with pytest.raises(NotPermitted):
        sock.send(Refusing(), 0, 10)
    sock.close()


def test_a_flood_does_not_keep_a_flow_from_ending(
    closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Flooded:
        """Whoever reads finds one packet more."""

        def __init__(self, sock: socket.socket) -> None:
            self._sock = sock

        def recvmsg(self, *_: int) -> tuple[bytes, list[object], int, tuple[str, int]]:
            return b"x", [], 0, (str(LOOPBACK), closed_port)

        def __getattr__(self, name: str) -> object:
            return getattr(self._sock, name)

    monkeypatch.setattr(flowsocket, "LARGEST_HAUL", 50)
    sock = FlowSocket(Kind.UDP, LOOPBACK, closed_port)
    real = sock.socket
    sock.socket = Flooded(real)  # type: ignore[assignment]
    assert len(list(sock.answers())) == 50
    real.close()


def test_a_clock_that_is_set_during_a_run_fails_it(
    transport: UnprivilegedTransport,
    silence: Silence,
    closed_port: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for kind in (Kind.UDP, Kind.TCP_SYN):
        transport.begin(LOOPBACK, max_bytes=0)
        train = Train(kind=kind, probes=tuple(probes(1)), wait_ns=WAIT_NS, port=closed_port)
        with monkeypatch.context() as patch:
            set_clock(patch)
            with pytest.raises(ClockStep, match="clock was set"):
                transport.exchange(
                    train, stop_by_boottime_ns=boottime_ns() + FAR_NS, interrupt=silence
                )
        transport.end()
