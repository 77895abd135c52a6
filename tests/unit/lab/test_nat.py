from __future__ import annotations

from ipaddress import IPv4Address

from emodis.lab import nftables
from emodis.lab.nat import rules

HOSTS = [IPv4Address("10.1.0.1"), IPv4Address("10.1.0.5")]


def test_each_host_has_a_rule_to_leave_by_and_one_that_guards_it() -> None:
    messages = rules(HOSTS)
    assert [m.kind for m in messages].count(nftables.NEW_CHAIN) == 2
    for host in HOSTS:
        of_host = [
            m.body for m in messages if m.kind == nftables.NEW_RULE and host.packed in m.body
        ]
        assert [b"masq" in body for body in of_host] == [True, False]
    assert {message.family for message in messages} == {nftables.IPV4}
