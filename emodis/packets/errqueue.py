"""What the error queue of a socket says of an ICMP error, read without trusting its bytes.

The kernel has checked that the error quotes a packet of this very socket. It strips the headers
that it knows: of a UDP probe the payload is left, as far as the router quoted it (maybe nothing),
of an ICMP probe the ICMP header, too.
"""

from __future__ import annotations

import struct
from ipaddress import ip_address

import attrs

from emodis.packets.families import Family
from emodis.packets.mmsg import Received
from emodis.packets.model import Address, ReplyKind
from emodis.packets.timestamps import received_ns

# struct sock_extended_err (linux/errqueue.h): errno, origin, type, code, pad, info, data.
_EXTENDED_ERROR = struct.Struct("@IBBBBII")
_INT = struct.Struct("@i")


@attrs.frozen
class QueuedError:
    """An error one of our probes met.

    `ttl` is that of the packet that said so, 0 if unknown; `received_ns` its stamp, if it has one.
    """

    address: Address
    kind: ReplyKind
    icmp_type: int
    icmp_code: int
    ttl: int
    quoted: bytes
    received_ns: int | None


def queued_error(message: Received, family: Family) -> QueuedError | None:
    """Read one message; None for a stamp, an error of this host, or a kind we do not know."""
    for level, kind, data in message.control:
        if (level, kind) != (family.level, family.receive_errors):
            continue
        place = data[family.offender]
        if len(place) != family.offender.stop - family.offender.start:
            return None
        _, origin, icmp_type, icmp_code, _, _, _ = _EXTENDED_ERROR.unpack_from(data)
        if origin != family.origin or icmp_type not in family.errors:
            return None
        return QueuedError(
            address=ip_address(place),
            kind=family.errors[icmp_type],
            icmp_type=icmp_type,
            icmp_code=icmp_code,
            ttl=received_ttl(message, family),
            quoted=message.data,
            received_ns=received_ns(message),
        )
    return None


def received_ttl(message: Received, family: Family) -> int:
    """TTL or hop limit the packet arrived with; 0 if the kernel does not say."""
    for level, kind, data in message.control:
        if (level, kind) == (family.level, family.ttl) and len(data) >= _INT.size:
            return int(_INT.unpack_from(data)[0])
    return 0
