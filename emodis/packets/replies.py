"""What a raw ICMP socket delivers, read without trusting a single byte of it.

Nothing here raises for any input. An answer counts only if it echoes or quotes one of our probes;
the rules are those of TECHNIQUES.md 2, (a) to (d); (e) and (f) need memory and are in `ledger`.
"""

from __future__ import annotations

from collections.abc import Container
from ipaddress import IPv4Address

import attrs

from emodis.packets.checksum import is_valid
from emodis.packets.flow import UDP_PORT
from emodis.packets.model import Kind, ReplyKind

ECHO_REPLY = 0
UNREACHABLE = 3
ECHO_REQUEST = 8
TIME_EXCEEDED = 11

_KINDS = {UNREACHABLE: ReplyKind.UNREACHABLE, TIME_EXCEEDED: ReplyKind.TIME_EXCEEDED}


@attrs.frozen
class Answer:
    """An answer to the probe `probe_id`. `size_bytes` is the whole IP packet."""

    probe_id: int
    kind: ReplyKind
    address: IPv4Address
    icmp_type: int
    icmp_code: int
    ttl: int
    quoted_ttl: int | None
    size_bytes: int
    # One of the two places that carry the id was changed on the way.
    altered: bool


@attrs.frozen(kw_only=True)
class Expectation:
    """What our probes look like to those who answer them: `ids` are those sent in this run.

    The quoted source *address* is not looked at, because a NAT may leave its own there; the source
    port is, since it is what a forger would have to guess.
    """

    kind: Kind
    target: IPv4Address
    idents: range
    ids: Container[int]


def parse(packet: bytes | memoryview, expected: Expectation) -> Answer | None:
    """Read one received IPv4 packet; None if it is damaged or no answer to us."""
    if len(packet) < 28 or packet[0] >> 4 != 4 or packet[9] != 1:
        return None
    header = (packet[0] & 15) * 4
    total = packet[2] << 8 | packet[3]
    if header < 20 or total < header + 8 or total > len(packet):
        return None
    icmp = packet[header:total]
    if not is_valid(icmp):
        return None
    if icmp[0] == ECHO_REPLY:
        found = _match_echo(packet, icmp, expected)
    elif icmp[0] in _KINDS:
        found = _match_quote(icmp, expected)
    else:
        return None
    if found is None:
        return None
    probe_id, altered, quoted_ttl = found
    return Answer(
        probe_id,
        _KINDS.get(icmp[0], ReplyKind.ECHO_REPLY),
        IPv4Address(bytes(packet[12:16])),
        icmp[0],
        icmp[1],
        packet[8],
        quoted_ttl,
        total,
        altered,
    )


_Match = tuple[int, bool, int | None]


def _match_echo(
    packet: bytes | memoryview, icmp: bytes | memoryview, expected: Expectation
) -> _Match | None:
    if expected.kind is not Kind.ICMP_ECHO or packet[12:16] != expected.target.packed:
        return None
    if _word(icmp, 4) not in expected.idents:
        return None
    sequence = _word(icmp, 6)
    return (sequence, False, None) if sequence in expected.ids else None


def _match_quote(icmp: bytes | memoryview, expected: Expectation) -> _Match | None:
    quote = icmp[8:]
    if len(quote) < 28 or quote[0] >> 4 != 4:
        return None
    header = (quote[0] & 15) * 4
    # Routers must quote the header and 8 bytes; with fewer nothing can be told apart.
    if header < 20 or len(quote) < header + 8 or quote[16:20] != expected.target.packed:
        return None
    # A fragment other than the first has no ports.
    if _word(quote, 6) & 0x1FFF:
        return None
    ours = _udp_id if expected.kind is Kind.UDP else _icmp_id
    carried = ours(quote[9], quote[header : header + 8], expected)
    if carried is None:
        return None
    probe_id = _agree(_word(quote, 4), carried, expected.ids)
    return None if probe_id is None else (probe_id, _word(quote, 4) != carried, quote[8])


def _udp_id(protocol: int, udp: bytes | memoryview, expected: Expectation) -> int | None:
    if protocol != 17 or _word(udp, 0) not in expected.idents or _word(udp, 2) != UDP_PORT:
        return None
    return _word(udp, 6)


def _icmp_id(protocol: int, echo: bytes | memoryview, expected: Expectation) -> int | None:
    if protocol != 1 or echo[0] != ECHO_REQUEST or _word(echo, 4) not in expected.idents:
        return None
    return _word(echo, 6)


def _agree(first: int, second: int, ids: Container[int]) -> int | None:
    """The id in both places, else the one that is ours; None if neither is, or both."""
    if first == second:
        return first if first in ids else None
    ours = [candidate for candidate in (first, second) if candidate in ids]
    return ours[0] if len(ours) == 1 else None


def _word(data: bytes | memoryview, at: int) -> int:
    return data[at] << 8 | data[at + 1]
