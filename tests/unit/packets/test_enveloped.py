"""Datagrams with the headers that their sockets do not show."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Raw

from emodis.packets.enveloped import enveloped


@pytest.mark.parametrize("payload", [b"", b"odd", bytes(range(200))])
@pytest.mark.parametrize(
    ("here", "there", "layer"),
    [("10.0.0.1", "192.0.2.7", IP), ("2001:db8::1", "2001:db8:2::7", IPv6)],
)
def test_scapy_would_have_made_the_same(
    here: str, there: str, layer: type[IP] | type[IPv6], payload: bytes
) -> None:
    header = (
        IP(src=here, dst=there, ttl=9, id=0, flags="DF")
        if layer is IP
        else IPv6(src=here, dst=there, hlim=9)
    )
    source, target = (ip_address(here), 40_000), (ip_address(there), 50_000)
    packet = enveloped(source, target, payload, ttl=9)
    assert packet == bytes(header / UDP(sport=40_000, dport=50_000) / Raw(payload))


def test_a_checksum_that_comes_out_as_nothing_is_written_in_full() -> None:
    """0 would say that there is none."""
    source, target = (ip_address("0.0.0.0"), 0), (ip_address("0.0.0.0"), 0)  # noqa: S104
    rest = (17 + 2 * 10) & 0xFFFF
    packet = enveloped(source, target, (0xFFFF - rest).to_bytes(2, "big"), ttl=1)
    assert packet[26:28] == b"\xff\xff"
