"""Connections that the kernel opens, on loopback; routers and far hosts are in tests/lab."""

from __future__ import annotations

import random
import select
import socket
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from emodis.packets import connecting
from emodis.packets.clocks import boottime_ns, monotonic_ns, realtime_ns
from emodis.packets.connecting import Connections
from emodis.packets.flow import IdBlock
from emodis.packets.model import Kind, Probe, ReplyKind, Train, TrainOutcome
from emodis.packets.transport import NoRoute
from emodis.packets.unprivileged import UnprivilegedTransport
from tests.support.interrupts import Silence
from tests.unit.packets.test_unprivileged import FAR_NS, WAIT_NS

LOOPBACK = IPv4Address("127.0.0.1")
# Nothing of it leaves a host that has no such route.
NOWHERE = IPv4Address("240.0.0.1")


@pytest.fixture
def silence() -> Iterator[Silence]:
    silence = Silence()
    yield silence
    silence.close()


@pytest.fixture(params=["127.0.0.1", "::1"])
def listener(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    family = socket.AF_INET if "." in request.param else socket.AF_INET6
    with socket.socket(family) as sock:
        try:
            sock.bind((request.param, 0))
        except OSError:
            pytest.skip("IPv6 is switched off here")
        sock.listen(8)
        yield sock


def fly(
    silence: Silence, place: tuple[str, int], count: int = 3
) -> tuple[TrainOutcome, UnprivilegedTransport]:
    address = ip_address(place[0])
    transport = UnprivilegedTransport(random.Random(7))
    transport.begin(address, max_bytes=0)
    size_bytes = 60 if address.version == 4 else 80
    train = Train(
        kind=Kind.TCP_SYN,
        probes=(Probe(ttl=64, size_bytes=size_bytes),) * count,
        wait_ns=WAIT_NS,
        port=place[1],
    )
    outcome = transport.exchange(
        train, stop_by_boottime_ns=boottime_ns() + FAR_NS, interrupt=silence
    )
    transport.close()
    return outcome, transport


def test_an_open_port_answers_every_syn_from_a_port_of_its_own(
    silence: Silence, listener: socket.socket
) -> None:
    place = listener.getsockname()[:2]
    before_ns = monotonic_ns()
    outcome, transport = fly(silence, place)
    # Nobody waited for an answer that was there.
    assert monotonic_ns() - before_ns < WAIT_NS
    replies = [echo.reply for echo in outcome.echoes]
    assert [reply and (reply.kind, str(reply.address)) for reply in replies] == [
        (ReplyKind.SYN_ACK, place[0])
    ] * 3
    for echo in outcome.echoes:
        assert echo.reply is not None
        assert echo.sent_ns is not None
        assert 0 < echo.reply.received_ns - echo.sent_ns < 1_000_000_000
    assert (outcome.by_connect, outcome.kernel_tx, outcome.kernel_rx) == (True, False, True)
    assert (outcome.duplicates, outcome.unmatched) == (0, 0)
    ports = set()
    for _ in range(3):
        taken, (_, port, *_) = listener.accept()
        with taken:
            ports.add(port)
            # No connection is left behind.
            with pytest.raises(ConnectionResetError):
                taken.recv(1)
    assert len(ports) == 3
    header = 20 if ":" not in place[0] else 40
    # The SYN, the last word of the handshake, the reset.
    traffic = transport.traffic
    assert (traffic.sent_packets, traffic.sent_bytes) == (9, 3 * (3 * header + 40 + 32 + 32))
    assert (traffic.recv_packets, traffic.recv_bytes) == (3, 3 * (header + 40))


def test_a_closed_port_refuses_every_syn(silence: Silence, listener: socket.socket) -> None:
    place = listener.getsockname()[:2]
    listener.close()
    outcome, transport = fly(silence, place)
    kinds = [echo.reply and echo.reply.kind for echo in outcome.echoes]
    assert kinds == [ReplyKind.RESET] * 3
    # A refusal is not timed by the kernel.
    assert not outcome.kernel_rx
    assert (transport.traffic.sent_packets, transport.traffic.recv_packets) == (3, 3)


def test_the_oldest_connections_are_given_up_for_new_ones(
    monkeypatch: pytest.MonkeyPatch, listener: socket.socket
) -> None:
    monkeypatch.setattr(connecting, "MOST_OPEN", 2)
    place = listener.getsockname()[:2]
    connections = Connections(ip_address(place[0]), place[1], dscp=0, df=True, ids=IdBlock(1, 5))
    for index in range(5):
        assert connections.send([64] * 5, index, 5) == 1
    select.select([connections.receiver], [], [], 5)
    answered = [answer.probe_id for answer, _ in connections.answers() if answer is not None]
    assert answered == [4, 5]
    connections.close()
    # All were established, and all were ended.
    assert connections.extra_packets == 10


def test_an_error_that_nobody_explains_is_no_answer(
    monkeypatch: pytest.MonkeyPatch, listener: socket.socket
) -> None:
    """As an older kernel tells of a router: the error without the router."""
    place = listener.getsockname()[:2]
    connections = Connections(ip_address(place[0]), place[1], dscp=0, df=True, ids=IdBlock(1, 1))
    connections.send([64], 0, 1)
    for attempt in connections._open.values():
        attempt.error = 113
    select.select([connections.receiver], [], [], 5)
    assert list(connections.answers()) == [(None, None)]
    assert not connections.holds_answers
    connections.close()


def test_a_time_is_the_kernels_own_measurement_unless_it_has_repeated_the_syn(
    monkeypatch: pytest.MonkeyPatch, listener: socket.socket
) -> None:
    place = listener.getsockname()[:2]
    for repeated in (0, 1):
        progress = connecting._Progress(established=True, rtt_ns=5_000, repeated=repeated)
        monkeypatch.setattr(connecting, "_progress", lambda sock, progress=progress: progress)
        connections = Connections(
            ip_address(place[0]), place[1], dscp=0, df=True, ids=IdBlock(1, 1)
        )
        before_ns = realtime_ns()
        connections.send([64], 0, 1)
        ((called_ns, *_),) = [(attempt.called_ns,) for attempt in connections._open.values()]
        select.select([connections.receiver], [], [], 5)
        looked_ns = realtime_ns()
        ((_, at_ns),) = connections.answers()
        assert at_ns is not None
        if repeated:
            assert at_ns >= looked_ns
        else:
            assert at_ns == called_ns + 5_000 >= before_ns
        assert connections.stamps_arrivals is not bool(repeated)
        connections.close()
        # The repeated SYN is counted, too.
        assert connections.extra_packets == 2 + repeated


def test_a_host_without_a_way_there_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stranded(socket.socket):
        def connect_ex(self, address: object) -> int:
            return 101

    monkeypatch.setattr("emodis.packets.connecting.socket.socket", Stranded)
    for address in (NOWHERE, IPv6Address("::1")):
        connections = Connections(address, 80, dscp=0, df=True, ids=IdBlock(1, 1))
        with pytest.raises(NoRoute, match="no route"):
            connections.send([64], 0, 1)
        connections.close()
