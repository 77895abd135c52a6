"""Who a probe belongs to: the fields that stay constant and the ids that tell probes apart."""

from __future__ import annotations

import random

import attrs

from emodis.packets.model import Address, FlowKey, Kind

# The destination port unless a train has another; never incremented as in classic traceroute,
# because another port would be another flow.
UDP_PORT = 33434
# Probe ids are 1..0xFFFE: a UDP checksum of 0 means "none", and 0xFFFF is 0 to a checksum.
ID_COUNT = 0xFFFE
# Train.flow is below this.
FLOW_COUNT = 256
# Not the port above: a packet with both ports alike could be an answer to itself.
SOURCE_PORTS = range(UDP_PORT + 1, 65001)
ICMP_IDS = range(1, 0x10000)
# IPv6 flow labels have 20 bits, and 0 means none.
FLOW_LABELS = range(1, 1 << 20)
# ICMP checksums that a payload word can bring about.
_CHECKS = 0xFFFE


@attrs.frozen(kw_only=True)
class Flow:
    """What every packet of one train has in common.

    `ident` is the UDP or TCP source port or the ICMP identifier, `port` the destination port.
    `check` is the constant ICMP checksum; UDP has none, there the checksum field carries the probe
    id. `label` is the IPv6 flow label. `secret` is the half of a TCP sequence number that carries
    no id; with IPv6 it stands beside the id in the payload of the others. `tag`: see `model.Train`.
    """

    kind: Kind
    source: Address
    target: Address
    ident: int
    port: int = UDP_PORT
    dscp: int = 0
    df: bool = True
    check: int = 0
    label: int = 0
    secret: int = 0
    tag: bytes = b""

    @property
    def key(self) -> FlowKey:
        """The fields that load balancers tell it by."""
        label = self.label if self.target.version == 6 else None
        if self.kind is Kind.ICMP_ECHO:
            return FlowKey(icmp_ident=self.ident, icmp_checksum=self.check, flow_label=label)
        return FlowKey(source_port=self.ident, destination_port=self.port, flow_label=label)


@attrs.frozen(kw_only=True)
class Identity:
    """The numbers that one run draws, so that nobody else's packets look like its own."""

    source: Address
    target: Address
    port_base: int
    icmp_base: int
    check_base: int
    label_base: int
    secret: int
    first_id: int

    @classmethod
    def draw(cls, source: Address, target: Address, chance: random.Random) -> Identity:
        """Draw ports, ids and the first probe id of a run at random."""

        def base(choice: range) -> int:
            return chance.randrange(choice.start, choice.stop - FLOW_COUNT)

        return cls(
            source=source,
            target=target,
            port_base=base(SOURCE_PORTS),
            icmp_base=base(ICMP_IDS),
            check_base=base(range(1, _CHECKS + 1)),
            label_base=base(FLOW_LABELS),
            secret=chance.getrandbits(16),
            first_id=chance.randrange(1, ID_COUNT + 1),
        )

    def idents(self, kind: Kind) -> range:
        """Every source port or ICMP id this run may use."""
        base = self.icmp_base if kind is Kind.ICMP_ECHO else self.port_base
        return range(base, base + FLOW_COUNT)

    def flow(
        self,
        kind: Kind,
        number: int,
        *,
        port: int = UDP_PORT,
        dscp: int = 0,
        df: bool = True,
        tag: bytes = b"",
    ) -> Flow:
        """The flow with this number: all that load balancers look at differs from the others'.

        Raises:
            ValueError: for a number outside 0..255, a port outside 1..65535, a DSCP outside 0..63,
                a tag on anything but UDP.
        """
        if not 0 <= number < FLOW_COUNT:
            raise ValueError(f"flow number {number} is outside 0..{FLOW_COUNT - 1}")
        if not 1 <= port <= 0xFFFF:
            raise ValueError(f"a destination port of {port} is outside 1..65535")
        if not 0 <= dscp <= 63:
            raise ValueError(f"a DSCP of {dscp} is outside 0..63")
        if tag and kind is not Kind.UDP:
            raise ValueError("only UDP probes can have a tag")
        return Flow(
            kind=kind,
            source=self.source,
            target=self.target,
            ident=self.idents(kind)[number],
            port=port,
            dscp=dscp,
            df=df,
            check=self.check_base + number,
            label=self.label_base + number,
            secret=self.secret,
            tag=tag,
        )

    def overlaps(self, other: Identity) -> bool:
        """Whether a late answer to one of the two could be taken for an answer to the other."""
        return self.target == other.target and (
            abs(self.port_base - other.port_base) < FLOW_COUNT
            or abs(self.icmp_base - other.icmp_base) < FLOW_COUNT
        )


@attrs.define
class Ids:
    """Hands out the probe ids of one run, from a random first one."""

    first: int
    used: int = 0

    @property
    def all(self) -> IdBlock:
        """Every id given out so far."""
        return IdBlock(self.first, self.used)

    def take(self, count: int) -> IdBlock:
        """The next ids; unique within the run, so there is an end to them (ValueError)."""
        if self.used + count > ID_COUNT:
            raise ValueError(f"a run cannot have more than {ID_COUNT} probes")
        block = IdBlock(self.all.at(self.used), count)
        self.used += count
        return block


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
