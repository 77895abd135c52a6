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
from emodis.lab.nat import hide
from emodis.lab.plan import (
    LINK_PREFIX_LENGTH,
    SINK_PREFIX,
    Interface,
    NodePlan,
    Plan,
    Route,
    wire_ends,
)
from emodis.lab.sysctls import OF_WIRES, of_node
from emodis.lab.topology import ETHERNET_BYTES, MTU_BYTES, Kind

LOOPBACK_INDEX = 1
IFF_UP, IFF_NOARP, IFF_MULTICAST = 0x1, 0x80, 0x1000
# Neighbours are told, never asked for; no groups are joined.
UP_ALONE = IFF_UP | IFF_NOARP
FRAME_BYTES = MTU_BYTES + ETHERNET_BYTES
# A shaper that wakes less often than this sends lumps; one that wakes more often loses rate.
BURST_S = 150e-6
US_PER_S = 1_000_000
SPARE_US = 1.5

# Which CPU takes what arrives: the hosts' own programs run beside CPU 0, forwarding is on CPU 1.
RECEIVE_CPUS = {Kind.HOST: "1", Kind.ROUTER: "2"}


def build(plan: Plan) -> dict[str, int]:
    """Build everything; returns the descriptor that holds each node's namespace.

    Raises:
        Refused: if the kernel refuses a part of it.
    """
    home = kernel.current_network()
    networks = {}
    for number, node in enumerate(plan.topology.nodes.values(), 1):
        networks[node.name] = kernel.new_network()
        _set_sysctls(of_node(node, number))
    kernel.setns(home, kernel.NEWNET)
    _set_sysctls(OF_WIRES)
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
            _shape(netlink, socket.if_nametoindex("try-a"), 10_000_000, 100_000, FRAME_BYTES)
        except NetlinkError as error:
            raise Refused(
                f"no lab here: the kernel has no tbf shaper ({error.args[-1]})"
            ) from error


def smallest_burst_bytes(capacity_bps: int) -> int:
    """The smallest bucket that keeps the rate: whole frames for 150 us, at least one."""
    frames = max(1, math.ceil(capacity_bps * BURST_S / 8 / FRAME_BYTES))
    return frames * FRAME_BYTES


def bucket_bytes(capacity_bps: int, burst_bytes: int) -> int:
    """The bucket to ask for so that it holds at least so much.

    pyroute2 cuts the time the bucket lasts to whole microseconds, then to ticks of 64 ns; a bucket
    thus a byte short of a frame would drop every full-size packet.
    """
    whole_us = math.ceil(burst_bytes * 8 * US_PER_S / capacity_bps)
    return math.ceil((whole_us + SPARE_US) * capacity_bps / 8 / US_PER_S)


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
            netlink.route("add", dst=str(route.destination), **_gateways(route))
        netlink.route("add", dst=str(SINK_PREFIX), type=rt_type["blackhole"])
        _hide(plan, node)
        if build6.available():
            build6.configure(netlink, plan, node)


def _hide(plan: Plan, node: NodePlan) -> None:
    hosts = [plan.nodes[host].address for host in plan.topology.nodes[node.name].nat_for]
    if not hosts:
        return
    try:
        hide(hosts)
    except OSError as error:
        raise refused("nftables rules that translate addresses, for nat_for", error) from error


def _gateways(route: Route) -> dict[str, Any]:
    """The next hop of a route, or those that share its flows."""
    if len(route.hops) == 1:
        return {"gateway": str(route.hops[0].via)}
    return {"multipath": [{"gateway": str(hop.via)} for hop in route.hops]}


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
    _shape(
        netlink,
        index,
        interface.capacity_bps,
        interface.queue_bytes,
        interface.burst_bytes or smallest_burst_bytes(interface.capacity_bps),
    )
    if interface.arriving.loss_ratio:
        try:
            lose(interface.name, interface.arriving.loss_ratio)
        except OSError as error:
            raise refused("an nftables rule, which random loss needs", error) from error


def _shape(
    netlink: IPRoute, index: int, capacity_bps: int, queue_bytes: int, burst_bytes: int
) -> None:
    bucket = bucket_bytes(capacity_bps, burst_bytes)
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
