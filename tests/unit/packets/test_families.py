from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from emodis.packets.families import IPV4, IPV6, PMTUDISC_DONT, PMTUDISC_PROBE, set_fragmenting


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        yield made


def test_the_kernel_is_told_who_may_cut_packets_up(sock: socket.socket) -> None:
    for df, how in ((False, PMTUDISC_DONT), (True, PMTUDISC_PROBE)):
        set_fragmenting(sock, IPV4, df=df)
        assert sock.getsockopt(IPV4.level, IPV4.mtu_discovery) == how


def test_over_ipv6_there_is_nothing_to_tell(sock: socket.socket) -> None:
    before = sock.getsockopt(IPV4.level, IPV4.mtu_discovery)
    set_fragmenting(sock, IPV6, df=False)
    assert sock.getsockopt(IPV4.level, IPV4.mtu_discovery) == before
