"""How far a probe got: to the destination, or to a router that refuses to pass it on."""

from __future__ import annotations

from collections.abc import Sequence

from emodis.packets.model import ReplyKind
from emodis.techniques import records
from emodis.wire.v1.techniques_pb2 import ProbeRecord, TrainRecord

# Only the host that a probe was meant for says these.
_TARGETS_OWN = frozenset(
    {ReplyKind.ECHO_REPLY, ReplyKind.DATAGRAM, ReplyKind.SYN_ACK, ReplyKind.RESET}
)


def arrived(probe: ProbeRecord, target: bytes, *, proto: str = "udp") -> bool:
    """True if the probe got as far as the destination, by whatever address it answers.

    A port unreachable from another address is that of a host with several, or of a firewall that
    rejects in its place; for ICMP and TCP it is always a firewall's.
    """
    kind = records.reply_kind(probe)
    if kind in _TARGETS_OWN or (proto == "udp" and records.is_port_unreachable(probe)):
        return True
    return kind is ReplyKind.UNREACHABLE and probe.address == target


def refused(probe: ProbeRecord, target: bytes, *, proto: str = "udp") -> bool:
    """True if a router said that there is no way on."""
    unreachable = records.reply_kind(probe) is ReplyKind.UNREACHABLE
    return unreachable and not arrived(probe, target, proto=proto)


def destination_ttl(
    trains: Sequence[TrainRecord], target: bytes, *, proto: str = "udp"
) -> int | None:
    """The smallest TTL that the destination answered."""
    ttls = [
        probe.ttl
        for train in trains
        for probe in train.probes
        if arrived(probe, target, proto=proto)
    ]
    return min(ttls, default=None)
