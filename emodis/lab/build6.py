"""The IPv6 half of building: what `build` does for IPv4, with the twins of its addresses.

Nothing is on link but by a route of its own, no interface has a link-local address and none takes
part in multicast: so the kernel neither asks for neighbours nor looks for duplicates nor reports
groups, and no capture shows its chatter.
"""

from __future__ import annotations

import socket
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.rtnl.ndmsg import NUD_PERMANENT

from emodis.lab import kernel
from emodis.lab.ipv6 import HOST_PREFIX_LENGTH, twin, twin_destination
from emodis.lab.plan import EVERYWHERE, Interface, NodePlan, Plan, Route

LOOPBACK_INDEX = 1
IFA_F_NODAD = 2

# A multicast interface that forwards would join the routers' group and report it: so this is set
# when multicast is off.
FORWARDING = "/proc/sys/net/ipv6/conf/all/forwarding"


def available() -> bool:
    """Whether this kernel has IPv6; without it a lab speaks IPv4 alone."""
    return Path("/proc/sys/net/ipv6").exists()


def configure(netlink: IPRoute, plan: Plan, node: NodePlan) -> None:
    """Addresses, neighbours and routes of one node, in whose namespace we are.

    Others know of a router its loopback alone: it never speaks as anything else.
    """
    if node.loopback:
        kernel.put(FORWARDING, "1")
        _add_address(netlink, LOOPBACK_INDEX, str(twin(node.loopback)))
    for interface in node.interfaces:
        _configure_interface(netlink, node, interface)
    known = {IPv4Network(other.address) for other in plan.nodes.values()} | {EVERYWHERE}
    for route in node.routes:
        if route.destination in known:
            netlink.route(
                "add",
                family=socket.AF_INET6,
                dst=str(twin_destination(route.destination)),
                **_gateways(route),
                **_source(node),
            )


def _configure_interface(netlink: IPRoute, node: NodePlan, interface: Interface) -> None:
    index = socket.if_nametoindex(interface.name)
    _add_address(netlink, index, str(twin(interface.address)))
    peer = str(twin(interface.peer_address))
    netlink.neigh(
        "replace",
        family=socket.AF_INET6,
        ifindex=index,
        dst=peer,
        lladdr=interface.peer_mac,
        state=NUD_PERMANENT,
    )
    netlink.route(
        "add",
        family=socket.AF_INET6,
        dst=f"{peer}/{HOST_PREFIX_LENGTH}",
        oif=index,
        **_source(node),
    )


def _gateways(route: Route) -> dict[str, Any]:
    if len(route.hops) == 1:
        return {"gateway": str(twin(route.hops[0].via))}
    return {"multipath": [{"gateway": str(twin(hop.via))} for hop in route.hops]}


def _add_address(netlink: IPRoute, index: int, address: str) -> None:
    netlink.addr(
        "add",
        family=socket.AF_INET6,
        index=index,
        address=address,
        prefixlen=HOST_PREFIX_LENGTH,
        flags=IFA_F_NODAD,
    )


def _source(node: NodePlan) -> dict[str, Any]:
    """A router speaks as its loopback, whichever way its words leave."""
    return {"prefsrc": str(twin(node.loopback))} if node.loopback else {}
