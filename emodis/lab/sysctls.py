"""The kernel settings of each node's namespace, made before its first interface exists. Pure.

Source: LAB.md, "Parameters"; linux/Documentation/networking/ip-sysctl.
"""

from __future__ import annotations

from emodis.lab.topology import Balance, IcmpLimits, Kind, Node

OF_ALL = {
    "ipv4/conf/all/rp_filter": "0",
    "ipv4/conf/default/rp_filter": "0",
    "ipv4/conf/default/accept_local": "1",
    "ipv4/conf/all/send_redirects": "0",
    "ipv4/conf/default/send_redirects": "0",
    "ipv4/icmp_errors_use_inbound_ifaddr": "1",
    "ipv6/conf/all/accept_dad": "0",
    "ipv6/conf/default/accept_dad": "0",
    "ipv6/conf/default/accept_ra": "0",
    "ipv6/conf/default/addr_gen_mode": "1",
}
OF_ROUTERS = {"ipv4/ip_forward": "1"}
# Where several next hops share a route, a hash of the 5-tuple decides: source, destination,
# protocol, ports. Policy 3 and not 1, which takes the hash that a packet brings along where it has
# one: then all routers decide alike, and a socket that is opened anew is a new flow.
FIVE_TUPLE = str(0x1 | 0x2 | 0x4 | 0x10 | 0x20)
OF_BALANCERS = {
    "ipv4/fib_multipath_hash_policy": "3",
    "ipv4/fib_multipath_hash_fields": FIVE_TUPLE,
    "ipv6/fib_multipath_hash_policy": "3",
    "ipv6/fib_multipath_hash_fields": FIVE_TUPLE,
}
# In labd's own namespace, where only frames pass.
OF_WIRES = {"ipv6/conf/default/disable_ipv6": "1"}
# The limits over all addresses together, out of the way of those for each address.
NO_COMMON_LIMIT = {"ipv4/icmp_msgs_per_sec": "1000000", "ipv4/icmp_msgs_burst": "100000"}
FREE_ICMP = {
    "ipv4/icmp_ratelimit": "0",
    "ipv4/icmp_ratemask": "0",
    "ipv6/icmp/ratelimit": "0",
    **NO_COMMON_LIMIT,
}
# Eleven days between two errors to one address, the first included.
NEVER_MS = 1_000_000_000
# A process answers in the kernel's place (`quoting`).
TIME_EXCEEDED = 11
NO_TIME_EXCEEDED = {
    "ipv4/icmp_ratelimit": str(NEVER_MS),
    "ipv4/icmp_ratemask": str(1 << TIME_EXCEEDED),
}
NO_ECHO = {"ipv4/icmp_echo_ignore_all": "1", "ipv6/icmp/echo_ignore_all": "1"}
MS_PER_S = 1000


def of_node(node: Node, number: int) -> dict[str, str]:
    """Name below /proc/sys/net and value, for one node.

    `number` tells nodes apart: routers that hashed alike would not split what reaches both.
    """
    wanted = dict(OF_ALL)
    if node.kind is Kind.ROUTER:
        wanted |= OF_ROUTERS
    if node.balance is Balance.FLOW:
        # IPv6 uses the same seed. Without one (before Linux 6.11) each boot decides differently.
        wanted |= OF_BALANCERS | {"ipv4/fib_multipath_hash_seed": str(number)}
    match node.icmp:
        case IcmpLimits.LINUX:
            pass
        case IcmpLimits.FREE:
            wanted |= FREE_ICMP
            if node.quote_bytes is not None:
                wanted |= NO_TIME_EXCEEDED
        case IcmpLimits.LIMITED:
            wanted |= _one_each(MS_PER_S // node.icmp_per_s) | NO_COMMON_LIMIT
        case IcmpLimits.SILENT:
            wanted |= _one_each(NEVER_MS) | NO_ECHO
    return wanted


def _one_each(interval_ms: int) -> dict[str, str]:
    """At most one error per interval to each address."""
    return {"ipv4/icmp_ratelimit": str(interval_ms), "ipv6/icmp/ratelimit": str(interval_ms)}
