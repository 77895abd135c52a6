"""scapy takes every kind of packet apart and computes its checksums anew."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, UDP

from emodis.packets.flow import UDP_PORT, Flow, IdBlock
from emodis.packets.model import Kind, Probe
from emodis.packets.templates import LARGEST_BYTES, SMALLEST_BYTES, build
from tests.unit.packets.answers import KINDS

HERE, THERE = IPv4Address("10.0.0.1"), IPv4Address("203.0.113.9")
FLOWS = {
    Kind.UDP: Flow(kind=Kind.UDP, source=HERE, target=THERE, ident=40_001, check=0xBEEF),
    Kind.ICMP_ECHO: Flow(kind=Kind.ICMP_ECHO, source=HERE, target=THERE, ident=77, check=0xBEEF),
}
PROBES = st.lists(
    st.builds(
        Probe,
        ttl=st.integers(1, 255),
        size_bytes=st.sampled_from([SMALLEST_BYTES, 31, 60, 84, 500, LARGEST_BYTES]),
        muted=st.booleans(),
    ),
    min_size=1,
    max_size=8,
)


def packets(kind: Kind, probes: list[Probe], first_id: int = 1) -> list[bytes]:
    data = bytes(build(FLOWS[kind], probes, IdBlock(first_id, len(probes))))
    cut = []
    for probe in probes:
        cut.append(data[: probe.size_bytes])
        data = data[probe.size_bytes :]
    assert data == b""
    return cut


def right_checksum(packet: bytes) -> int:
    """What scapy would have written."""
    dissected = IP(packet)
    layer = dissected[UDP] if UDP in dissected else dissected[ICMP]
    del layer.chksum
    again = IP(bytes(dissected))
    return int((again[UDP] if UDP in again else again[ICMP]).chksum)


@given(st.sampled_from(KINDS), PROBES, st.integers(1, 0xFFFE))
def test_every_packet_says_what_its_probe_asks_for(
    kind: Kind, probes: list[Probe], first_id: int
) -> None:
    ids = IdBlock(first_id, len(probes))
    for index, (probe, packet) in enumerate(
        zip(probes, packets(kind, probes, first_id), strict=True)
    ):
        ip = IP(packet)
        assert (ip.src, ip.dst) == (str(HERE), str(THERE))
        assert (ip.ttl, ip.len, ip.tos, str(ip.flags)) == (probe.ttl, probe.size_bytes, 0, "DF")
        assert ip.id == ids.at(index)
        if kind is Kind.UDP:
            udp = ip[UDP]
            assert (udp.sport, udp.dport, udp.len) == (40_001, UDP_PORT, probe.size_bytes - 20)
            assert udp.chksum == ids.at(index)
        else:
            echo = ip[ICMP]
            assert (echo.type, echo.code, echo.id, echo.seq) == (8, 0, 77, ids.at(index))


@given(st.sampled_from(KINDS), PROBES, st.integers(1, 0xFFFE))
def test_the_checksum_is_right_unless_the_probe_is_muted(
    kind: Kind, probes: list[Probe], first_id: int
) -> None:
    for probe, packet in zip(probes, packets(kind, probes, first_id), strict=True):
        written = int.from_bytes(packet[26:28] if kind is Kind.UDP else packet[22:24], "big")
        assert (written == right_checksum(packet)) is not probe.muted


@given(st.sampled_from(KINDS), PROBES)
def test_what_a_load_balancer_hashes_is_the_same_in_the_whole_train(
    kind: Kind, probes: list[Probe]
) -> None:
    """Protocol, addresses, type of service and the first four bytes after the header (Paris)."""
    seen = {
        (packet[1], packet[9], packet[12:20], packet[20:24]) for packet in packets(kind, probes)
    }
    assert len(seen) == 1


def test_two_ids_never_look_the_same_to_a_router_that_quotes_eight_bytes() -> None:
    for kind in KINDS:
        quoted = {packet[:28] for packet in packets(kind, [Probe(ttl=1, size_bytes=60)] * 100)}
        assert len(quoted) == 100


@pytest.mark.parametrize(
    ("probe", "complaint"),
    [
        (Probe(ttl=0, size_bytes=60), "TTL of 0"),
        (Probe(ttl=256, size_bytes=60), "TTL of 256"),
        (Probe(ttl=1, size_bytes=SMALLEST_BYTES - 1), "29 bytes"),
        (Probe(ttl=1, size_bytes=LARGEST_BYTES + 1), "1501 bytes"),
    ],
)
def test_what_cannot_be_built_is_refused(probe: Probe, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        packets(Kind.UDP, [probe])
