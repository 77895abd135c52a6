"""The paths that times are compared on."""

from __future__ import annotations

from collections.abc import Sequence

from emodis.lab.generate import FIRST_ASN, systems
from emodis.lab.impairment import Impairment
from emodis.lab.topology import IcmpLimits, Kind, Link, Node, Topology

WIRE_BPS, FAST_BPS = 10_000_000_000, 100_000_000
# 38 ms there and back, over eleven hops (LAB.md 4).
DELAYS_MS = (1, 0.5, 3, 2, 1, 4, 1.5, 2, 0, 1, 3)


def direct() -> Topology:
    """Two hosts and nothing between them that takes time."""
    return _line("direct", [0.0], WIRE_BPS)


def near() -> Topology:
    """Four links without delay: what is measured is the measuring."""
    return _line("near", [0.0] * 4, FAST_BPS)


def eleven_hops() -> Topology:
    """Routers and a destination that answer freely."""
    return _line("eleven", [delay / 1000 for delay in DELAYS_MS], FAST_BPS)


def _line(name: str, delays_s: Sequence[float], bps: int) -> Topology:
    names = ["h1", *(f"r{k}" for k in range(1, len(delays_s))), "h2"]
    nodes = [
        Node(
            name=one,
            kind=Kind.HOST if one.startswith("h") else Kind.ROUTER,
            asn=FIRST_ASN,
            icmp=IcmpLimits.FREE,
        )
        for one in names
    ]
    links = [
        Link(
            a=names[k],
            b=names[k + 1],
            capacity_up_bps=bps,
            capacity_down_bps=bps,
            up=Impairment(delay_s=delay_s),
            down=Impairment(delay_s=delay_s),
        )
        for k, delay_s in enumerate(delays_s)
    ]
    return Topology(
        name=name,
        systems=systems(1),
        nodes={node.name: node for node in nodes},
        links=tuple(links),
    )
