from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from hypothesis import given
from hypothesis import strategies as st

from emodis.lab.ipv6 import twin, twin_destination, twin_prefix
from emodis.lab.plan import make_plan
from emodis.lab.truth import path_truth
from emodis.topology.special import is_local
from tests.unit.lab.builders import small


def test_a_twin_has_the_same_digits() -> None:
    assert twin(IPv4Address("10.1.255.3")) == IPv6Address("fd00:10:1:255::3")
    assert twin_prefix(IPv4Network("10.7.0.0/16")) == IPv6Network("fd00:10:7::/48")
    assert twin_destination(IPv4Network("10.1.0.5")) == IPv6Network("fd00:10:1::5")
    assert twin_destination(IPv4Network("0.0.0.0/0")) == IPv6Network("::/0")


ADDRESSES = st.ip_addresses(v=4, network="10.0.0.0/8")


@given(ADDRESSES, ADDRESSES)
def test_twins_are_as_different_as_their_originals_and_may_be_probed(
    one: IPv4Address, other: IPv4Address
) -> None:
    assert (twin(one) == twin(other)) == (one == other)
    assert is_local(twin(one))
    system = IPv4Network((one, 16), strict=False)
    assert (twin(other) in twin_prefix(system)) == (other in system)


def test_the_truth_is_the_same_with_addresses_of_ipv6() -> None:
    plan = make_plan(small())
    four, six = (path_truth(plan, "h1", "h2", ipv6=ipv6) for ipv6 in (False, True))
    assert [hop.node for hop in six.hops] == [hop.node for hop in four.hops]
    assert [str(hop.address) for hop in six.hops] == [
        "fd00:10:1:255::1",
        "fd00:10:2:255::1",
        "fd00:10:2::1",
    ]
    assert str(six.links[0].from_address) == "fd00:10:1::1"
    # A router speaks as its loopback, which is of its own system.
    assert [(hop.asn, hop.address_asn) for hop in six.hops] == [(65001,) * 2] + [(65002,) * 2] * 2
    assert six.choke.ttl == four.choke.ttl
