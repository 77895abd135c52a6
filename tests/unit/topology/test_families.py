from __future__ import annotations

from ipaddress import ip_address

import pytest

from emodis.topology.families import fits, pick

BOTH = ["fe80::1%eth0", "2001:db8::1", "2001:db8::2", "10.0.0.1", "10.0.0.2"]


@pytest.mark.parametrize(
    ("texts", "family", "picked"),
    [
        (BOTH, 0, "10.0.0.1"),
        (BOTH, 4, "10.0.0.1"),
        (BOTH, 6, "2001:db8::1"),
        (BOTH[:2], 0, "2001:db8::1"),
        (["::ffff:10.0.0.9"], 4, "10.0.0.9"),
    ],
)
def test_ipv4_comes_first_unless_ipv6_is_wanted(texts: list[str], family: int, picked: str) -> None:
    assert pick(texts, family) == ip_address(picked)


@pytest.mark.parametrize(
    ("texts", "family"), [(BOTH[3:], 6), (BOTH[:3], 4), (BOTH[:1], 0), ([], 0)]
)
def test_there_may_be_none(texts: list[str], family: int) -> None:
    assert pick(texts, family) is None


def test_any_family_fits_every_address() -> None:
    assert fits(ip_address("::1"), 0)
    assert fits(ip_address("::1"), 6)
    assert not fits(ip_address("::1"), 4)
