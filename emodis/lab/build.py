"""From a plan to namespaces, veth pairs, shapers, addresses and routes. Runs in labd only.

pyroute2 opens its socket in the namespace its thread is in, so: setns, then a new IPRoute, closed
before the next move. Its tbf takes bytes per second and cuts the burst to whole microseconds.
"""

from __future__ import annotations

import errno
import math
import os
import socket
from collections.abc import Mapping
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl import rt_type
from pyroute2.netlink.rtnl.ndmsg import NUD_PERMANENT

from emodis.lab import build6, kernel
from emodis.lab.isolation import Refused, refused
from emodis.lab.loss import lose
from emodis.lab.plan import LINK_PREFIX_LENGTH, SINK_PREFIX, Interface, NodePlan, Plan, wire_ends
from emodis.lab.topology import ETHERNET_BYTES, MTU_BYTES, IcmpLimits, Kind, Node

LOOPBACK_INDEX = 1
IFF_UP, IFF_NOARP, IFF_MULTICAST = 0x1, 0x80, 0x1000
# Neighbours are told, never asked for; no groups are joined.
UP_ALONE = IFF_UP | IFF_NOARP
FRAME_BYTES = MTU_BYTES + ETHERNET_BYTES
# A shaper that wakes less often than this sends lumps; one that wakes more often loses rate.
BURST_S = 150e-6
US_PER_S = 1_000_000
SPARE_US = 1.5

# Set in every namespace before its first interface exists (LAB.md, "Parameters").
SYSCTLS = {
    "ipv4/conf/all/rp_filter": "0",
    "ipv4/conf/default/rp_filter": "0",
    "ipv4/conf/default/accept_local": "1",
    "ipv4/conf/all/send_redirects": "0",
    "ipv4/conf/default/send_redirects": "0",
    "ipv4/icmp_errors_use_inbound_ifaddr": "1",
    **build6.SYSCTLS,
}
# In labd's own namespace, where only frames pass.
WIRE_SYSCTLS = {"ipv6/conf/default/disable_ipv6": "1"}
ROUTER_SYSCTLS = {"ipv4/ip_forward": "1"}
FREE_ICMP_SYSCTLS = {
    "ipv4/icmp_ratelimit": "0",
    "ipv4/icmp_ratemask": "0",
    "ipv4/icmp_msgs_per_sec": "1000000",
    "ipv4/icmp_msgs_burst": "100000",
    **build6.FREE_ICMP_SYSCTLS,
}
# Which CPU takes what arrives: the hosts' own programs run beside CPU 0, forwarding is on CPU 1.
RECEIVE_CPUS = {Kind.HOST: "1", Kind.ROUTER: "2"}


def build(plan: Plan) -> dict[str, int]:
    """Build everything; returns the descriptor that holds each node's namespace.

    Raises:
        Refused: if the kernel refuses a part of it.
    """
    home = kernel.current_network()
    networks = {}
    for node in plan.topology.nodes.values():
        networks[node.name] = kernel.new_network()
        _set_sysctls(_wanted_sysctls(node))
    kernel.setns(home, kernel.NEWNET)
    _set_sysctls(WIRE_SYSCTLS)
    try:
        _make_links(plan, networks)
        for name, descriptor in networks.items():
            kernel.setns(descriptor, kernel.NEWNET)
            _configure(plan, plan.nodes[name])
            _spread_receiving(plan.topology.nodes[name].kind, plan.nodes[name])
    except NetlinkError as error:
        raise Refused(f"no lab here: the kernel refuses a part of the network: {error}") from error
    kernel.setns(home, kernel.NEWNET)
    os.close(home)
    return networks


def probe_links() -> None:
    """Try a veth pair and a shaper in the present namespace.

    Raises:
        Refused: naming the one that this kernel does not have.
    """
    with IPRoute() as netlink:
        try:
            netlink.link("add", ifname="try-a", kind="veth", peer={"ifname": "try-b"})
        except NetlinkError as error:
            raise Refused(
                f"no lab here: the kernel has no veth links ({error.args[-1]})"
            ) from error
        try:
            _shape(netlink, socket.if_nametoindex("try-a"), 10_000_000, 100_000)
        except NetlinkError as error:
            raise Refused(
                f"no lab here: the kernel has no tbf shaper ({error.args[-1]})"
            ) from error


def burst_bytes(capacity_bps: int) -> int:
    """The bucket of a shaper: whole frames for 150 us, at least one, and a little more.

    pyroute2 cuts the time the bucket lasts to whole microseconds, then to ticks of 64 ns; a bucket
    thus a byte short of a frame would drop every full-size packet.
    """
    frames = max(1, math.ceil(capacity_bps * BURST_S / 8 / FRAME_BYTES))
    whole_us = math.ceil(frames * FRAME_BYTES * 8 * US_PER_S / capacity_bps)
    return math.ceil((whole_us + SPARE_US) * capacity_bps / 8 / US_PER_S)


def _wanted_sysctls(node: Node) -> dict[str, str]:
    wanted = dict(SYSCTLS)
    if node.kind is Kind.ROUTER:
        wanted |= ROUTER_SYSCTLS
    if node.icmp is IcmpLimits.FREE:
        wanted |= FREE_ICMP_SYSCTLS
    return wanted


def _set_sysctls(wanted: Mapping[str, str]) -> None:
    for name, value in wanted.items():
        try:
            kernel.put(f"/proc/sys/net/{name}", value)
        except FileNotFoundError:
            continue  # no IPv6, or an older kernel whose limit is one for the whole machine
        except OSError as error:
            raise refused(f"to set net.{name.replace('/', '.')}", error) from error


def _make_links(plan: Plan, networks: dict[str, int]) -> None:
    """Make all veth pairs; the inner ends of wired links come into the present namespace."""
    with IPRoute() as netlink:
        for number, link in enumerate(plan.topology.links):
            a, b = plan.interface(link.a, link.b), plan.interface(link.b, link.a)
            ends = [_end(interface, networks) for interface in (a, b)]
            if not link.wired:
                netlink.link("add", kind="veth", **ends[0], peer=ends[1])
                continue
            for inner, outer in zip(wire_ends(number), ends, strict=True):
                netlink.link("add", kind="veth", ifname=inner, peer=outer)
                kernel.offloads_off(inner)
                netlink.link("set", index=socket.if_nametoindex(inner), state="up", arp=False)


def _end(interface: Interface, networks: dict[str, int]) -> dict[str, Any]:
    """One end of a veth pair, as pyroute2 wants it."""
    network = networks[interface.node]
    return {"ifname": interface.name, "address": interface.mac, "net_ns_fd": network}


def _configure(plan: Plan, node: NodePlan) -> None:
    """Everything in the namespace of one node, which we are in."""
    with IPRoute() as netlink:
        netlink.link("set", index=LOOPBACK_INDEX, state="up")
        if node.loopback:
            netlink.addr("add", index=LOOPBACK_INDEX, address=str(node.loopback), prefixlen=32)
        for interface in node.interfaces:
            _configure_interface(netlink, interface)
        for route in node.routes:
            netlink.route("add", dst=str(route.destination), gateway=str(route.via))
        netlink.route("add", dst=str(SINK_PREFIX), type=rt_type["blackhole"])
        if build6.available():
            build6.configure(netlink, plan, node)


def _configure_interface(netlink: IPRoute, interface: Interface) -> None:
    index = socket.if_nametoindex(interface.name)
    kernel.offloads_off(interface.name)
    netlink.link("set", index=index, flags=UP_ALONE, change=UP_ALONE | IFF_MULTICAST)
    netlink.addr("add", index=index, address=str(interface.address), prefixlen=LINK_PREFIX_LENGTH)
    netlink.neigh(
        "replace",
        ifindex=index,
        dst=str(interface.peer_address),
        lladdr=interface.peer_mac,
        state=NUD_PERMANENT,
    )
    _shape(netlink, index, interface.capacity_bps, interface.queue_bytes)
    if interface.arriving.loss_ratio:
        try:
            lose(interface.name, interface.arriving.loss_ratio)
        except OSError as error:
            raise refused("an nftables rule, which random loss needs", error) from error


def _shape(netlink: IPRoute, index: int, capacity_bps: int, queue_bytes: int) -> None:
    bucket = burst_bytes(capacity_bps)
    netlink.tc("add", "tbf", index, rate=capacity_bps // 8, burst=bucket, limit=queue_bytes)


def _spread_receiving(kind: Kind, node: NodePlan) -> None:
    """Let another CPU than the sender's take what arrives: a train leaves six times faster.

    Only real root may; without it trains are sent more slowly and all stays true.
    """
    if (os.cpu_count() or 1) < 2:
        return
    try:
        kernel.mount("sysfs", "/sys", "sysfs")
    except OSError as error:
        if error.errno in (errno.EPERM, errno.EACCES, errno.EBUSY):
            return
        raise
    try:
        for interface in node.interfaces:
            kernel.put(f"/sys/class/net/{interface.name}/queues/rx-0/rps_cpus", RECEIVE_CPUS[kind])
    except (PermissionError, FileNotFoundError):
        pass  # sysfs was allowed and the setting is not, or the kernel was built without it
    finally:
        kernel.unmount("/sys")
