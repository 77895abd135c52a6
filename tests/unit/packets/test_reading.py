"""What arrives on the sockets of an unprivileged run, and which probe it answers."""

from __future__ import annotations

from ipaddress import IPv4Address

import attrs
import pytest

from emodis.packets.datagrams import Wording, payloads
from emodis.packets.errqueue import QueuedError
from emodis.packets.families import IPV4
from emodis.packets.flow import IdBlock
from emodis.packets.flowsocket import Datagram, EchoReply
from emodis.packets.model import Address, Kind, Probe, ReplyKind, Train
from emodis.packets.reading import Reading, Sender

THERE = IPv4Address("198.51.100.9")
R1, R2, R3 = (IPv4Address(f"192.0.2.{n}") for n in (1, 2, 3))
TOKEN = 0xBEEF
# Two probes of an earlier train of the run come first.
RUN = IdBlock(500, 5)
IDS = IdBlock(502, 3)


@attrs.define
class Rig:
    """A train of three probes with TTL 1, 2, 3."""

    kind: Kind = Kind.UDP
    known: dict[Address, int] = attrs.field(factory=dict)
    reading: Reading = attrs.field(init=False)
    sent: list[bytes] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        probes = tuple(Probe(ttl=ttl, size_bytes=60) for ttl in (1, 2, 3))
        train = Train(kind=self.kind, probes=probes, wait_ns=1)
        sender = Sender(kind=self.kind, target=THERE, family=IPV4, token=TOKEN, ids=RUN)
        self.reading = Reading(train, IDS, sender, self.known)
        wording = Wording(kind=self.kind, token=TOKEN, check=7, ident=9)
        data, sizes = payloads(wording, IPV4, probes, IDS)
        self.sent = [bytes(data[n * sizes[0] : (n + 1) * sizes[0]]) for n in range(3)]


def expired(router: Address, quoted: bytes) -> QueuedError:
    return QueuedError(router, ReplyKind.TIME_EXCEEDED, 11, 0, 60, quoted, 77)


def unreachable(quoted: bytes) -> QueuedError:
    return QueuedError(THERE, ReplyKind.UNREACHABLE, 3, 3, 60, quoted, 78)


@pytest.mark.parametrize("kind", [Kind.UDP, Kind.ICMP_ECHO])
def test_a_quote_names_its_probe_and_the_router_is_remembered(kind: Kind) -> None:
    rig = Rig(kind)
    answer = rig.reading.read(expired(R2, rig.sent[1][:8]))
    assert answer is not None
    assert (answer.probe_id, answer.address, answer.kind) == (503, R2, ReplyKind.TIME_EXCEEDED)
    assert (answer.icmp_type, answer.ttl, answer.quoted_ttl) == (11, 60, None)
    # Both IP headers and ICMP's; UDP's, too, of which the kernel has taken only the payload.
    assert answer.size_bytes == (64 if kind is Kind.UDP else 56)
    assert rig.known == {R2: 2}


def test_an_echo_reply_counts_and_any_other_icmp_does_not() -> None:
    rig = Rig(Kind.ICMP_ECHO)
    reply = b"\0" + rig.sent[2][1:]
    answer = rig.reading.read(EchoReply(reply, 57, 5))
    assert answer is not None
    assert (answer.probe_id, answer.kind, answer.address) == (504, ReplyKind.ECHO_REPLY, THERE)
    assert answer.size_bytes == 60
    assert rig.reading.read(EchoReply(rig.sent[2], 57, 5)) is None
    assert rig.reading.read(EchoReply(b"\0\0", 57, 5)) is None


def test_what_others_have_sent_is_no_answer() -> None:
    rig = Rig()
    assert rig.reading.read(expired(R1, b"\0\0" + rig.sent[0][2:])) is None
    assert rig.reading.read(expired(R1, TOKEN.to_bytes(2, "big") + b"\xff\x00")) is None
    assert list(rig.reading.settle()) == []


def test_a_late_answer_to_the_train_before_is_passed_on_as_such() -> None:
    rig = Rig()
    answer = rig.reading.read(expired(R1, TOKEN.to_bytes(2, "big") + (500).to_bytes(2, "big")))
    assert answer is not None
    assert answer.probe_id == 500
    assert rig.known == {}


def test_a_known_router_that_quotes_nothing_has_answered_for_its_hop() -> None:
    rig = Rig(known={R2: 2})
    answer = rig.reading.read(expired(R2, b""))
    assert answer is not None
    assert answer.probe_id == 503


def test_an_unknown_one_is_placed_when_only_one_hop_is_silent() -> None:
    rig = Rig()
    assert rig.reading.read(expired(R2, b"")) is None
    rig.reading.read(expired(R1, rig.sent[0]))
    rig.reading.read(unreachable(rig.sent[2]))
    ((answer, received_ns),) = rig.reading.settle()
    assert (answer.probe_id, answer.address, received_ns) == (503, R2, 77)


def test_an_unknown_one_is_not_guessed_when_two_are() -> None:
    rig = Rig()
    rig.reading.read(expired(R2, b""))
    rig.reading.read(unreachable(rig.sent[2]))
    assert list(rig.reading.settle()) == []


def test_a_datagram_is_taken_for_the_earliest_open_probe_unless_it_says() -> None:
    rig = Rig()
    first = rig.reading.read(Datagram(b"hello", 61, 5))
    echoed = rig.reading.read(Datagram(rig.sent[2], 61, 6))
    then = rig.reading.read(Datagram(b"", 61, 7))
    assert [a.probe_id if a else None for a in (first, echoed, then)] == [502, 504, 503]
    assert rig.reading.read(Datagram(b"more", 61, 8)) is None


def test_a_second_answer_teaches_nothing() -> None:
    rig = Rig()
    assert rig.reading.read(expired(R1, rig.sent[0])) is not None
    for number in range(1000):
        forger = IPv4Address(0xC6120000 + number)
        again = rig.reading.read(expired(forger, rig.sent[0]))
        # It is passed on, to be counted as a duplicate.
        assert again is not None
        assert again.probe_id == 502
    assert rig.known == {R1: 1}
