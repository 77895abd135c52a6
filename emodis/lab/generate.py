"""Seeded topologies: the same seed gives the same network, on every machine.

`random_path` is what the benchmarks measure on: a line of routers whose bottleneck is known by
construction. `random_internet` is for trying things where nothing is known beforehand.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator

from emodis.lab.topology import (
    MTU_BYTES,
    IcmpLimits,
    Kind,
    Link,
    Model,
    Node,
    System,
    Topology,
    Traffic,
)

MBPS = 1_000_000
MIN_LINKS, MAX_LINKS = 5, 9
MIN_BPS, MAX_BPS = 1 * MBPS, 100 * MBPS
# Every other link carries at least so much more than the bottleneck: an answer is right or wrong.
CLEAR_RATIO = 1.5
MIN_CROSS_RATIO, MAX_CROSS_RATIO = 0.3, 0.7
FIRST_ASN = 65001


def random_path(
    seed: int,
    *,
    links: int | None = None,
    bottleneck: int | None = None,
    cross_ratio: float | None = None,
    flat: bool = False,
) -> Topology:
    """A line h1 - r1 - ... - h2, the same in both directions but for the cross traffic (forward).

    Args:
        seed: decides everything that is not given.
        links: how many; else 5 to 9.
        bottleneck: which link is narrow, counted from 1; else any of them.
        cross_ratio: share of the narrow link that Poisson traffic fills, 0..1; else nothing for
            even seeds and 0.3 to 0.7 for odd ones.
        flat: all links alike and idle: there is no bottleneck behind the first link.
    """
    chance = random.Random(f"path {seed}")
    count = links or chance.randint(MIN_LINKS, MAX_LINKS)
    narrow = bottleneck or chance.randint(1, count)
    narrow_bps = random_rate_bps(chance, MIN_BPS, MAX_BPS / CLEAR_RATIO)
    drawn_ratio = MIN_CROSS_RATIO + (MAX_CROSS_RATIO - MIN_CROSS_RATIO) * chance.random()
    ratio = cross_ratio if cross_ratio is not None else drawn_ratio * (seed % 2)
    capacities = [random_rate_bps(chance, narrow_bps * CLEAR_RATIO, MAX_BPS) for _ in range(count)]
    capacities[narrow - 1] = narrow_bps
    if flat:
        capacities, ratio = [narrow_bps] * count, 0.0
    names = ["h1", *(f"r{k}" for k in range(1, count)), "h2"]
    traffic: tuple[Traffic, ...] = ()
    if ratio:
        traffic = (_load(names[narrow - 1], names[narrow], narrow_bps * ratio, seed),)
    return Topology(
        name=f"{'flat' if flat else 'path'}-{seed}",
        systems=systems(2),
        nodes={name: _node(name, FIRST_ASN + (k > count // 2)) for k, name in enumerate(names)},
        links=tuple(
            Link(a=a, b=b, capacity_up_bps=bps, capacity_down_bps=bps)
            for a, b, bps in zip(names, names[1:], capacities, strict=False)
        ),
        traffic=traffic,
    )


def random_internet(seed: int, *, transits: int = 3, edges: int = 5) -> Topology:
    """Transit ASes in a ring with chords, edge ASes below them, one host in each edge AS.

    Each edge AS buys from one or two transits. Host access is 5 to 50 Mbit/s, all else 100, and two
    random transit links carry Poisson traffic.
    """
    chance = random.Random(f"internet {seed}")
    cores = [f"t{k}{side}" for k in range(1, transits + 1) for side in "ab"]
    nodes = {name: _node(name, FIRST_ASN + k // 2) for k, name in enumerate(cores)}
    links = [_plain(a, b) for a, b in itertools.pairwise(cores)]
    if transits > 1:
        links.append(_plain(cores[-1], cores[0], metric=2))
    loaded = chance.sample(links, min(2, len(links)))
    for k in range(1, edges + 1):
        asn = FIRST_ASN + transits + k - 1
        border, access, host = f"e{k}b", f"e{k}a", f"h{k}"
        nodes |= {name: _node(name, asn) for name in (border, access, host)}
        upstreams = chance.sample(cores, chance.choice((1, 2)))
        links += [_plain(upstream, border) for upstream in upstreams]
        links.append(_plain(border, access))
        down_bps = random_rate_bps(chance, 5 * MBPS, 50 * MBPS)
        links.append(
            Link(a=host, b=access, capacity_up_bps=down_bps // 2, capacity_down_bps=down_bps)
        )
    return Topology(
        name=f"internet-{seed}",
        systems=systems(transits + edges),
        nodes=nodes,
        links=tuple(links),
        traffic=tuple(_loads(chance, loaded, seed)),
    )


def _loads(chance: random.Random, links: list[Link], seed: int) -> Iterator[Traffic]:
    for k, link in enumerate(links):
        rate_bps = random_rate_bps(chance, 5 * MBPS, 20 * MBPS)
        yield _load(link.a, link.b, rate_bps, seed + k)


def _load(sender: str, receiver: str, rate_bps: float, seed: int) -> Traffic:
    return Traffic(
        sender=sender,
        receiver=receiver,
        model=Model.POISSON,
        rate_bps=round(rate_bps),
        packet_bytes=(MTU_BYTES,),
        seed=seed,
    )


def random_rate_bps(chance: random.Random, low_bps: float, high_bps: float) -> int:
    """Log-uniform, so that slow links are as likely as fast ones; whole 10 kbit/s."""
    log_bps = math.log(low_bps) + (math.log(high_bps) - math.log(low_bps)) * chance.random()
    return math.ceil(math.exp(log_bps) / 10_000) * 10_000


def systems(count: int) -> dict[int, System]:
    numbers = range(FIRST_ASN, FIRST_ASN + count)
    return {asn: System(asn=asn, name=f"Network {asn - FIRST_ASN + 1}") for asn in numbers}


def _node(name: str, asn: int) -> Node:
    if name.startswith("h"):
        return Node(name=name, kind=Kind.HOST, asn=asn, icmp=IcmpLimits.LINUX)
    return Node(name=name, kind=Kind.ROUTER, asn=asn, icmp=IcmpLimits.FREE)


def _plain(a: str, b: str, metric: int = 1) -> Link:
    return Link(a=a, b=b, capacity_up_bps=MAX_BPS, capacity_down_bps=MAX_BPS, metric=metric)
