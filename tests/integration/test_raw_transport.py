"""Real packets over loopback: every kind, both versions, and what the target answers to them."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address

import pytest

from emodis.packets.clocks import boottime_ns
from emodis.packets.model import Kind, Probe, ReplyKind, Train, TrainOutcome
from emodis.packets.raw import RawTransport
from emodis.packets.tape import Tape
from emodis.packets.transport import FamilyMismatch
from tests.integration.test_client_measure import may_send
from tests.support.interrupts import Silence

pytestmark = pytest.mark.skipif(not may_send(), reason="needs CAP_NET_RAW")

FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
OURSELVES = {4: "127.0.0.1", 6: "::1"}
SIZES = {4: 60, 6: 80}
SYN = 0x02
DEADLINE_NS = 10_000_000_000


@pytest.fixture
def transport() -> Iterator[RawTransport]:
    made = RawTransport(random.Random())
    yield made
    made.close()


@pytest.fixture(params=[4, 6])
def version(request: pytest.FixtureRequest, transport: RawTransport) -> int:
    number: int = request.param
    if number not in transport.families:
        pytest.skip("IPv6 does not work on this host")
    return number


def fly(
    transport: RawTransport,
    version: int,
    kind: Kind,
    *,
    sizes: tuple[int, ...] = (),
    port: int = 33434,
    dscp: int = 0,
    flow: int = 0,
    spread: bool = False,
) -> TrainOutcome:
    sizes = sizes or (SIZES[version],)
    train = Train(
        kind=kind,
        probes=tuple(Probe(ttl=64, size_bytes=size) for size in sizes),
        wait_ns=DEADLINE_NS,
        port=port,
        dscp=dscp,
        flow=flow,
        spread=spread,
    )
    word = Silence()
    transport.begin(ip_address(OURSELVES[version]), max_bytes=0)
    try:
        stop_ns = boottime_ns() + DEADLINE_NS
        return transport.exchange(train, stop_by_boottime_ns=stop_ns, interrupt=word)
    finally:
        transport.end()
        word.close()


def kinds(outcome: TrainOutcome) -> list[ReplyKind | None]:
    return [echo.reply.kind if echo.reply else None for echo in outcome.echoes]


@contextmanager
def listening(version: int) -> Iterator[int]:
    """A TCP port that takes connections."""
    with socket.socket(FAMILIES[version]) as server:
        server.bind((OURSELVES[version], 0))
        server.listen()
        yield server.getsockname()[1]


@contextmanager
def talking(version: int) -> Iterator[int]:
    """A UDP port that answers one datagram."""
    with socket.socket(FAMILIES[version], socket.SOCK_DGRAM) as server:
        server.bind((OURSELVES[version], 0))
        server.settimeout(DEADLINE_NS / 1e9)

        def answer() -> None:
            _, peer = server.recvfrom(2048)
            server.sendto(b"hello", peer)

        thread = threading.Thread(target=answer)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        (Kind.ICMP_ECHO, ReplyKind.ECHO_REPLY),
        (Kind.UDP, ReplyKind.UNREACHABLE),
        (Kind.TCP_SYN, ReplyKind.RESET),
    ],
)
def test_every_kind_is_answered_with_kernel_stamps(
    transport: RawTransport, version: int, kind: Kind, answer: ReplyKind
) -> None:
    outcome = fly(transport, version, kind, sizes=(SIZES[version], 300, 1280), dscp=46, flow=255)
    assert kinds(outcome) == [answer] * 3
    assert outcome.kernel_tx
    assert outcome.kernel_rx
    assert (outcome.unmatched, outcome.duplicates, outcome.receive_drops) == (0, 0, 0)
    for echo in outcome.echoes:
        assert echo.reply is not None
        assert str(echo.reply.address) == OURSELVES[version]
        assert not echo.reply.marks
        assert echo.sent_ns is not None
        assert echo.sent_ns < echo.reply.received_ns


def test_an_open_port_says_so(transport: RawTransport, version: int) -> None:
    with listening(version) as port:
        # The last has a payload, which is not acknowledged by an open port, but by a closed one.
        sizes = (SIZES[version], SIZES[version] - 20, 500)
        outcome = fly(transport, version, Kind.TCP_SYN, sizes=sizes, port=port)
    assert kinds(outcome) == [ReplyKind.SYN_ACK] * 3


def test_syns_may_have_a_source_port_each(transport: RawTransport, version: int) -> None:
    tape = Tape()
    transport.record(tape)
    sizes = (SIZES[version],) * 300
    outcome = fly(transport, version, Kind.TCP_SYN, sizes=sizes, flow=255, spread=True)
    transport.record(None)
    assert kinds(outcome) == [ReplyKind.RESET] * 300
    header = {4: 20, 6: 40}[version]
    ports = [
        int.from_bytes(packet[header : header + 2], "big")
        for _, packet in tape.take()
        if packet[header + 13] == SYN
    ]
    # There are 256 flows, and the last is followed by the first.
    assert ports[1:257] == list(range(ports[1], ports[1] + 256))
    assert ports[0] == ports[256]
    with pytest.raises(ValueError, match="only SYNs"):
        fly(transport, version, Kind.UDP, spread=True)


def test_a_port_that_talks_is_heard(transport: RawTransport, version: int) -> None:
    with talking(version) as port:
        outcome = fly(transport, version, Kind.UDP, port=port)
    assert kinds(outcome) == [ReplyKind.DATAGRAM]


def test_runs_of_all_kinds_follow_one_another(transport: RawTransport, version: int) -> None:
    for _ in range(2):
        for kind in Kind:
            assert None not in kinds(fly(transport, version, kind))


def test_what_one_run_left_open_is_closed(transport: RawTransport) -> None:
    fly(transport, 4, Kind.TCP_SYN)
    assert transport._sockets[4].receiver.fileno() >= 0
    assert list(transport._sockets[4]._listeners) == [socket.IPPROTO_ICMP]


def test_a_host_without_ipv6_refuses_it(transport: RawTransport) -> None:
    if 6 in transport.families:
        transport._sockets.pop(6).close()
    with pytest.raises(FamilyMismatch, match="IPv4 destination"):
        transport.begin(ip_address("::1"), max_bytes=0)
