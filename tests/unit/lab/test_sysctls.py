from __future__ import annotations

from emodis.lab.sysctls import of_node
from emodis.lab.topology import Balance, IcmpLimits, Kind, Node


def settings(
    kind: Kind,
    icmp: IcmpLimits,
    number: int = 1,
    per_s: int = 10,
    balance: Balance = Balance.NONE,
) -> dict[str, str]:
    node = Node(name="n", kind=kind, asn=1, icmp=icmp, icmp_per_s=per_s, balance=balance)
    return of_node(node, number)


def test_only_routers_forward() -> None:
    assert "ipv4/ip_forward" not in settings(Kind.HOST, IcmpLimits.FREE)
    assert settings(Kind.ROUTER, IcmpLimits.FREE)["ipv4/ip_forward"] == "1"


def test_each_balancer_hashes_in_its_own_way() -> None:
    one, other = (
        settings(Kind.ROUTER, IcmpLimits.FREE, number, balance=Balance.FLOW) for number in (1, 2)
    )
    assert {name for name in one if one[name] != other[name]} == {"ipv4/fib_multipath_hash_seed"}


def test_limits_are_per_address_and_of_both_families() -> None:
    limited = settings(Kind.ROUTER, IcmpLimits.LIMITED, per_s=20)
    assert limited["ipv4/icmp_ratelimit"] == limited["ipv6/icmp/ratelimit"] == "50"
    assert "ipv4/icmp_ratemask" not in limited
    assert settings(Kind.ROUTER, IcmpLimits.FREE)["ipv4/icmp_ratemask"] == "0"
    untouched = settings(Kind.HOST, IcmpLimits.LINUX)
    assert not [name for name in untouched if "icmp/" in name or "icmp_rate" in name]


def test_the_silent_answer_no_echo_either() -> None:
    silent = settings(Kind.ROUTER, IcmpLimits.SILENT)
    assert silent["ipv4/icmp_echo_ignore_all"] == silent["ipv6/icmp/echo_ignore_all"] == "1"
