"""What differs between IPv4 and IPv6 to sockets that may not write their own headers."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address

import attrs

from emodis.packets.model import Address, ReplyKind

TRANSPORT_HEADER_BYTES = 8
LARGEST_BYTES = 1500
# Never fragment, whatever is believed of the path (IP_PMTUDISC_PROBE, the same in IPv6).
PMTUDISC_PROBE = 3
# Leave it to whoever needs to (IP_PMTUDISC_DONT).
PMTUDISC_DONT = 0


@attrs.frozen(kw_only=True)
class Family:
    """Numbers of linux/in.h, in6.h, icmp.h and icmpv6.h, most of which `socket` does not have.

    `offender` is where the address of who sent an error stands in its control message, behind the
    16 bytes of struct sock_extended_err.
    """

    number: int
    header_bytes: int
    level: int
    receive_errors: int
    receive_ttl: int
    # Of a control message, and the socket option for all packets.
    ttl: int
    sent_ttl: int
    traffic_class: int
    mtu_discovery: int
    offender: slice
    origin: int
    icmp_protocol: int
    echo_request: int
    echo_reply: int
    errors: dict[int, ReplyKind]


IPV4 = Family(
    number=socket.AF_INET,
    header_bytes=20,
    level=socket.IPPROTO_IP,
    receive_errors=11,
    receive_ttl=12,
    ttl=2,
    sent_ttl=2,
    traffic_class=1,
    mtu_discovery=10,
    offender=slice(20, 24),
    origin=2,
    icmp_protocol=socket.IPPROTO_ICMP,
    echo_request=8,
    echo_reply=0,
    errors={3: ReplyKind.UNREACHABLE, 11: ReplyKind.TIME_EXCEEDED},
)
IPV6 = Family(
    number=socket.AF_INET6,
    header_bytes=40,
    level=socket.IPPROTO_IPV6,
    receive_errors=25,
    receive_ttl=51,
    ttl=52,
    sent_ttl=16,
    traffic_class=67,
    mtu_discovery=23,
    offender=slice(24, 40),
    origin=3,
    icmp_protocol=socket.IPPROTO_ICMPV6,
    echo_request=128,
    echo_reply=129,
    # 2 is "packet too big".
    errors={1: ReplyKind.UNREACHABLE, 2: ReplyKind.UNREACHABLE, 3: ReplyKind.TIME_EXCEEDED},
)


def family_of(address: Address) -> Family:
    """The family an address belongs to."""
    return IPV4 if isinstance(address, IPv4Address) else IPV6


def set_fragmenting(sock: socket.socket, family: Family, *, df: bool) -> None:
    """Whether routers may cut up what the socket sends; over IPv6 they never do."""
    if family is IPV4:
        how = PMTUDISC_PROBE if df else PMTUDISC_DONT
        sock.setsockopt(family.level, family.mtu_discovery, how)
