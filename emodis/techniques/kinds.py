"""Which kinds of packets a call needs, and what a host lacks of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from emodis.wire.v1.common_pb2 import (
    PACKET_KIND_ICMP,
    PACKET_KIND_MUTED,
    PACKET_KIND_TCP,
    PACKET_KIND_TCP_FLOW,
    PACKET_KIND_UDP,
    Body,
    PacketKind,
)

Kinds = frozenset[PacketKind.ValueType]
NOTHING: Kinds = frozenset()

BY_PROTO = {"icmp": PACKET_KIND_ICMP, "udp": PACKET_KIND_UDP, "tcp": PACKET_KIND_TCP}
WORDS = {
    PACKET_KIND_ICMP: "ICMP echo",
    PACKET_KIND_UDP: "UDP",
    PACKET_KIND_TCP: "TCP",
    PACKET_KIND_TCP_FLOW: "TCP of a chosen flow and size",
    PACKET_KIND_MUTED: "muted load",
}


@runtime_checkable
class Needing(Protocol):
    """A technique that says what its calls need; of one that does not, nothing is asked."""

    def needs(self, call: Body) -> Kinds:
        """Every kind without which this call cannot be done (BadParameters as `worst_case`)."""
        ...


def needed(technique: object, call: Body) -> Kinds:
    """What a call of whatever technique needs."""
    return technique.needs(call) if isinstance(technique, Needing) else NOTHING


def lacking(offered: Iterable[PacketKind.ValueType], wanted: Kinds) -> Kinds:
    """What a host lacks. One that names no kind is older than this question: nothing is known."""
    there = frozenset(offered)
    return wanted - there if there else NOTHING


def words(kinds: Iterable[PacketKind.ValueType]) -> str:
    """For people; kinds newer than us have no words here."""
    return ", ".join(WORDS[kind] for kind in sorted(kinds) if kind in WORDS)
