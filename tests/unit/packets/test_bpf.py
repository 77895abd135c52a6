"""The kernel itself runs the filters here: any socket takes one, also a local datagram pair."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from emodis.packets import bpf
from emodis.packets.model import Kind
from tests.unit.packets.answers import (
    IDENTS,
    KINDS,
    ROUTER,
    THERE,
    changed,
    echo_reply,
    icmp_error,
    probe_packet,
    with_options,
)

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    sender, receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with sender, receiver:
        receiver.setblocking(False)
        yield sender, receiver


def passes(pair: Pair, packet: bytes) -> bool:
    sender, receiver = pair
    sender.send(packet)
    try:
        return receiver.recv(4096) == packet
    except BlockingIOError:
        return False


def test_nothing_lets_nothing_pass(pair: Pair) -> None:
    bpf.attach(pair[1], bpf.NOTHING)
    assert not passes(pair, icmp_error(probe_packet(Kind.UDP, 1)))


@pytest.mark.parametrize("kind", KINDS)
def test_answers_to_every_flow_of_the_run_pass_whole(pair: Pair, kind: Kind) -> None:
    bpf.attach(pair[1], bpf.answers(kind, THERE, IDENTS[kind]))
    packet = probe_packet(kind, 1)
    assert passes(pair, icmp_error(packet))
    assert passes(pair, icmp_error(packet, kind=3, code=3))
    assert passes(pair, icmp_error(packet[:28]))
    assert passes(pair, icmp_error(with_options(packet)))
    at = 20 if kind is Kind.UDP else 24
    for ident, inside in (
        (IDENTS[kind][0], True),
        (IDENTS[kind][-1], True),
        (IDENTS[kind][0] - 1, False),
        (IDENTS[kind][-1] + 1, False),
    ):
        other = packet[:at] + ident.to_bytes(2, "big") + packet[at + 2 :]
        assert passes(pair, icmp_error(other)) is inside


def test_echo_replies_pass_in_an_echo_run_only(pair: Pair) -> None:
    bpf.attach(pair[1], bpf.answers(Kind.ICMP_ECHO, THERE, IDENTS[Kind.ICMP_ECHO]))
    assert passes(pair, echo_reply(1))
    assert not passes(pair, echo_reply(1, ident=IDENTS[Kind.ICMP_ECHO][-1] + 1))
    assert not passes(pair, echo_reply(1, source=ROUTER))
    bpf.attach(pair[1], bpf.answers(Kind.UDP, THERE, IDENTS[Kind.ICMP_ECHO]))
    assert not passes(pair, echo_reply(1))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_ours_does_not_wake_us(pair: Pair, kind: Kind) -> None:
    bpf.attach(pair[1], bpf.answers(kind, THERE, IDENTS[kind]))
    packet = probe_packet(kind, 1)
    other = probe_packet(Kind.ICMP_ECHO if kind is Kind.UDP else Kind.UDP, 1)
    assert not passes(pair, packet)
    assert not passes(pair, icmp_error(packet, kind=5))
    assert not passes(pair, icmp_error(other))
    assert not passes(pair, icmp_error(changed(packet, dst="203.0.113.10")))
    assert not passes(pair, icmp_error(changed(with_options(packet), dst="203.0.113.10")))
    assert not passes(pair, icmp_error(packet[:20]))
    assert not passes(pair, b"\x45")
