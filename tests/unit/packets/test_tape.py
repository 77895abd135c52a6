"""A flight with a tape running along: the same flight, and every packet on the tape."""

from __future__ import annotations

from ipaddress import IPv4Address

from scapy.layers.inet import IP, UDP

from emodis.packets.flow import IdBlock
from emodis.packets.mmsg import SendBatch
from emodis.packets.model import Kind
from emodis.packets.tape import MOST_DATAGRAMS, Tape, Taped, as_sent
from emodis.packets.timestamps import Moment
from tests.unit.packets.answers import THERE, icmp_error, probe_packet
from tests.unit.packets.test_flight import FakeSockets

IDS = IdBlock(300, 50)


def probes(count: int) -> tuple[list[bytes], SendBatch]:
    packets = [probe_packet(Kind.UDP, IDS.at(index)) for index in range(count)]
    batch = SendBatch(bytearray(b"".join(packets)), [len(p) for p in packets], THERE)
    return packets, batch


def test_what_left_and_what_came_are_in_order_of_time() -> None:
    packets, batch = probes(3)
    answer = icmp_error(packets[1])
    tape = Tape()
    with FakeSockets(lambda index: answer if index == 1 else None) as sockets:
        taped = Taped(sockets, tape)
        assert taped.send(batch, 0, 3) == 3
        stamps = {s.key: s.at_ns for s in taped.stamps() if s.moment is Moment.LEFT}
        (arrival,) = list(taped.answers())
    assert arrival[0] == answer
    seen = tape.take()
    assert [packet for _, packet in seen] == [*map(as_sent, packets), answer]
    assert [at_ns for at_ns, _ in seen[:3]] == [stamps[17], stamps[18], stamps[19]]
    assert seen[3][0] == arrival[1]
    assert tape.take() == []


def test_one_without_a_stamp_stands_behind_the_one_before_it() -> None:
    packets, batch = probes(2)
    tape = Tape()
    with FakeSockets(lambda index: None, held=1) as sockets:
        taped = Taped(sockets, tape)
        taped.send(batch, 0, 2)
        list(taped.stamps())
    assert [packet for _, packet in tape.take()] == [*map(as_sent, packets)]


def test_only_what_the_socket_took_was_sent() -> None:
    packets, batch = probes(3)
    tape = Tape()
    with FakeSockets(lambda index: None, room=2) as sockets:
        taped = Taped(sockets, tape)
        assert taped.send(batch, 0, 3) == 2
        assert taped.send(batch, 2, 3) == 0
    assert len(tape.take()) == len(packets) - 1


def test_the_header_checksum_is_filled_in_as_the_kernel_does() -> None:
    whole = bytes(IP(src="10.0.0.1", dst="10.0.0.2", ttl=9) / b"payload")
    assert as_sent(whole[:10] + b"\0\0" + whole[12:]) == whole
    assert as_sent(b"no ip packet") == b"no ip packet"


def test_datagrams_of_ordinary_sockets_are_packets_among_the_others() -> None:
    here, there = (IPv4Address("10.0.0.1"), 40_000), (IPv4Address("10.0.0.2"), 50_000)
    tape = Tape()
    tape.train_left(here, there, [(10, b"one"), (30, b"two")], ttl=64)
    tape.datagram_came(20, there, here, b"three")
    seen = [(at_ns, IP(packet)) for at_ns, packet in tape.take()]
    assert [at_ns for at_ns, _ in seen] == [10, 20, 30]
    assert [bytes(packet[UDP].payload) for _, packet in seen] == [b"one", b"three", b"two"]
    # Nobody has told us how far that one came.
    assert [(packet.src, packet.ttl) for _, packet in seen] == [
        ("10.0.0.1", 64),
        ("10.0.0.2", 0),
        ("10.0.0.1", 64),
    ]
    assert tape.take() == []


def test_a_flood_of_datagrams_is_cut_off() -> None:
    here, there = (IPv4Address("10.0.0.1"), 40_000), (IPv4Address("10.0.0.2"), 50_000)
    tape = Tape()
    for at_ns in range(MOST_DATAGRAMS + 5):
        tape.datagram_came(at_ns, there, here, b"")
    assert [at_ns for at_ns, _ in tape.take()] == list(range(MOST_DATAGRAMS))
