"""Which of the two packet interfaces this host allows: raw sockets if it may, else the other."""

from __future__ import annotations

import random

from emodis.packets.raw import RawTransport
from emodis.packets.transport import Transport
from emodis.packets.unprivileged import UnprivilegedTransport
from emodis.wire.v1.common_pb2 import TRANSPORT_RAW, TRANSPORT_UNPRIVILEGED
from emodis.wire.v1.common_pb2 import Transport as TransportWord

NO_RAW_SOCKETS = (
    "no raw sockets: measuring without them, so load packets cannot be muted and TCP not be "
    "probed; for these start as root, or with the capability "
    "(systemd: AmbientCapabilities=CAP_NET_RAW)"
)
NO_ECHO = (
    "no ICMP echo either: sysctl net.ipv4.ping_group_range keeps this user's group from it; "
    "ping will fail unless it uses UDP"
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


def remarks(transport: Transport) -> list[str]:
    """What this host lacks, and what to do about it, a line each; for its log."""
    if transport.can_mute:
        return []
    lacks = [NO_RAW_SOCKETS]
    if not (isinstance(transport, UnprivilegedTransport) and transport.can_echo):
        lacks.append(NO_ECHO)
    return lacks
