"""Answers made by scapy are read back; forged, damaged and hostile ones never count or raise."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, UDP
from scapy.packet import Raw

from emodis.packets.flow import IdBlock
from emodis.packets.model import Kind, ReplyKind
from emodis.packets.replies import Answer, parse
from tests.unit.packets.answers import (
    ENDS,
    HEADER,
    HERE,
    MADE,
    ROUTER,
    ROUTERS,
    TIME_EXCEEDED,
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
    with_options,
)

IDS = IdBlock(1000, 50)
PAYLOADS = frozenset({0, 500})
OURS = {
    (kind, version): expectation(kind, version, IDS, payloads=PAYLOADS) for kind, version in MADE
}


@given(
    st.sampled_from(MADE),
    st.integers(1000, 1049),
    st.integers(1, 255),
    st.integers(0, 255),
    st.integers(8, 40),
)
def test_time_exceeded_names_the_probe_and_the_router(
    made: tuple[Kind, int], probe_id: int, ttl: int, tos: int, quoted: int
) -> None:
    kind, version = made
    probe = bytearray(probe_packet(kind, probe_id, version=version, ttl=ttl))
    # A router on the way has rewritten it.
    if version == 4:
        probe[1] = tos
    else:
        probe[0], probe[1] = probe[0] & 0xF0 | tos >> 4, (tos & 15) << 4 | probe[1] & 15
    packet = error(version, bytes(probe[: HEADER[version] + quoted]))
    assert parse(packet, OURS[made]) == Answer(
        probe_id=probe_id,
        kind=ReplyKind.TIME_EXCEEDED,
        address=ip_address(ROUTERS[version]),
        icmp_type=TIME_EXCEEDED[version],
        ttl=61,
        quoted_ttl=ttl,
        quoted_tos=tos,
        size_bytes=len(packet),
    )


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("code", [0, 1, 3, 4, 6, 9, 13])
def test_unreachable_keeps_its_code(code: int, version: int) -> None:
    probe = probe_packet(Kind.UDP, 1001, version=version)
    packet = error(version, probe, kind=UNREACHABLE[version], code=code)
    answer = parse(packet, OURS[Kind.UDP, version])
    assert answer is not None
    assert answer.kind is ReplyKind.UNREACHABLE
    assert (answer.icmp_type, answer.icmp_code) == (UNREACHABLE[version], code)


def test_a_packet_too_big_is_an_unreachable_of_its_own_type() -> None:
    packet = error(6, probe_packet(Kind.UDP, 1001, version=6), kind=2)
    answer = parse(packet, OURS[Kind.UDP, 6])
    assert answer is not None
    assert (answer.kind, answer.icmp_type, answer.mpls) == (ReplyKind.UNREACHABLE, 2, ())


@pytest.mark.parametrize("version", VERSIONS)
def test_an_echo_reply_names_the_probe(version: int) -> None:
    packet = echo_reply(1007, version=version)
    assert parse(packet, OURS[Kind.ICMP_ECHO, version]) == Answer(
        probe_id=1007,
        kind=ReplyKind.ECHO_REPLY,
        address=ENDS[version][1],
        icmp_type=0 if version == 4 else 129,
        ttl=58,
        size_bytes=len(packet),
    )


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("flags", "off", "kind"),
    [
        ("SA", 1, ReplyKind.SYN_ACK),
        ("RA", 1, ReplyKind.RESET),
        # Whoever refuses a SYN acknowledges what it carried, too.
        ("RA", 501, ReplyKind.RESET),
    ],
)
@pytest.mark.parametrize("probe_id", [1000, 1049])
def test_a_segment_names_the_probe_it_acknowledges(
    version: int, flags: str, off: int, kind: ReplyKind, probe_id: int
) -> None:
    packet = segment(probe_id, version=version, flags=flags, off=off)
    assert parse(packet, OURS[Kind.TCP_SYN, version]) == Answer(
        probe_id=probe_id,
        kind=kind,
        address=ENDS[version][1],
        ttl=58,
        size_bytes=len(packet),
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_a_datagram_is_an_answer_to_some_probe(version: int) -> None:
    packet = datagram(version=version)
    answer = parse(packet, OURS[Kind.UDP, version])
    assert answer is not None
    assert (answer.probe_id, answer.kind) == (None, ReplyKind.DATAGRAM)
    assert (answer.address, answer.size_bytes) == (ENDS[version][1], len(packet))


@pytest.mark.parametrize("kind", Kind)
def test_ip_options_in_the_quote_and_in_the_answer_are_skipped(kind: Kind) -> None:
    ours = OURS[kind, 4]
    quoted = with_options(probe_packet(kind, 1003))
    assert parse(icmp_error(quoted), ours)
    assert parse(with_options(icmp_error(probe_packet(kind, 1003))), ours) is None  # cut
    options = IP(src=ROUTER, dst=str(HERE), options=[b"\x01\x01\x01\x01"])
    packet = bytes(options / ICMP(type=11) / Raw(probe_packet(kind, 1003)))
    assert parse(packet, ours)


def foreign(version: int) -> dict[str, tuple[Kind, bytes]]:
    """Of either version: answers to others, in other words, from elsewhere."""
    udp = probe_packet(Kind.UDP, 1003, version=version)
    echo = probe_packet(Kind.ICMP_ECHO, 1003, version=version)
    syn = probe_packet(Kind.TCP_SYN, 1003, version=version)
    router = ROUTERS[version]
    other = {4: "203.0.113.10", 6: "2001:db8::10"}[version]

    def tcp(**fields: object) -> tuple[Kind, bytes]:
        return Kind.TCP_SYN, segment(1003, version=version, **fields)  # type: ignore[arg-type]

    def spoken(**fields: object) -> tuple[Kind, bytes]:
        return Kind.UDP, datagram(version=version, **fields)  # type: ignore[arg-type]

    head = HEADER[version]
    return {
        "another destination": (Kind.UDP, error(version, changed(udp, dst=other))),
        "the other kind": (Kind.UDP, error(version, echo)),
        "the other kind again": (Kind.ICMP_ECHO, error(version, udp)),
        "a segment quoted in a UDP run": (Kind.UDP, error(version, syn)),
        "quote cut to the IP header": (Kind.UDP, error(version, udp[:head])),
        "quote cut in the eight bytes": (Kind.UDP, error(version, udp[: head + 7])),
        "no quote": (Kind.UDP, error(version, b"")),
        "echo reply from elsewhere": (
            Kind.ICMP_ECHO,
            echo_reply(1003, version=version, source=router),
        ),
        "echo reply to another id": (Kind.ICMP_ECHO, echo_reply(1003, version=version, ident=9)),
        "echo reply to no probe": (Kind.ICMP_ECHO, echo_reply(999, version=version)),
        "echo reply in a UDP run": (Kind.UDP, echo_reply(1003, version=version)),
        "our own echo request": (Kind.ICMP_ECHO, echo),
        "our own datagram": (Kind.UDP, udp),
        "our own SYN": (Kind.TCP_SYN, syn),
        "truncated": (Kind.UDP, error(version, udp)[:-8]),
        "empty": (Kind.UDP, b""),
        "the other version": (Kind.UDP, error(10 - version, udp)),
        "segment that acknowledges too much": tcp(off=2),
        "segment that acknowledges nothing": tcp(off=0),
        "segment that acknowledges a payload nobody sent": tcp(off=502),
        "segment without an acknowledgement": tcp(flags="R"),
        "segment of an open connection": tcp(flags="A"),
        "segment of another port": tcp(sport=80),
        "segment to another port": tcp(dport=39_999),
        "segment from elsewhere": tcp(source=router),
        "segment for a probe never sent": (Kind.TCP_SYN, segment(999, version=version)),
        "segment in a UDP run": (Kind.UDP, segment(1003, version=version)),
        "segment cut in its header": (Kind.TCP_SYN, cut(segment(1003, version=version), 1)),
        "datagram of another port": spoken(sport=53),
        "datagram to another flow's port": spoken(dport=40_002),
        "datagram from elsewhere": spoken(source=router),
        "datagram in a TCP run": (Kind.TCP_SYN, datagram(version=version)),
    }


def cut(packet: bytes, by: int) -> bytes:
    """The packet without its end, and with a length that says so."""
    shorter = bytearray(packet[:-by])
    at = 2 if packet[0] >> 4 == 4 else 4
    length = int.from_bytes(shorter[at : at + 2], "big") - by
    shorter[at : at + 2] = length.to_bytes(2, "big")
    return bytes(shorter)


def forged() -> dict[str, tuple[Kind, bytes]]:
    """Packets somebody who does not see ours might send, and damaged ones, of IPv4."""
    udp, echo = probe_packet(Kind.UDP, 1003), probe_packet(Kind.ICMP_ECHO, 1003)
    packets = {
        "wrong source port": (Kind.UDP, icmp_error(udp[:20] + b"\x9b\x00" + udp[22:])),
        "wrong destination port": (Kind.UDP, icmp_error(udp[:22] + b"\x00\x35" + udp[24:])),
        "another protocol": (Kind.UDP, icmp_error(changed(udp, proto=6))),
        "wrong ICMP id": (Kind.ICMP_ECHO, icmp_error(echo[:24] + b"\x00\x01" + echo[26:])),
        "quoted echo reply": (Kind.ICMP_ECHO, icmp_error(echo[:20] + b"\x00" + echo[21:])),
        "quoted IPv6": (Kind.UDP, icmp_error(b"\x65" + udp[1:])),
        "quoted header of 16 bytes": (Kind.UDP, icmp_error(b"\x44" + udp[1:])),
        "quoted header past the end": (Kind.UDP, icmp_error(b"\x4f" + udp[1:40])),
        "later fragment": (Kind.UDP, icmp_error(changed(udp, frag=3, flags=0))),
        "redirect": (Kind.UDP, icmp_error(udp, kind=5)),
        "bad checksum": (Kind.UDP, icmp_error(udp)[:-1] + b"\xff"),
        "fragment of an answer": (Kind.UDP, changed(icmp_error(udp), flags=1)),
        "not ICMP": (Kind.UDP, bytes(IP(src=ROUTER, dst=str(HERE)) / UDP() / Raw(udp))),
    }
    header = bytearray(icmp_error(udp))
    header[0] = 0x4F
    packets["answer's header past the end"] = (Kind.UDP, bytes(header[:60]))
    header[0] = 0x42
    packets["answer's header of 8 bytes"] = (Kind.UDP, bytes(header))
    header[0:4] = b"\x45\x00\x00\x00"
    packets["answer of length 0"] = (Kind.UDP, bytes(header))
    return packets


FORGED = {
    **{(name, 4): case for name, case in forged().items()},
    **{(name, version): case for version in VERSIONS for name, case in foreign(version).items()},
}


@pytest.mark.parametrize(("name", "version"), FORGED)
def test_what_is_not_an_answer_to_us_is_no_answer(name: str, version: int) -> None:
    kind, packet = FORGED[name, version]
    assert parse(packet, OURS[kind, version]) is None


@given(st.sampled_from(MADE), st.binary(max_size=160))
def test_hostile_bytes_never_raise(made: tuple[Kind, int], data: bytes) -> None:
    parse(data, OURS[made])


@given(
    st.sampled_from(MADE),
    st.integers(0, 130),
    st.lists(st.tuples(st.integers(0, 87), st.integers(0, 255)), max_size=4),
)
def test_no_mutation_of_a_real_answer_raises(
    made: tuple[Kind, int], cut_at: int, changes: list[tuple[int, int]]
) -> None:
    kind, version = made
    packet = bytearray(error(version, probe_packet(kind, 1003, version=version)))
    for at, value in changes:
        packet[at] = value
    parse(bytes(packet[:cut_at]), OURS[made])
    answer = parse(bytes(packet), OURS[made])
    assert answer is None or answer.probe_id in IDS


@given(
    st.sampled_from(VERSIONS),
    st.lists(st.tuples(st.integers(0, 59), st.integers(0, 255)), max_size=4),
)
def test_no_mutation_of_a_real_segment_raises(version: int, changes: list[tuple[int, int]]) -> None:
    packet = bytearray(segment(1003, version=version))
    for at, value in changes:
        packet[at % len(packet)] = value
    answer = parse(bytes(packet), OURS[Kind.TCP_SYN, version])
    assert answer is None or answer.probe_id in IDS
