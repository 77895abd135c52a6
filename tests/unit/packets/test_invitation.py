"""Probes that ask a destination to answer, over both transports, and what it says."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6

from emodis.packets.datagrams import Wording, payloads
from emodis.packets.families import IPV4, IPV6
from emodis.packets.flow import IdBlock
from emodis.packets.invitation import answer, read_answer
from emodis.packets.model import Kind, Probe, ReplyKind
from emodis.packets.replies import Answer, parse
from emodis.packets.templates import build
from tests.unit.packets.answers import ENDS, SIZES, VERSIONS, expectation, flow

TAG = b"sesame42"
IDS = IdBlock(0xFFFD, 4)
PROBES = [Probe(ttl=ttl, size_bytes=0, muted=ttl == 255) for ttl in (7, 255, 255, 7)]
AT_NS = 1_700_000_000_000_000_123


def sized(version: int) -> list[Probe]:
    return [
        Probe(ttl=p.ttl, size_bytes=500 if p.muted else SIZES[version], muted=p.muted)
        for p in PROBES
    ]


def raw(version: int) -> list[bytes]:
    data = bytes(build(flow(Kind.UDP, version, tag=TAG), sized(version), IDS))
    found = []
    for probe in sized(version):
        found.append(data[: probe.size_bytes])
        data = data[probe.size_bytes :]
    return found


def udp_payloads(version: int, *, unprivileged: bool) -> list[bytes]:
    if unprivileged:
        wording = Wording(kind=Kind.UDP, token=1, tag=TAG)
        data, sizes = payloads(wording, {4: IPV4, 6: IPV6}[version], sized(version), IDS)
        starts = [sum(sizes[:n]) for n in range(4)]
        return [bytes(data[at : at + size]) for at, size in zip(starts, sizes, strict=True)]
    header = {4: 20, 6: 40}[version] + 8
    return [packet[header:] for packet in raw(version)]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("unprivileged", [False, True])
def test_only_measurement_packets_ask_and_each_is_named(version: int, unprivileged: bool) -> None:
    sent = udp_payloads(version, unprivileged=unprivileged)
    words = [answer(payload, TAG, AT_NS, by_kernel=True) for payload in sent]
    assert [word is not None for word in words] == [True, False, False, True]
    arrived = [read_answer(word, TAG) for word in words if word is not None]
    assert [(a.probe_id, a.at_ns) for a in arrived if a] == [(0xFFFD, AT_NS), (2, AT_NS)]
    # Never longer than what it answers.
    assert all(len(w) < len(p) for w, p in zip(words, sent, strict=True) if w is not None)


@pytest.mark.parametrize("version", VERSIONS)
def test_all_checksums_are_right_the_loads_too(version: int) -> None:
    for packet in raw(version):
        dissected = (IP if version == 4 else IPv6)(packet)
        written = dissected[UDP].chksum
        del dissected[UDP].chksum
        again = type(dissected)(bytes(dissected))
        assert again[UDP].chksum % 0xFFFF == written % 0xFFFF


def said(version: int, words: bytes, *, tag: bytes = TAG) -> Answer | None:
    """What the raw transport makes of a datagram from the probed port."""
    expected = expectation(Kind.UDP, version, IDS, tag=tag)
    source, target = ENDS[version]
    layers = (
        IP(src=str(target), dst=str(source))
        if version == 4
        else IPv6(src=str(target), dst=str(source))
    )
    return parse(bytes(layers / UDP(sport=expected.port, dport=expected.ident) / words), expected)


@pytest.mark.parametrize("version", VERSIONS)
def test_an_answer_names_its_probe_and_when_it_arrived(version: int) -> None:
    probe = udp_payloads(version, unprivileged=False)[3]
    words = answer(probe, TAG, AT_NS, by_kernel=True)
    assert words is not None
    found = said(version, words)
    assert found is not None
    assert (found.kind, found.probe_id, found.far_ns) == (ReplyKind.DATAGRAM, 2, AT_NS)


def test_a_process_that_may_have_slept_has_no_say_in_when_it_arrived() -> None:
    words = answer(udp_payloads(4, unprivileged=False)[0], TAG, AT_NS, by_kernel=False)
    assert words is not None
    found = said(4, words)
    assert found is not None
    assert found.far_ns is None


@pytest.mark.parametrize(
    "words",
    [
        b"",
        b"hello",
        TAG,
        struct.pack("!8sHQ?", b"somebody", 2, AT_NS, True),
        struct.pack("!8sHQ?", TAG, 77, AT_NS, True),
        struct.pack("!8sHQ?", TAG, 2, 1 << 63, True),
        struct.pack("!8sHQ?", TAG, 2, AT_NS, True) + b"!",
    ],
)
def test_what_does_not_know_the_tag_or_the_probe_is_no_answer(words: bytes) -> None:
    assert said(4, words) is None


@given(st.binary(max_size=64))
def test_strangers_get_no_answer(payload: bytes) -> None:
    assert answer(payload, TAG, AT_NS, by_kernel=True) is None
    assert read_answer(payload, TAG) is None
