"""Which of the two packet interfaces this host allows: raw sockets if it may, else the other."""

from __future__ import annotations

import random

from emodis.packets.raw import RawTransport
from emodis.packets.transport import Transport
from emodis.packets.unprivileged import UnprivilegedTransport
from emodis.prober.steadiness import Footing
from emodis.techniques.kinds import Kinds
from emodis.wire.v1.common_pb2 import (
    PACKET_KIND_ICMP,
    PACKET_KIND_MUTED,
    PACKET_KIND_TCP,
    PACKET_KIND_TCP_FLOW,
    PACKET_KIND_UDP,
    TRANSPORT_RAW,
    TRANSPORT_UNPRIVILEGED,
)
from emodis.wire.v1.common_pb2 import Transport as TransportWord

NO_RAW_SOCKETS = (
    "no raw sockets: measuring without them, so load packets cannot be muted and every SYN is a "
    "flow of its own; else start as root, or with the capability "
    "(systemd: AmbientCapabilities=CAP_NET_RAW)"
)
NO_ECHO = (
    "no ICMP echo either: sysctl net.ipv4.ping_group_range keeps this user's group from it; "
    "ping will fail unless it uses UDP"
)
NO_REAL_TIME = (
    "{footing} instead of real-time priority: on a busy host more trains are spoiled and sent "
    "again; for it start as root, or with the capability "
    "(systemd: AmbientCapabilities=CAP_SYS_NICE)"
)


def open_transport(chance: random.Random) -> Transport:
    """The better one that opens (TransportError if neither does)."""
    try:
        return RawTransport(chance)
    except PermissionError:
        return UnprivilegedTransport(chance)


def word(transport: Transport) -> TransportWord.ValueType:
    """Its name on the wire."""
    return TRANSPORT_RAW if transport.can_mute else TRANSPORT_UNPRIVILEGED


def kinds(*, raw: bool, echo: bool) -> Kinds:
    """What can be sent with raw sockets or without, and with or without ICMP datagram sockets."""
    found = {PACKET_KIND_UDP, PACKET_KIND_TCP}
    if raw:
        found |= {PACKET_KIND_ICMP, PACKET_KIND_TCP_FLOW, PACKET_KIND_MUTED}
    elif echo:
        found.add(PACKET_KIND_ICMP)
    return frozenset(found)


def kinds_of(transport: Transport) -> Kinds:
    """What this one can send."""
    echo = not isinstance(transport, UnprivilegedTransport) or transport.can_echo
    return kinds(raw=transport.can_mute, echo=echo)


def remarks(transport: Transport, footing: Footing) -> list[str]:
    """What this host lacks, and what to do about it, a line each; for its log."""
    lacks = []
    if not transport.can_mute:
        lacks.append(NO_RAW_SOCKETS)
    if isinstance(transport, UnprivilegedTransport) and not transport.can_echo:
        lacks.append(NO_ECHO)
    if footing is not Footing.REAL_TIME:
        lacks.append(NO_REAL_TIME.format(footing=footing.value))
    return lacks
