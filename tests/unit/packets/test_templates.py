"""scapy takes every kind of packet apart and computes its checksums anew."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6

from emodis.packets.flow import UDP_PORT, IdBlock
from emodis.packets.model import Kind, Probe
from emodis.packets.templates import LARGEST_BYTES, build, smallest_bytes, syn_payload_bytes
from tests.unit.packets.answers import ENDS, HEADER, IDENTS, MADE, SECRET, VERSIONS, flow

LAYERS: dict[tuple[Kind, int], Any] = {
    (Kind.UDP, 4): UDP,
    (Kind.UDP, 6): UDP,
    (Kind.TCP_SYN, 4): TCP,
    (Kind.TCP_SYN, 6): TCP,
    (Kind.ICMP_ECHO, 4): ICMP,
    (Kind.ICMP_ECHO, 6): ICMPv6EchoRequest,
}


def probes_of(kind: Kind, version: int) -> st.SearchStrategy[list[Probe]]:
    smallest = smallest_bytes(kind, version)
    sizes = [smallest, smallest + 1, smallest + 4, smallest + 20, 84, 500, LARGEST_BYTES]
    probe = st.builds(
        Probe,
        ttl=st.integers(1, 255),
        size_bytes=st.sampled_from(sizes),
        muted=st.booleans(),
    )
    return st.lists(probe, min_size=1, max_size=8)


@st.composite
def trains(draw: st.DrawFn) -> tuple[Kind, int, list[Probe]]:
    kind, version = draw(st.sampled_from(MADE))
    return kind, version, draw(probes_of(kind, version))


Made = tuple[Kind, int, list[Probe]]


def packets(made: Made, first_id: int = 1, **more: Any) -> list[bytes]:
    kind, version, probes = made
    data = bytes(build(flow(kind, version, **more), probes, IdBlock(first_id, len(probes))))
    cut = []
    for probe in probes:
        cut.append(data[: probe.size_bytes])
        data = data[probe.size_bytes :]
    assert data == b""
    return cut


def dissected(version: int, packet: bytes) -> Any:
    return IP(packet) if version == 4 else IPv6(packet)


def checksums(made: Made, packet: bytes) -> tuple[int, int]:
    """What is written, and what scapy would have written."""
    kind, version, _ = made
    name = "cksum" if (kind, version) == (Kind.ICMP_ECHO, 6) else "chksum"
    whole = dissected(version, packet)
    layer = whole[LAYERS[kind, version]]
    written = getattr(layer, name)
    delattr(layer, name)
    again = dissected(version, bytes(whole))
    return written, getattr(again[LAYERS[kind, version]], name)


@given(trains(), st.integers(1, 0xFFFE), st.integers(0, 63), st.integers(1, 65535), st.booleans())
def test_every_packet_says_what_its_probe_asks_for(
    made: Made, first_id: int, dscp: int, port: int, df: bool
) -> None:
    kind, version, probes = made
    ids = IdBlock(first_id, len(probes))
    source, target = ENDS[version]
    built = packets(made, first_id, dscp=dscp, port=port, df=df)
    for index, (probe, packet) in enumerate(zip(probes, built, strict=True)):
        ip = dissected(version, packet)
        assert (ip.src, ip.dst) == (str(source), str(target))
        if version == 4:
            assert (ip.ttl, ip.len, ip.tos) == (probe.ttl, probe.size_bytes, dscp << 2)
            assert (ip.id, str(ip.flags)) == (ids.at(index), "DF" if df else "")
        else:
            assert (ip.hlim, ip.plen, ip.tc) == (probe.ttl, probe.size_bytes - 40, dscp << 2)
            assert ip.fl == 0x12345
        inner = ip[LAYERS[kind, version]]
        if kind is Kind.UDP:
            assert (inner.sport, inner.dport) == (IDENTS[kind][1], port)
            assert (inner.len, inner.chksum) == (probe.size_bytes - HEADER[version], ids.at(index))
        elif kind is Kind.ICMP_ECHO:
            assert (inner.type, inner.code) == (8 if version == 4 else 128, 0)
            assert (inner.id, inner.seq) == (IDENTS[kind][1], ids.at(index))
        else:
            assert (inner.sport, inner.dport) == (IDENTS[kind][1], port)
            assert (inner.seq, inner.ack, str(inner.flags)) == (
                ids.at(index) << 16 | SECRET,
                0,
                "S",
            )


@given(trains(), st.integers(1, 0xFFFE))
def test_the_checksum_is_right_unless_the_probe_is_muted(made: Made, first_id: int) -> None:
    for probe, packet in zip(made[2], packets(made, first_id), strict=True):
        written, right = checksums(made, packet)
        # 0xFFFF and 0 are one number to a checksum.
        assert (written % 0xFFFF == right % 0xFFFF) is not probe.muted


@given(trains())
def test_what_a_load_balancer_hashes_is_the_same_in_the_whole_train(made: Made) -> None:
    """Protocol, addresses, traffic class, label and the first four bytes behind the header."""
    _, version, _ = made
    seen = {
        (packet[1], packet[9], packet[12:20], packet[20:24])
        if version == 4
        else (packet[:4], packet[6], packet[8:40], packet[40:44])
        for packet in packets(made)
    }
    assert len(seen) == 1


@pytest.mark.parametrize(("kind", "version"), MADE)
def test_two_ids_never_look_the_same_to_a_router_that_quotes_eight_bytes(
    kind: Kind, version: int
) -> None:
    train = [Probe(ttl=1, size_bytes=80)] * 100
    quoted = {packet[: HEADER[version] + 8] for packet in packets((kind, version, train))}
    assert len(quoted) == 100


@pytest.mark.parametrize(
    ("version", "size_bytes", "options"),
    [(4, 60, 5), (6, 80, 5), (4, 40, 0), (6, 60, 0), (4, 44, 1), (4, 59, 1), (4, 1400, 5)],
)
def test_a_syn_of_the_usual_size_has_the_usual_options(
    version: int, size_bytes: int, options: int
) -> None:
    (packet,) = packets((Kind.TCP_SYN, version, [Probe(ttl=1, size_bytes=size_bytes)]))
    tcp = dissected(version, packet)[TCP]
    assert len([name for name, _ in tcp.options if name != "EOL"]) == options
    assert len(bytes(tcp.payload)) == syn_payload_bytes(version, size_bytes)
    if options == 5:
        names = [name for name, _ in tcp.options]
        assert names == ["MSS", "SAckOK", "Timestamp", "NOP", "WScale"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("ttl", "complaint"), [(0, "TTL of 0"), (256, "TTL of 256")])
def test_a_ttl_that_cannot_be_is_refused(version: int, ttl: int, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        packets((Kind.UDP, version, [Probe(ttl=ttl, size_bytes=80)]))


@pytest.mark.parametrize(("kind", "version"), MADE)
def test_a_size_that_cannot_be_is_refused(kind: Kind, version: int) -> None:
    smallest = smallest_bytes(kind, version)
    for size_bytes in (smallest - 1, LARGEST_BYTES + 1):
        with pytest.raises(ValueError, match=f"{size_bytes} bytes"):
            packets((kind, version, [Probe(ttl=1, size_bytes=size_bytes)]))


def test_the_smallest_sizes() -> None:
    made = {(kind, version): smallest_bytes(kind, version) for kind, version in MADE}
    assert made == {
        (Kind.ICMP_ECHO, 4): 30,
        (Kind.UDP, 4): 30,
        (Kind.TCP_SYN, 4): 40,
        (Kind.ICMP_ECHO, 6): 54,
        (Kind.UDP, 6): 54,
        (Kind.TCP_SYN, 6): 60,
    }


def test_the_port_unless_another_is_asked_for() -> None:
    (packet,) = packets((Kind.UDP, 4, [Probe(ttl=1, size_bytes=60)]))
    assert IP(packet)[UDP].dport == UDP_PORT
