"""Answers made by scapy are read back; forged, damaged and hostile ones never count or raise."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, UDP
from scapy.packet import Raw

from emodis.packets.flow import IdBlock
from emodis.packets.model import Kind, ReplyKind
from emodis.packets.replies import Answer, Expectation, parse
from tests.unit.packets.answers import (
    HERE,
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

IDS = IdBlock(1000, 50)
OURS = {kind: Expectation(kind=kind, target=THERE, idents=IDENTS[kind], ids=IDS) for kind in KINDS}


@given(st.sampled_from(KINDS), st.integers(1000, 1049), st.integers(1, 255), st.integers(28, 60))
def test_time_exceeded_names_the_probe_and_the_router(
    kind: Kind, probe_id: int, ttl: int, quoted: int
) -> None:
    packet = icmp_error(probe_packet(kind, probe_id, ttl=ttl)[:quoted])
    assert parse(packet, OURS[kind]) == Answer(
        probe_id, ReplyKind.TIME_EXCEEDED, IPv4Address(ROUTER), 11, 0, 61, ttl, len(packet), False
    )


@pytest.mark.parametrize("code", [0, 1, 3, 9, 13])
def test_unreachable_keeps_its_code(code: int) -> None:
    answer = parse(icmp_error(probe_packet(Kind.UDP, 1001), kind=3, code=code), OURS[Kind.UDP])
    assert answer is not None
    assert (answer.kind, answer.icmp_type, answer.icmp_code) == (ReplyKind.UNREACHABLE, 3, code)


def test_an_echo_reply_names_the_probe() -> None:
    packet = echo_reply(1007)
    assert parse(packet, OURS[Kind.ICMP_ECHO]) == Answer(
        1007, ReplyKind.ECHO_REPLY, THERE, 0, 0, 58, None, len(packet), False
    )


@pytest.mark.parametrize("kind", KINDS)
def test_ip_options_in_the_quote_and_in_the_answer_are_skipped(kind: Kind) -> None:
    quoted = with_options(probe_packet(kind, 1003))
    assert parse(icmp_error(quoted), OURS[kind])
    assert parse(with_options(icmp_error(probe_packet(kind, 1003))), OURS[kind]) is None  # cut
    options = IP(src=ROUTER, dst=str(HERE), options=[b"\x01\x01\x01\x01"])
    packet = bytes(options / ICMP(type=11) / Raw(probe_packet(kind, 1003)))
    assert parse(packet, OURS[kind])


def test_a_quote_with_another_source_address_is_ours_all_the_same() -> None:
    """A NAT between us and the router may leave its own address there."""
    quoted = changed(probe_packet(Kind.UDP, 1003), src="192.0.2.1")
    assert parse(icmp_error(quoted), OURS[Kind.UDP])


class TestCarriers:
    """The id stands in two places; one of them may have been rewritten on the way."""

    def test_a_rewritten_ip_id_leaves_the_checksum(self) -> None:
        answer = parse(icmp_error(changed(probe_packet(Kind.UDP, 1003), id=7)), OURS[Kind.UDP])
        assert answer is not None
        assert (answer.probe_id, answer.altered) == (1003, True)

    def test_a_rewritten_checksum_leaves_the_ip_id(self) -> None:
        quoted = bytearray(probe_packet(Kind.UDP, 1003))
        quoted[26:28] = b"\x00\x07"
        answer = parse(icmp_error(bytes(quoted)), OURS[Kind.UDP])
        assert answer is not None
        assert (answer.probe_id, answer.altered) == (1003, True)

    def test_two_of_ours_that_differ_say_nothing(self) -> None:
        quoted = changed(probe_packet(Kind.UDP, 1003), id=1004)
        assert parse(icmp_error(quoted), OURS[Kind.UDP]) is None

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("probe_id", [999, 1050, 7])
    def test_ids_we_never_sent_are_not_ours(self, kind: Kind, probe_id: int) -> None:
        assert parse(icmp_error(probe_packet(kind, probe_id)), OURS[kind]) is None


def forged() -> dict[str, tuple[Kind, bytes]]:
    """Packets somebody who does not see ours might send, and damaged ones."""
    udp, echo = probe_packet(Kind.UDP, 1003), probe_packet(Kind.ICMP_ECHO, 1003)
    packets = {
        "another destination": (Kind.UDP, icmp_error(changed(udp, dst="203.0.113.10"))),
        "wrong source port": (Kind.UDP, icmp_error(udp[:20] + b"\x9b\x00" + udp[22:])),
        "wrong destination port": (Kind.UDP, icmp_error(udp[:22] + b"\x00\x35" + udp[24:])),
        "another protocol": (Kind.UDP, icmp_error(changed(udp, proto=6))),
        "the other kind": (Kind.UDP, icmp_error(echo)),
        "the other kind again": (Kind.ICMP_ECHO, icmp_error(udp)),
        "wrong ICMP id": (Kind.ICMP_ECHO, icmp_error(echo[:24] + b"\x00\x01" + echo[26:])),
        "quoted echo reply": (Kind.ICMP_ECHO, icmp_error(echo[:20] + b"\x00" + echo[21:])),
        "quoted IPv6": (Kind.UDP, icmp_error(b"\x65" + udp[1:])),
        "quoted header of 16 bytes": (Kind.UDP, icmp_error(b"\x44" + udp[1:])),
        "quoted header past the end": (Kind.UDP, icmp_error(b"\x4f" + udp[1:40])),
        "later fragment": (Kind.UDP, icmp_error(changed(udp, frag=3, flags=0))),
        "quote cut to 27 bytes": (Kind.UDP, icmp_error(udp[:27])),
        "no quote": (Kind.UDP, icmp_error(b"")),
        "redirect": (Kind.UDP, icmp_error(udp, kind=5)),
        "echo reply from elsewhere": (Kind.ICMP_ECHO, echo_reply(1003, source=ROUTER)),
        "echo reply to another id": (Kind.ICMP_ECHO, echo_reply(1003, ident=9)),
        "echo reply to no probe": (Kind.ICMP_ECHO, echo_reply(999)),
        "echo reply in a UDP run": (Kind.UDP, echo_reply(1003)),
        "our own echo request": (Kind.ICMP_ECHO, echo),
        "bad checksum": (Kind.UDP, icmp_error(udp)[:-1] + b"\xff"),
        "truncated": (Kind.UDP, icmp_error(udp)[:-8]),
        "not ICMP": (Kind.UDP, bytes(IP(src=ROUTER, dst=str(HERE)) / UDP() / Raw(udp))),
        "empty": (Kind.UDP, b""),
    }
    header = bytearray(icmp_error(udp))
    header[0] = 0x4F
    packets["answer's header past the end"] = (Kind.UDP, bytes(header[:60]))
    header[0] = 0x42
    packets["answer's header of 8 bytes"] = (Kind.UDP, bytes(header))
    header[0:4] = b"\x45\x00\x00\x00"
    packets["answer of length 0"] = (Kind.UDP, bytes(header))
    return packets


FORGED = forged()


@pytest.mark.parametrize("name", FORGED)
def test_what_is_not_an_answer_to_us_is_no_answer(name: str) -> None:
    kind, packet = FORGED[name]
    assert parse(packet, OURS[kind]) is None


@given(st.sampled_from(KINDS), st.binary(max_size=120))
def test_hostile_bytes_never_raise(kind: Kind, data: bytes) -> None:
    parse(data, OURS[kind])


@given(
    st.sampled_from(KINDS),
    st.integers(0, 99),
    st.lists(st.tuples(st.integers(0, 87), st.integers(0, 255)), max_size=4),
)
def test_no_mutation_of_a_real_answer_raises(
    kind: Kind, cut: int, changes: list[tuple[int, int]]
) -> None:
    packet = bytearray(icmp_error(probe_packet(kind, 1003)))
    for at, value in changes:
        packet[at] = value
    parse(bytes(packet[:cut]), OURS[kind])
    answer = parse(bytes(packet), OURS[kind])
    assert answer is None or answer.probe_id in IDS
