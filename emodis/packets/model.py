"""What to send and what came of it. No sockets: `raw` does those.

Techniques speak only this language, so an estimator never knows which transport made its numbers.
All times are int nanoseconds; those of probes and replies are of one Unix clock (CLOCK_REALTIME,
because kernel receive stamps are), so only differences within a run mean anything.
"""

from __future__ import annotations

import enum
from ipaddress import IPv4Address, IPv6Address

import attrs

Address = IPv4Address | IPv6Address


class Kind(enum.Enum):
    """What the measurement packets are made of."""

    ICMP_ECHO = "icmp-echo"
    UDP = "udp"
    TCP_SYN = "tcp-syn"


class ReplyKind(enum.Enum):
    """What sort of answer arrived (the paper, section 5, and what UDP and TCP add)."""

    ECHO_REPLY = "echo-reply"
    TIME_EXCEEDED = "time-exceeded"
    UNREACHABLE = "unreachable"
    # The target's own words from the probed port; their ICMP type and code are 0.
    DATAGRAM = "datagram"
    SYN_ACK = "syn-ack"
    RESET = "reset"


class Mark(enum.Enum):
    """What was odd about an answer (TECHNIQUES.md 2, matching)."""

    # The quoted source address or port is not ours: something rewrites them.
    NAT = "nat"
    # One of the two carriers of the probe's id was changed on the way.
    QUOTE_ALTERED = "quote_altered"


@attrs.frozen(kw_only=True)
class MplsLabel:
    """One entry of a label stack that a router reported (RFC 4950)."""

    label: int
    traffic_class: int
    bottom: bool
    ttl: int


@attrs.frozen(kw_only=True)
class InterfaceInfo:
    """What a router says of one of its interfaces (RFC 5837); None or empty: not said.

    `role`: 0 the probe came in by it, 1 the same below IP, 2 it would have left by it, 3 the next
    hop of that.
    """

    role: int
    index: int | None = None
    address: Address | None = None
    name: str = ""
    mtu_bytes: int | None = None


@attrs.frozen(kw_only=True)
class FlowKey:
    """What load balancers tell the flow of a train by; None: its packets have no such field.

    UDP and TCP have ports, ICMP an identifier and a constant checksum, IPv6 a flow label.
    """

    source_port: int | None = None
    destination_port: int | None = None
    icmp_ident: int | None = None
    icmp_checksum: int | None = None
    flow_label: int | None = None


@attrs.frozen(kw_only=True)
class Probe:
    """One packet.

    `size_bytes` is the whole IP packet. `after_ns` is the wished time since the packet before it
    in the same train; neighbours with 0 leave through one system call. A `muted` UDP probe has a
    wrong checksum: routers expire or forward it as usual, the destination drops it silently. In a
    train with a tag its checksum is right, and it does not ask to be answered.
    """

    ttl: int
    size_bytes: int
    after_ns: int = 0
    muted: bool = False


@attrs.frozen(kw_only=True)
class Train:
    """Probes sent as one group, all with one flow identifier (Paris).

    The exchange is over when every probe listed in `awaited` (indexes into `probes`; None = every
    probe that is not muted) has its answer, when nothing has arrived for `settle_ns` since the last
    answer (None = no such rule), or `wait_ns` after the last packet left, whichever comes first.
    An answer of the target itself to a probe with TTL t means that probes with a larger TTL are
    no longer awaited.
    """

    kind: Kind
    probes: tuple[Probe, ...]
    wait_ns: int
    settle_ns: int | None = None
    awaited: frozenset[int] | None = None
    # Earliest start, counted from the first packet of the train before it in this run.
    not_before_ns: int = 0
    # Another number is another flow (source port or ICMP id; with IPv6 the flow label, too).
    flow: int = 0
    # Destination port of UDP and TCP; never incremented, else it would be another flow.
    port: int = 33434
    dscp: int = 0
    # Routers may not cut packets up (IPv4; over IPv6 they never do).
    df: bool = True
    # UDP only: the secret shared with a destination that listens on `port` and answers the probes
    # that are not muted (`invitation`); empty = it does not cooperate.
    tag: bytes = b""
    # SYNs only: every probe is a flow of its own, from `flow` on. While a port that is open waits
    # for the rest of a handshake, another SYN from the same port is not answered, so SYNs of one
    # flow that follow one another within a round trip look lost.
    spread: bool = False
    # How far the run is when this train has been sent, for people: (done, total).
    progress: tuple[int, int] | None = None


@attrs.frozen(kw_only=True)
class Reply:
    """The first answer to a probe."""

    received_ns: int
    address: Address
    kind: ReplyKind
    icmp_type: int
    icmp_code: int
    ttl: int
    # TTL of our packet as the router quotes it; None where nothing is quoted.
    quoted_ttl: int | None
    # Its TOS byte or traffic class there: a router may have rewritten the DSCP.
    quoted_tos: int | None = None
    marks: frozenset[Mark] = frozenset()
    # Outermost first.
    mpls: tuple[MplsLabel, ...] = ()
    interfaces: tuple[InterfaceInfo, ...] = ()
    # When the probe arrived at a destination that cooperates, by the clock of its kernel.
    far_ns: int | None = None


@attrs.frozen(kw_only=True)
class Echo:
    """What one probe experienced. `sent_ns` is None when it never left, `reply` when none came.

    `sent_ns` is the departure from the interface (kernel transmit stamp, after any shaper of this
    host). `queued_ns` is when the packet was handed to the interface's queue, before that shaper
    (kernel SCHED stamp, else interpolated between the clock before and after the send call): the
    train as the sender meant it, which is what hop 0 of Pathneck compares the first link with.
    """

    sent_ns: int | None
    reply: Reply | None
    queued_ns: int | None = None


@attrs.frozen(kw_only=True)
class TrainOutcome:
    """One echo per probe, in sending order, and what is known about their quality."""

    echoes: tuple[Echo, ...]
    kernel_tx: bool
    kernel_rx: bool
    duplicates: int = 0
    unmatched: int = 0
    receive_drops: int = 0
    # `stop_by`, an abort or the byte cap ended the train before its last packet.
    cut_short: bool = False
    # The kernel opened a connection for each SYN: it gave each a source port of its own, and
    # repeated it after a second.
    by_connect: bool = False
    # None: the packets had no flow in common, or the kernel does not tell.
    flow_key: FlowKey | None = None
