"""Who a probe belongs to: the fields that stay constant and the ids that tell probes apart."""

from __future__ import annotations

import random
from ipaddress import IPv4Address

import attrs

from emodis.packets.model import Kind

# Never incremented as in classic traceroute: another port would be another flow.
UDP_PORT = 33434
# Probe ids are 1..0xFFFE: a UDP checksum of 0 means "none", and 0xFFFF is 0 to a checksum.
ID_COUNT = 0xFFFE
# Train.flow is below this.
FLOW_COUNT = 256
UDP_SOURCE_PORTS = range(33434, 65001)
ICMP_IDS = range(1, 0x10000)


@attrs.frozen(kw_only=True)
class Flow:
    """What every packet of one train has in common.

    `ident` is the UDP source port or the ICMP identifier. `check` is the constant ICMP checksum;
    UDP has none, there the checksum field carries the probe id.
    """

    kind: Kind
    source: IPv4Address
    target: IPv4Address
    ident: int
    check: int = 0


@attrs.frozen(kw_only=True)
class Identity:
    """The numbers that one run draws, so that nobody else's packets look like its own."""

    source: IPv4Address
    target: IPv4Address
    udp_base: int
    icmp_base: int
    check: int
    first_id: int

    @classmethod
    def draw(cls, source: IPv4Address, target: IPv4Address, chance: random.Random) -> Identity:
        """Draw ports, ids and the first probe id of a run at random."""
        return cls(
            source=source,
            target=target,
            udp_base=chance.randrange(UDP_SOURCE_PORTS.start, UDP_SOURCE_PORTS.stop - FLOW_COUNT),
            icmp_base=chance.randrange(ICMP_IDS.start, ICMP_IDS.stop - FLOW_COUNT),
            check=chance.randrange(1, 0xFFFF),
            first_id=chance.randrange(1, ID_COUNT + 1),
        )

    def idents(self, kind: Kind) -> range:
        """Every source port or ICMP id this run may use."""
        base = self.udp_base if kind is Kind.UDP else self.icmp_base
        return range(base, base + FLOW_COUNT)

    def flow(self, kind: Kind, number: int) -> Flow:
        """The flow with this number (ValueError outside 0..255)."""
        if not 0 <= number < FLOW_COUNT:
            raise ValueError(f"flow number {number} is outside 0..{FLOW_COUNT - 1}")
        return Flow(
            kind=kind,
            source=self.source,
            target=self.target,
            ident=self.idents(kind)[number],
            check=self.check,
        )

    def overlaps(self, other: Identity) -> bool:
        """Whether a late answer to one of the two could be taken for an answer to the other."""
        return self.target == other.target and (
            abs(self.udp_base - other.udp_base) < FLOW_COUNT
            or abs(self.icmp_base - other.icmp_base) < FLOW_COUNT
        )


@attrs.frozen
class IdBlock:
    """Consecutive probe ids, wrapping from 0xFFFE to 1."""

    first: int
    count: int

    def at(self, index: int) -> int:
        """The id of the probe with this index."""
        return (self.first - 1 + index) % ID_COUNT + 1

    def index(self, probe_id: int) -> int | None:
        """Which probe has this id; None if none of the block has."""
        if not 1 <= probe_id <= ID_COUNT:
            return None
        index = (probe_id - self.first) % ID_COUNT
        return index if index < self.count else None

    def __contains__(self, probe_id: object) -> bool:
        return isinstance(probe_id, int) and self.index(probe_id) is not None
