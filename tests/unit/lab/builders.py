"""Topologies for tests: small text, whole networks drawn at random."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from emodis.lab.impairment import Impairment
from emodis.lab.topofile import parse
from emodis.lab.topology import (
    Balance,
    IcmpLimits,
    Kind,
    Link,
    Model,
    Node,
    System,
    Topology,
    Traffic,
)

SMALL = """
name = "small"
[as.65001]
name = "Left"
[as.65002]
name = "Right"
[nodes]
h1 = { kind = "host", asn = 65001 }
r1 = { kind = "router", asn = 65001 }
r2 = { kind = "router", asn = 65002 }
h2 = { kind = "host", asn = 65002 }
[[links]]
a = "h1"
b = "r1"
capacity_up_bps = 4_000_000
capacity_down_bps = 10_000_000
[[links]]
a = "r1"
b = "r2"
capacity_bps = 50_000_000
[[links]]
a = "h2"
b = "r2"
capacity_bps = 100_000_000
[[traffic]]
link = ["r1", "r2"]
model = "poisson"
rate_bps = 30_000_000
"""


def small(text: str = SMALL) -> Topology:
    return parse(text, place="small.toml", default_name="small")


@st.composite
def topologies(draw: st.DrawFn) -> Topology:
    """Connected networks of 1 to 8 routers in 1 to 3 ASes with 2 to 4 hosts."""
    routers = [f"r{k}" for k in range(draw(st.integers(1, 8)))]
    hosts = [f"h{k}" for k in range(draw(st.integers(2, 4)))]
    systems = draw(st.integers(1, 3))
    asn = st.integers(1, systems).map(lambda k: 65000 + k)
    kinds = [(name, Kind.ROUTER) for name in routers] + [(name, Kind.HOST) for name in hosts]
    nodes = {
        name: Node(name=name, kind=kind, asn=draw(asn), **draw(manners(kind)))
        for name, kind in kinds
    }
    pairs = [(b, draw(st.sampled_from(routers[:k]))) for k, b in enumerate(routers) if k]
    pairs += [(host, draw(st.sampled_from(routers))) for host in hosts]
    if len(routers) > 1:
        chord = st.lists(st.sampled_from(routers), min_size=2, max_size=2, unique=True)
        for a, b in draw(st.lists(chord.map(tuple), max_size=6)):
            if frozenset((a, b)) not in {frozenset(pair) for pair in pairs}:
                pairs.append((a, b))
    links = tuple(_link(draw, a, b) for a, b in pairs)
    return Topology(
        name="drawn",
        systems={65000 + k: System(asn=65000 + k, name=f"AS {k}") for k in range(1, systems + 1)},
        nodes=nodes,
        links=links,
        traffic=tuple(_traffic(draw, link) for link in links if draw(st.booleans())),
    )


@st.composite
def manners(draw: st.DrawFn, kind: Kind) -> dict[str, Any]:
    """How a node answers and forwards."""
    found: dict[str, Any] = {"icmp": draw(st.sampled_from(IcmpLimits))}
    if found["icmp"] is IcmpLimits.LIMITED:
        found["icmp_per_s"] = draw(st.integers(1, 50))
    if kind is Kind.ROUTER and found["icmp"] is IcmpLimits.FREE:
        found["quote_bytes"] = draw(st.none() | st.integers(8, 528))
    if kind is Kind.ROUTER and draw(st.integers(0, 4)) == 0:
        found["balance"] = Balance.FLOW
    return found


def _link(draw: st.DrawFn, a: str, b: str) -> Link:
    rate = st.integers(100_000, 1_000_000_000)
    return Link(
        a=a,
        b=b,
        capacity_up_bps=draw(rate),
        capacity_down_bps=draw(rate),
        burst_bytes=draw(st.none() | st.integers(1514, 100_000)),
        metric=draw(st.integers(1, 3)),
        up=draw(impairments()),
        down=draw(impairments()),
    )


def impairments() -> st.SearchStrategy[Impairment]:
    ratios, times = st.sampled_from([0.0, 1e-05, 0.1, 1.0]), st.sampled_from([0.0, 0.00025, 0.1])
    return st.builds(
        Impairment,
        delay_s=times,
        jitter_s=times,
        loss_ratio=ratios,
        duplicate_ratio=ratios,
        reorder_ratio=ratios,
        reorder_by_s=times,
    )


def _traffic(draw: st.DrawFn, link: Link) -> Traffic:
    return Traffic(
        sender=link.a,
        receiver=link.b,
        model=draw(st.sampled_from(Model)),
        rate_bps=draw(st.integers(1_000, link.capacity_up_bps - 1)),
        packet_bytes=draw(st.sampled_from([(1500,), (100, 1500)])),
        seed=draw(st.integers(0, 100)),
    )
