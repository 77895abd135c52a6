"""The kernel itself runs the filters here: any socket takes one, also a local datagram pair.

A raw socket of IPv6 shows its filter what follows the IP header, so that is what is sent here.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from emodis.packets import bpf
from emodis.packets.flow import IdBlock
from emodis.packets.model import Kind
from emodis.packets.quotes import Expectation
from tests.unit.packets.answers import (
    IDENTS,
    MADE,
    ROUTERS,
    UNREACHABLE,
    VERSIONS,
    changed,
    datagram,
    echo_reply,
    error,
    expectation,
    icmp_error,
    probe_packet,
    segment,
    with_ident,
    with_options,
)

Pair = tuple[socket.socket, socket.socket]
# The filters do not look at ids.
IDS = IdBlock(1, 1)
OTHER = {4: "203.0.113.10", 6: "2001:db8::10"}
NAT = {4: "192.0.2.1", 6: "fd00:99::1"}


@pytest.fixture
def pair() -> Iterator[Pair]:
    sender, receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with sender, receiver:
        receiver.setblocking(False)
        yield sender, receiver


def expected(kind: Kind, version: int, **more: Any) -> Expectation:
    return expectation(kind, version, IDS, **more)


def passes(pair: Pair, packet: bytes) -> bool:
    sender, receiver = pair
    shown = packet[40:] if packet[0] >> 4 == 6 else packet
    sender.send(shown)
    try:
        return receiver.recv(4096) == shown
    except BlockingIOError:
        return False


def test_nothing_lets_nothing_pass(pair: Pair) -> None:
    bpf.attach(pair[1], bpf.NOTHING)
    assert not passes(pair, icmp_error(probe_packet(Kind.UDP, 1)))


@pytest.mark.parametrize(("kind", "version"), MADE)
def test_errors_that_quote_any_flow_of_the_run_pass_whole(
    pair: Pair, kind: Kind, version: int
) -> None:
    bpf.attach(pair[1], bpf.icmp_answers(expected(kind, version)))
    packet = probe_packet(kind, 1, version=version)
    assert passes(pair, error(version, packet))
    assert passes(pair, error(version, packet, kind=UNREACHABLE[version], code=3))
    assert passes(pair, error(version, packet[: 28 if version == 4 else 48]))
    if version == 4:
        assert passes(pair, error(version, with_options(packet)))
    else:
        assert passes(pair, error(version, packet, kind=2))
    for ident, inside in (
        (IDENTS[kind][0], True),
        (IDENTS[kind][-1], True),
        (IDENTS[kind][0] - 1, False),
        (IDENTS[kind][-1] + 1, False),
    ):
        assert passes(pair, error(version, with_ident(kind, packet, ident))) is inside


@pytest.mark.parametrize(("kind", "version"), MADE)
def test_what_a_nat_made_of_ours_passes(pair: Pair, kind: Kind, version: int) -> None:
    bpf.attach(pair[1], bpf.icmp_answers(expected(kind, version)))
    packet = with_ident(kind, probe_packet(kind, 1, version=version), 9)
    assert not passes(pair, error(version, packet))
    assert passes(pair, error(version, changed(packet, src=NAT[version])))


@pytest.mark.parametrize("version", VERSIONS)
def test_echo_replies_pass_in_an_echo_run_only(pair: Pair, version: int) -> None:
    bpf.attach(pair[1], bpf.icmp_answers(expected(Kind.ICMP_ECHO, version)))
    assert passes(pair, echo_reply(1, version=version))
    other = IDENTS[Kind.ICMP_ECHO][-1] + 1
    assert not passes(pair, echo_reply(1, version=version, ident=other))
    # The source of an IPv6 packet is not there to be looked at.
    assert passes(pair, echo_reply(1, version=version, source=ROUTERS[version])) is (version == 6)
    for kind in (Kind.UDP, Kind.TCP_SYN):
        bpf.attach(pair[1], bpf.icmp_answers(expected(kind, version)))
        assert not passes(pair, echo_reply(1, version=version))


@pytest.mark.parametrize(("kind", "version"), MADE)
def test_what_is_not_ours_does_not_wake_us(pair: Pair, kind: Kind, version: int) -> None:
    bpf.attach(pair[1], bpf.icmp_answers(expected(kind, version)))
    packet = probe_packet(kind, 1, version=version)
    assert not passes(pair, packet)
    for other in Kind:
        if other is not kind:
            assert not passes(pair, error(version, probe_packet(other, 1, version=version)))
    assert not passes(pair, error(version, changed(packet, dst=OTHER[version])))
    assert not passes(pair, error(version, packet[:20]))
    if version == 4:
        assert not passes(pair, icmp_error(packet, kind=5))
        assert not passes(pair, icmp_error(changed(with_options(packet), dst="203.0.113.10")))
    assert not passes(pair, b"\x45")


@pytest.mark.parametrize("kind", [Kind.UDP, Kind.TCP_SYN])
def test_errors_about_another_port_do_not_wake_us(pair: Pair, kind: Kind) -> None:
    bpf.attach(pair[1], bpf.icmp_answers(expected(kind, 4, port=443)))
    assert not passes(pair, icmp_error(probe_packet(kind, 1)))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("kind", "make"),
    [
        (Kind.UDP, lambda **more: datagram(**more)),
        (Kind.TCP_SYN, lambda **more: segment(1, **more)),
    ],
)
def test_the_probed_port_is_heard_and_no_other(
    pair: Pair, kind: Kind, make: Any, version: int
) -> None:
    bpf.attach(pair[1], bpf.own_words(expected(kind, version)))
    assert passes(pair, make(version=version))
    assert passes(pair, make(version=version, dport=IDENTS[kind][-1]))
    assert not passes(pair, make(version=version, dport=IDENTS[kind][-1] + 1))
    assert not passes(pair, make(version=version, sport=80))
    assert not passes(pair, probe_packet(kind, 1, version=version))
    if version == 4:
        assert not passes(pair, make(version=version, source=ROUTERS[4]))
