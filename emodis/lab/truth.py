"""What a perfect measurement of a path would say. Pure: computed from the plan, never measured.

The train is a fluid: it leaves the source faster than anything, and a link of capacity C with cross
traffic X passes a train of rate r at r if r + X <= C, else at C * r / (r + X), its fair share of
first come, first served. Where that lowers the rate by more than 5 %, the train is stretched. The
choke is the last such link: behind it the gaps are largest and stay, so Pathneck (TECHNIQUES.md 3)
names it. With cross traffic it need not be the tight link (least available bandwidth).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import attrs

from emodis.lab.impairment import Impairment
from emodis.lab.ipv6 import twin
from emodis.lab.plan import Plan
from emodis.lab.topology import ETHERNET_BYTES, IcmpLimits

Address = IPv4Address | IPv6Address

STRETCH_RATIO = 0.95
DEFAULT_PACKET_BYTES = 500


@attrs.frozen(kw_only=True)
class HopTruth:
    """A node that answers to TTL `ttl`, and from which address.

    `asn` is the AS that runs the node; `address_asn` the AS whose prefix the address is from, which
    is what the AS map says. They differ at some borders. `icmp` says how freely it answers.
    """

    ttl: int
    node: str
    address: Address
    asn: int
    address_asn: int
    icmp: IcmpLimits

    def as_json(self) -> dict[str, Any]:
        return {**attrs.asdict(self), "address": str(self.address), "icmp": self.icmp.value}


@attrs.frozen(kw_only=True)
class LinkTruth:
    """The link that leads to hop `ttl`. Rates in Ethernet bits per second, and IP bits beside.

    The two addresses are those of the hops at its ends, as a traceroute shows them (the source's
    own address for the first link).
    """

    ttl: int
    sender: str
    receiver: str
    from_address: Address
    to_address: Address
    capacity_ethernet_bps: int
    cross_ethernet_bps: int
    train_ethernet_bps: float
    stretched: bool
    packet_bytes: int
    impairment: Impairment

    @property
    def avail_ethernet_bps(self) -> int:
        return self.capacity_ethernet_bps - self.cross_ethernet_bps

    @property
    def capacity_ip_bps(self) -> float:
        return ip_bps(self.capacity_ethernet_bps, self.packet_bytes)

    @property
    def avail_ip_bps(self) -> float:
        return ip_bps(self.avail_ethernet_bps, self.packet_bytes)

    @property
    def train_ip_bps(self) -> float:
        """The rate at which the train leaves this link."""
        return ip_bps(self.train_ethernet_bps, self.packet_bytes)

    def as_json(self) -> dict[str, Any]:
        return {
            "ttl": self.ttl,
            "from_node": self.sender,
            "to_node": self.receiver,
            "from_address": str(self.from_address),
            "to_address": str(self.to_address),
            "capacity_ethernet_bps": self.capacity_ethernet_bps,
            "capacity_ip_bps": round(self.capacity_ip_bps),
            "cross_ethernet_bps": self.cross_ethernet_bps,
            "avail_ethernet_bps": self.avail_ethernet_bps,
            "avail_ip_bps": round(self.avail_ip_bps),
            "train_ethernet_bps": round(self.train_ethernet_bps),
            "train_ip_bps": round(self.train_ip_bps),
            "train_stretched": self.stretched,
            "delay_ns": self.impairment.delay_ns,
            "jitter_ns": self.impairment.jitter_ns,
            "loss_ratio": self.impairment.loss_ratio,
            "duplicate_ratio": self.impairment.duplicate_ratio,
            "reorder_ratio": self.impairment.reorder_ratio,
        }


@attrs.frozen(kw_only=True)
class Truth:
    """One direction of one path. `links[k]` leads to `hops[k]`; the last hop is the destination."""

    source: str
    destination: str
    packet_bytes: int
    hops: tuple[HopTruth, ...]
    links: tuple[LinkTruth, ...]
    # What happens on the way back, link by link.
    back: tuple[Impairment, ...]
    # The address by which others see the source, where a router translates it.
    seen_as: Address | None
    # The router that keeps from the destination what it has not asked for.
    hidden_by: str | None

    @property
    def owd_ns(self) -> int:
        """The least one-way delay: what the links are declared to take, and nothing else."""
        return sum(link.impairment.delay_ns for link in self.links)

    @property
    def rtt_ns(self) -> int:
        """The least round-trip time, in the same sense."""
        return self.owd_ns + sum(impairment.delay_ns for impairment in self.back)

    @property
    def loss_ratio(self) -> float:
        """One-way loss: the share of packets that random loss keeps from arriving."""
        return _lost(link.impairment for link in self.links)

    @property
    def round_trip_loss_ratio(self) -> float:
        """The share of packets whose answer does not come back."""
        return _lost([*(link.impairment for link in self.links), *self.back])

    @property
    def narrow(self) -> LinkTruth:
        """The link of least capacity, the first of equals."""
        return min(self.links, key=lambda link: link.capacity_ethernet_bps)

    @property
    def tight(self) -> LinkTruth:
        """The link of least available bandwidth, the first of equals."""
        return min(self.links, key=lambda link: link.avail_ethernet_bps)

    @property
    def choke(self) -> LinkTruth:
        """The last link that stretches a train: Pathneck's bottleneck."""
        return max((link for link in self.links if link.stretched), key=lambda link: link.ttl)

    def as_json(self) -> dict[str, Any]:
        """The same for machines: names with units, addresses as text, links named by their TTL."""
        return {
            "source": self.source,
            "destination": self.destination,
            "packet_bytes": self.packet_bytes,
            "hops": [hop.as_json() for hop in self.hops],
            "links": [link.as_json() for link in self.links],
            "capacity_ethernet_bps": self.narrow.capacity_ethernet_bps,
            "capacity_ip_bps": round(self.narrow.capacity_ip_bps),
            "avail_ethernet_bps": self.tight.avail_ethernet_bps,
            "avail_ip_bps": round(self.tight.avail_ip_bps),
            "seen_as": str(self.seen_as) if self.seen_as else None,
            "hidden_by": self.hidden_by,
            "owd_ns": self.owd_ns,
            "rtt_ns": self.rtt_ns,
            "loss_ratio": self.loss_ratio,
            "round_trip_loss_ratio": self.round_trip_loss_ratio,
            "narrow_link": self.narrow.as_json(),
            "tight_link": self.tight.as_json(),
            "choke_link": self.choke.as_json(),
        }


def ip_bps(ethernet_bps: float, packet_bytes: int) -> float:
    """IP bits per second of packets of that size inside so many Ethernet bits per second."""
    return ethernet_bps * packet_bytes / (packet_bytes + ETHERNET_BYTES)


def fluid_bps(entering_bps: float, capacity_bps: float, cross_bps: float) -> float:
    """The rate at which a fluid train leaves a link that it shares with cross traffic."""
    if entering_bps + cross_bps <= capacity_bps:
        return entering_bps
    if math.isinf(entering_bps):
        return capacity_bps
    return capacity_bps * entering_bps / (entering_bps + cross_bps)


def path_truth(
    plan: Plan,
    source: str,
    destination: str,
    *,
    packet_bytes: int = DEFAULT_PACKET_BYTES,
    ipv6: bool = False,
) -> Truth:
    """The truth about the only path between two nodes, or the first of equal ones.

    Arguments and errors as those of `path_truths`.
    """
    return path_truths(plan, source, destination, packet_bytes=packet_bytes, ipv6=ipv6)[0]


def path_truths(
    plan: Plan,
    source: str,
    destination: str,
    *,
    packet_bytes: int = DEFAULT_PACKET_BYTES,
    ipv6: bool = False,
) -> tuple[Truth, ...]:
    """Work out the truth about packets of `packet_bytes` from one node to another.

    One for each path that routers spread flows over. All have as many hops; the way back, where it
    has equal paths too, is the first of them. Both families take the same ways; with `ipv6` the
    addresses are those of IPv6.

    Raises:
        ValueError: if source and destination are the same node.
    """
    if source == destination:
        raise ValueError(f"{source} and {destination} are the same node; a path joins two")
    back = plan.path(destination, source)
    return tuple(
        _along(plan, path, back, packet_bytes=packet_bytes, ipv6=ipv6)
        for path in plan.paths(source, destination)
    )


def _along(
    plan: Plan, path: tuple[str, ...], back: tuple[str, ...], *, packet_bytes: int, ipv6: bool
) -> Truth:
    source, destination = path[0], path[-1]
    hops, links, train_bps = [], [], math.inf
    before: Address = plan.nodes[source].address
    if ipv6:
        before = twin(plan.nodes[source].address)
    for ttl, (sender, receiver) in enumerate(itertools.pairwise(path), 1):
        hop = _hop(plan, ttl, sender, receiver, last=receiver == destination, ipv6=ipv6)
        egress = plan.interface(sender, receiver)
        cross_bps = plan.topology.cross_bps(sender, receiver)
        left_bps = fluid_bps(train_bps, egress.capacity_bps, cross_bps)
        links.append(
            LinkTruth(
                ttl=ttl,
                sender=sender,
                receiver=receiver,
                from_address=before,
                to_address=hop.address,
                capacity_ethernet_bps=egress.capacity_bps,
                cross_ethernet_bps=cross_bps,
                train_ethernet_bps=left_bps,
                stretched=left_bps < STRETCH_RATIO * train_bps,
                packet_bytes=packet_bytes,
                impairment=_impairment(plan, sender, receiver),
            )
        )
        hops.append(hop)
        before, train_bps = hop.address, left_bps
    return Truth(
        source=source,
        destination=destination,
        packet_bytes=packet_bytes,
        hops=tuple(hops),
        links=tuple(links),
        seen_as=None if ipv6 else _seen_as(plan, path),
        hidden_by=None if ipv6 else _hidden_by(plan, path),
        back=tuple(_impairment(plan, *ends) for ends in itertools.pairwise(back)),
    )


def _seen_as(plan: Plan, path: tuple[str, ...]) -> IPv4Address | None:
    nat = plan.topology.nat_of(path[0])
    if nat is None or path[-1] == nat:
        return None
    return plan.interface(path[1], path[2]).address


def _hidden_by(plan: Plan, path: tuple[str, ...]) -> str | None:
    nat = plan.topology.nat_of(path[-1])
    return None if path[0] == nat else nat


def _impairment(plan: Plan, sender: str, receiver: str) -> Impairment:
    return plan.interface(receiver, sender).arriving


def _lost(impairments: Iterable[Impairment]) -> float:
    return 1 - math.prod(1 - impairment.loss_ratio for impairment in impairments)


def _hop(plan: Plan, ttl: int, sender: str, receiver: str, *, last: bool, ipv6: bool) -> HopTruth:
    """A router answers from the interface the probe came in by, the destination as itself.

    In IPv6 all answer as themselves.
    """
    itself = plan.nodes[receiver].address
    address: Address = itself if last else plan.interface(receiver, sender).address
    if ipv6:
        address = twin(itself)
    return HopTruth(
        ttl=ttl,
        node=receiver,
        address=address,
        asn=plan.topology.nodes[receiver].asn,
        address_asn=plan.asn_of(address) or plan.topology.nodes[receiver].asn,
        icmp=plan.topology.nodes[receiver].icmp,
    )
