from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emodis.topology.special import canonical, is_local, refusal

ALLOWED = [
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.254",
    "192.168.1.1",
    "127.0.0.1",
    "192.0.2.7",
    "198.51.100.7",
    "203.0.113.7",
    "198.18.0.1",
    "198.19.255.1",
    "::1",
    "fd00::1",
    "2001:db8::1",
    "::ffff:10.0.0.1",
]
REFUSED = [
    "8.8.8.8",
    "172.15.255.255",
    "172.32.0.1",
    "192.169.0.1",
    "198.17.255.255",
    "198.20.0.0",
    "169.254.1.1",
    "100.64.0.1",
    "2001:4860:4860::8888",
    "fe80::1",
    "64:ff9b::10.0.0.1",
    "2002:a00:1::1",
    "::ffff:8.8.8.8",
]


@pytest.mark.parametrize("text", ALLOWED)
def test_private_loopback_and_lab_addresses_may_be_probed(text: str) -> None:
    assert refusal(ip_address(text)) is None
    assert is_local(ip_address(text))


@pytest.mark.parametrize("text", REFUSED)
def test_everything_else_may_not(text: str) -> None:
    why = refusal(ip_address(text))
    assert why is not None
    assert "outside private, loopback and lab ranges" in why
    assert not is_local(ip_address(text))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("224.0.0.1", "224.0.0.1 is a multicast address"),
        ("239.255.255.255", "239.255.255.255 is a multicast address"),
        ("ff02::1", "ff02::1 is a multicast address"),
        ("255.255.255.255", "255.255.255.255 is the broadcast address"),
        ("0.0.0.0", "0.0.0.0 is no host's address"),  # noqa: S104
        ("0.1.2.3", "0.1.2.3 is no host's address"),
        ("::", ":: is no host's address"),
        ("::ffff:224.0.0.1", "224.0.0.1 is a multicast address"),
    ],
)
def test_some_are_never_probed(text: str, why: str) -> None:
    assert refusal(ip_address(text)) == why


def test_one_host_has_one_address() -> None:
    assert canonical("::ffff:10.0.0.1") == canonical("10.0.0.1") == IPv4Address("10.0.0.1")
    assert canonical(bytes([10, 0, 0, 1])) == IPv4Address("10.0.0.1")
    assert canonical("2001:DB8:0::1") == IPv6Address("2001:db8::1")


@pytest.mark.parametrize("bad", ["", "host", "10.0.0", "10.0.0.1/8", b"abc", "fe80::1%eth0"])
def test_what_is_no_address_is_refused(bad: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        canonical(bad)


@given(st.ip_addresses())
def test_canonical_is_idempotent_and_every_address_is_decided(
    address: IPv4Address | IPv6Address,
) -> None:
    once = canonical(address.packed)
    assert canonical(str(once)) == once
    assert (refusal(address) is None) == is_local(address)
