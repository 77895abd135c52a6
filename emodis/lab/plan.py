"""From a topology to interfaces, addresses and routes. Pure: nothing here touches the kernel.

Each AS gets 10.N.0.0/16 (N counts the ASes by number), its links /30s from the bottom, its routers'
loopbacks from 10.N.255.1 on. A link belongs to the AS of its host end, else to that of `a`: so,
as in the real Internet, a border router may answer with its neighbour's address. IPv6 follows from
IPv4 (`ipv6`).

Routes are those of `routing`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address

import attrs

from emodis.lab.impairment import Impairment
from emodis.lab.ipv6 import twin_prefix
from emodis.lab.routing import first_hops
from emodis.lab.topology import Kind, Link, Topology, TopologyError, Traffic

LAB_PREFIX = IPv4Network("10.0.0.0/8")
# Cross traffic is sent here (RFC 2544) and dies, without an answer, in the next node.
SINK_PREFIX = IPv4Network("198.18.0.0/15")
EVERYWHERE = IPv4Network("0.0.0.0/0")
LOOPBACK_OFFSET = 255 << 8
LINK_PREFIX_LENGTH = 30

# More equal paths than these no measurement tells apart.
MAX_PATHS = 64


@attrs.frozen(kw_only=True)
class Interface:
    """One end of a link, with all that its node must know of the other end."""

    node: str
    name: str
    address: IPv4Address
    mac: str
    peer: str
    peer_address: IPv4Address
    peer_mac: str
    capacity_bps: int
    queue_bytes: int
    burst_bytes: int | None
    arriving: Impairment


@attrs.frozen(kw_only=True)
class NextHop:
    """A neighbour, and the interface that faces it."""

    node: str
    via: IPv4Address
    interface: str


@attrs.frozen(kw_only=True)
class Route:
    """Where packets to `destination` leave a node: several next hops share its flows."""

    destination: IPv4Network
    hops: tuple[NextHop, ...]


@attrs.frozen(kw_only=True)
class NodePlan:
    """Everything that is configured in one node's namespace."""

    name: str
    address: IPv4Address
    loopback: IPv4Address | None
    interfaces: tuple[Interface, ...]
    routes: tuple[Route, ...]


@attrs.frozen(kw_only=True)
class Flow:
    """Cross traffic with the address that makes it cross its link and die behind it."""

    traffic: Traffic
    sink: IPv4Address


@attrs.frozen(kw_only=True)
class Plan:
    """A topology, worked out."""

    topology: Topology
    prefixes: Mapping[int, IPv4Network]
    nodes: Mapping[str, NodePlan]
    flows: tuple[Flow, ...]

    def interface(self, node: str, peer: str) -> Interface:
        """The interface of `node` that faces `peer`."""
        return next(i for i in self.nodes[node].interfaces if i.peer == peer)

    def path(self, source: str, destination: str) -> tuple[str, ...]:
        """The nodes a packet visits, both ends included; the first of equal paths."""
        return next(self._paths(source, destination))

    def paths(self, source: str, destination: str) -> tuple[tuple[str, ...], ...]:
        """All equal paths that flows may take, the one of `path` first; at most `MAX_PATHS`."""
        return tuple(itertools.islice(self._paths(source, destination), MAX_PATHS))

    def _paths(self, source: str, destination: str) -> Iterator[tuple[str, ...]]:
        if source == destination:
            yield (source,)
            return
        for hop in _next_hops(self.nodes[source], self.nodes[destination].address):
            for rest in self._paths(hop, destination):
                yield (source, *rest)

    def asn_of(self, address: IPv4Address | IPv6Address) -> int | None:
        """The AS whose prefix holds the address, as the AS map says it."""
        for asn, prefix in self.prefixes.items():
            if address in prefix or address in twin_prefix(prefix):
                return asn
        return None


def make_plan(topology: Topology) -> Plan:
    """Give every node its interfaces, addresses and routes.

    Raises:
        TopologyError: if one AS has more links or routers than its prefix has room for.
    """
    prefixes = _prefixes(topology)
    interfaces = _interfaces(topology, prefixes)
    addresses = _addresses(topology, prefixes, interfaces)
    flows = tuple(
        Flow(traffic=traffic, sink=SINK_PREFIX[k + 1]) for k, traffic in enumerate(topology.traffic)
    )
    destinations = _destinations(topology, addresses, interfaces)
    nodes = {}
    for name, node in topology.nodes.items():
        nodes[name] = NodePlan(
            name=name,
            address=addresses[name],
            loopback=addresses[name] if node.kind is Kind.ROUTER else None,
            interfaces=interfaces[name],
            routes=_routes(topology, name, interfaces[name], destinations)
            + _sink_routes(flows, name, interfaces[name]),
        )
    return Plan(topology=topology, prefixes=prefixes, nodes=nodes, flows=flows)


def wire_ends(number: int) -> tuple[str, str]:
    """The inner ends of the `number`-th link, where it is wired: at its `a` and at its `b`."""
    return f"wire{number}-a", f"wire{number}-b"


def _prefixes(topology: Topology) -> dict[int, IPv4Network]:
    subnets = LAB_PREFIX.subnets(new_prefix=16)
    next(subnets)  # 10.0.0.0/16 looks like a mistake in outputs
    return {asn: next(subnets) for asn in sorted(topology.systems)}


def _owner(topology: Topology, link: Link) -> int:
    ends = [topology.nodes[link.a], topology.nodes[link.b]]
    return next((end.asn for end in ends if end.kind is Kind.HOST), ends[0].asn)


def _interfaces(
    topology: Topology, prefixes: Mapping[int, IPv4Network]
) -> dict[str, tuple[Interface, ...]]:
    used = dict.fromkeys(prefixes, 0)
    found: dict[str, list[Interface]] = {name: [] for name in topology.nodes}
    for number, link in enumerate(topology.links):
        asn = _owner(topology, link)
        base = int(prefixes[asn].network_address) + 4 * used[asn]
        used[asn] += 1
        if 4 * used[asn] > LOOPBACK_OFFSET:
            raise TopologyError(f"[as.{asn}]: has more links than its /16 has room for; split it")
        ends = (link.a, link.b)
        macs = [f"02:00:00:{number >> 8:02x}:{number & 255:02x}:{side:02x}" for side in (1, 2)]
        for side, name in enumerate(ends):
            found[name].append(
                Interface(
                    node=name,
                    name=f"to-{ends[1 - side]}",
                    address=IPv4Address(base + 1 + side),
                    mac=macs[side],
                    peer=ends[1 - side],
                    peer_address=IPv4Address(base + 2 - side),
                    peer_mac=macs[1 - side],
                    capacity_bps=link.capacity_bps(name),
                    queue_bytes=link.queue_bytes,
                    burst_bytes=link.burst_bytes,
                    arriving=link.impairment(ends[1 - side]),
                )
            )
    return {name: tuple(interfaces) for name, interfaces in found.items()}


def _addresses(
    topology: Topology,
    prefixes: Mapping[int, IPv4Network],
    interfaces: Mapping[str, tuple[Interface, ...]],
) -> dict[str, IPv4Address]:
    """What others call a node by: a host's only interface, a router's loopback."""
    used = dict.fromkeys(prefixes, 0)
    addresses = {}
    for name, node in topology.nodes.items():
        if node.kind is Kind.HOST:
            addresses[name] = interfaces[name][0].address
            continue
        used[node.asn] += 1
        if used[node.asn] > 254:
            raise TopologyError(f"[as.{node.asn}]: has more than 254 routers; split it")
        base = int(prefixes[node.asn].network_address)
        addresses[name] = IPv4Address(base + LOOPBACK_OFFSET + used[node.asn])
    return addresses


def _destinations(
    topology: Topology,
    addresses: Mapping[str, IPv4Address],
    interfaces: Mapping[str, tuple[Interface, ...]],
) -> list[tuple[IPv4Address, str]]:
    """Every address of the lab with the node that owns it: a host route each."""
    loopbacks = [(addresses[router], router) for router in topology.routers]
    return loopbacks + [(i.address, name) for name, own in interfaces.items() for i in own]


def _routes(
    topology: Topology,
    name: str,
    interfaces: tuple[Interface, ...],
    destinations: list[tuple[IPv4Address, str]],
) -> tuple[Route, ...]:
    towards = {
        i.peer: NextHop(node=i.peer, via=i.peer_address, interface=i.name) for i in interfaces
    }
    if topology.nodes[name].kind is Kind.HOST:
        return (Route(destination=EVERYWHERE, hops=tuple(towards.values())),)
    connected = {interface.peer_address for interface in interfaces}
    best = first_hops(topology, name)
    return tuple(
        Route(destination=IPv4Network(address), hops=tuple(towards[peer] for peer in best[owner]))
        for address, owner in destinations
        if owner != name and address not in connected
    )


def _sink_routes(
    flows: tuple[Flow, ...], name: str, interfaces: tuple[Interface, ...]
) -> tuple[Route, ...]:
    """How the cross traffic that starts here gets onto its one link."""
    towards = {
        i.peer: NextHop(node=i.peer, via=i.peer_address, interface=i.name) for i in interfaces
    }
    return tuple(
        Route(destination=IPv4Network(flow.sink), hops=(towards[flow.traffic.receiver],))
        for flow in flows
        if flow.traffic.sender == name
    )


def _next_hops(node: NodePlan, goal: IPv4Address) -> tuple[str, ...]:
    """Longest match as the kernel does it: connected, then host route, then default."""
    for interface in node.interfaces:
        if interface.peer_address == goal:
            return (interface.peer,)
    best = max(
        (r for r in node.routes if goal in r.destination), key=lambda r: r.destination.prefixlen
    )
    return tuple(hop.node for hop in best.hops)
