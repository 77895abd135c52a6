"""The IPv6 header that a raw socket keeps to itself, put together again from what it does tell.

So everything behind the sockets reads whole packets, whatever the family. Flow label and traffic
class of an answer are lost; nobody needs them.
"""

from __future__ import annotations

import socket
import struct

from emodis.packets.mmsg import Received

_HOP_LIMIT = (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT)
_PACKET_INFO = (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO)
_HEADER = struct.Struct("!IHBB16s16s")
_ADDRESS_AT, _ADDRESS_END = 8, 24


def enable_header(sock: socket.socket) -> None:
    """Have the kernel tell hop limit and destination of what arrives."""
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)


def with_header(message: Received, protocol: int) -> bytes | None:
    """The whole packet; None if the kernel did not say where from, where to and how far."""
    control = {(level, kind): data for level, kind, data in message.control}
    hop_limit, info = control.get(_HOP_LIMIT, b""), control.get(_PACKET_INFO, b"")
    source, target = message.name[_ADDRESS_AT:_ADDRESS_END], info[:16]
    if len(hop_limit) < 4 or len(source) != 16 or len(target) != 16:
        return None
    (hops,) = struct.unpack_from("@i", hop_limit)
    header = _HEADER.pack(6 << 28, len(message.data), protocol, hops & 0xFF, source, target)
    return header + message.data
