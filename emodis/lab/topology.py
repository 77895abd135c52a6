"""A virtual Internet as its author declares it: nodes in autonomous systems, links, cross traffic.

All rates are Ethernet bits per second (IP packet + 14 bytes), because that is what the shapers
count; packet sizes are IP bytes. Values check themselves and each other; `topofile` reads and
writes them as TOML and adds the file's name to a complaint.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Mapping, Sequence

import attrs

from emodis.lab import impairment
from emodis.lab.impairment import Impairment

ETHERNET_BYTES = 14
MTU_BYTES = 1500
# Names become interface names ("to-" + 12 = 15, the kernel's limit) and host names.
NAME = re.compile(r"[a-z][a-z0-9-]{0,11}")
LAB_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
MIN_CAPACITY_BPS, MAX_CAPACITY_BPS = 100_000, 10_000_000_000
MAX_SYSTEMS = 255
DEFAULT_QUEUE_BYTES = 1_000_000
DEFAULT_ICMP_PER_S = 10


class TopologyError(ValueError):
    """A topology that cannot be built; the text names the table and says what to write."""


class Kind(enum.Enum):
    """What a node is. Only routers forward."""

    ROUTER = "router"
    HOST = "host"


class IcmpLimits(enum.Enum):
    """How freely a node sends ICMP errors.

    Without limits; as an untouched Linux does; at most so many a second to each address
    (`Node.icmp_per_s`, after a burst of six); or never, and no echo replies either.
    """

    FREE = "free"
    LINUX = "linux"
    LIMITED = "limited"
    SILENT = "silent"


class Balance(enum.Enum):
    """Whether a router uses one of equally good ways, or spreads flows (by 5-tuple) over all."""

    NONE = "none"
    FLOW = "flow"


class Model(enum.Enum):
    """How cross traffic spaces its packets: evenly, or at random (exponential gaps)."""

    CBR = "cbr"
    POISSON = "poisson"


class Wake(enum.Enum):
    """Whether the generator wakes for each packet or once per millisecond.

    The tick saves CPU and sends lumps: right for utilisation behind a shaper, wrong for bursts.
    """

    PACKET = "packet"
    TICK = "tick"


@attrs.frozen(kw_only=True)
class System:
    """An autonomous system."""

    asn: int
    name: str


@attrs.frozen(kw_only=True)
class Node:
    """A host or a router.

    `nat_for` names hosts of this router that it hides behind its own addresses (IPv4 alone).
    `quote_bytes` is what its "time exceeded" quotes behind the IP header (RFC 792 asks for 8; not
    given: as much as fits, as Linux does); again IPv4 alone.
    """

    name: str
    kind: Kind
    asn: int
    icmp: IcmpLimits
    icmp_per_s: int = DEFAULT_ICMP_PER_S
    balance: Balance = Balance.NONE
    nat_for: tuple[str, ...] = ()
    quote_bytes: int | None = None


@attrs.frozen(kw_only=True)
class Link:
    """A link between two nodes; "up" is from `a` to `b`, so declare the customer as `a`.

    `burst_bytes` is what its shaper lets pass at once after a rest; if not given, as little as
    keeps the rate.
    """

    a: str
    b: str
    capacity_up_bps: int
    capacity_down_bps: int
    queue_bytes: int = DEFAULT_QUEUE_BYTES
    burst_bytes: int | None = None
    metric: int = 1
    up: Impairment = impairment.NONE
    down: Impairment = impairment.NONE

    def __str__(self) -> str:
        return f"{self.a} - {self.b}"

    @property
    def ends(self) -> frozenset[str]:
        return frozenset((self.a, self.b))

    def capacity_bps(self, sender: str) -> int:
        """Ethernet bits per second that leave `sender` over this link."""
        return self.capacity_up_bps if sender == self.a else self.capacity_down_bps

    def impairment(self, sender: str) -> Impairment:
        """What happens to packets that `sender` sends over this link."""
        return self.up if sender == self.a else self.down

    @property
    def wired(self) -> bool:
        """Whether a process must carry its packets: either way delays or copies them."""
        return self.up.wired or self.down.wired


@attrs.frozen(kw_only=True)
class Traffic:
    """Cross traffic over exactly one link, in one direction.

    `rate_bps` is the mean in Ethernet bits; each packet's size is drawn from `packet_bytes`.
    """

    sender: str
    receiver: str
    model: Model
    rate_bps: int
    packet_bytes: tuple[int, ...]
    seed: int
    wake: Wake = Wake.PACKET

    def __str__(self) -> str:
        return f"{self.sender} -> {self.receiver}"


@attrs.frozen(kw_only=True)
class Topology:
    """A whole virtual Internet.

    Raises:
        TopologyError: if the parts do not fit each other.
    """

    name: str
    systems: Mapping[int, System]
    nodes: Mapping[str, Node]
    links: Sequence[Link]
    traffic: Sequence[Traffic] = ()

    def __attrs_post_init__(self) -> None:
        for complaint in _complaints(self):
            raise TopologyError(complaint)

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(name for name, node in self.nodes.items() if node.kind is Kind.HOST)

    @property
    def routers(self) -> tuple[str, ...]:
        return tuple(name for name, node in self.nodes.items() if node.kind is Kind.ROUTER)

    def links_of(self, node: str) -> tuple[Link, ...]:
        return tuple(link for link in self.links if node in link.ends)

    def link_between(self, one: str, other: str) -> Link | None:
        wanted = frozenset((one, other))
        return next((link for link in self.links if link.ends == wanted), None)

    def nat_of(self, host: str) -> str | None:
        """The router that hides a host, if one does."""
        return next((name for name, node in self.nodes.items() if host in node.nat_for), None)

    def cross_bps(self, sender: str, receiver: str) -> int:
        """All cross traffic from `sender` to its neighbour, in Ethernet bits per second."""
        return sum(t.rate_bps for t in self.traffic if (t.sender, t.receiver) == (sender, receiver))


def _complaints(topology: Topology) -> Iterator[str]:
    """Everything wrong, the plainest first; later checks rely on the earlier ones."""
    yield from _about_names(topology)
    yield from _about_links(topology)
    yield from _about_nat(topology)
    yield from _about_reach(topology)
    yield from _about_traffic(topology)


def _about_names(topology: Topology) -> Iterator[str]:
    if not LAB_NAME.fullmatch(topology.name):
        yield f"name {topology.name!r}: use at most 40 of a-z, 0-9 and -, beginning with a letter"
    if len(topology.systems) > MAX_SYSTEMS:
        yield f"[as]: {len(topology.systems)} systems are declared, the lab has room for 255"
    if not topology.hosts:
        yield '[nodes]: there is no host; declare one, e.g. h1 = { kind = "host", asn = 65001 }'
    for name, node in topology.nodes.items():
        if not NAME.fullmatch(name):
            yield (
                f"[nodes.{name}]: a node's name has at most 12 of a-z, 0-9 and -, "
                "and begins with a letter"
            )
        if node.balance is not Balance.NONE and node.kind is Kind.HOST:
            yield f"[nodes.{name}]: a host has one link and nothing to balance; remove balance"
        if node.asn not in topology.systems:
            yield f"[nodes.{name}]: AS {node.asn} is not declared; add [as.{node.asn}] with a name"


def _about_links(topology: Topology) -> Iterator[str]:
    seen: set[frozenset[str]] = set()
    for link in topology.links:
        for end in (link.a, link.b):
            if end not in topology.nodes:
                yield f"[[links]] {link}: there is no node {end!r}; declare [nodes.{end}]"
        if link.a == link.b:
            yield f"[[links]] {link}: a link joins two different nodes"
        if link.ends in seen:
            yield f"[[links]] {link}: declared twice; two nodes share one link at most"
        seen.add(link.ends)
    for host in topology.hosts:
        if len(topology.links_of(host)) != 1:
            count = len(topology.links_of(host))
            yield f"[nodes.{host}]: a host has exactly one link, this one has {count}"


def _about_nat(topology: Topology) -> Iterator[str]:
    for name, node in topology.nodes.items():
        for inside in node.nat_for:
            if inside not in topology.hosts or topology.link_between(name, inside) is None:
                yield f"[nodes.{name}]: nat_for names {inside!r}; name hosts with a link to {name}"
        if node.quote_bytes is not None and (node.kind, node.icmp) != (
            Kind.ROUTER,
            IcmpLimits.FREE,
        ):
            yield f'[nodes.{name}]: quote_bytes is for routers with icmp = "free"'


def _about_reach(topology: Topology) -> Iterator[str]:
    first = next(iter(topology.nodes))
    neighbours: dict[str, set[str]] = {name: set() for name in topology.nodes}
    for link in topology.links:
        neighbours[link.a].add(link.b)
        neighbours[link.b].add(link.a)
    reached, frontier = {first}, [first]
    while frontier:
        new = neighbours[frontier.pop()] - reached
        reached |= new
        frontier.extend(new)
    for name in topology.nodes:
        if name not in reached:
            yield f"[nodes.{name}]: cannot be reached from {first}; add a link between the parts"


def _about_traffic(topology: Topology) -> Iterator[str]:
    for traffic in topology.traffic:
        link = topology.link_between(traffic.sender, traffic.receiver)
        if link is None:
            yield f"[[traffic]] {traffic}: no link joins these two; name the two ends of one link"
            return
        total_bps, capacity_bps = (
            topology.cross_bps(traffic.sender, traffic.receiver),
            link.capacity_bps(traffic.sender),
        )
        if total_bps >= capacity_bps:
            yield (
                f"[[traffic]] {traffic}: {total_bps} bit/s of cross traffic do not fit a link "
                f"of {capacity_bps} bit/s; lower rate_bps"
            )
