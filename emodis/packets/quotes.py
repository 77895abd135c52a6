"""Which of our probes an ICMP error quotes, and what was done to it on the way.

Rules (a) to (d) of TECHNIQUES.md 2. Routers must quote the IP header and eight bytes; all that is
needed stands there, and more is looked at where they quote more. Nothing here raises.
"""

from __future__ import annotations

from collections.abc import Container, Iterator

import attrs

from emodis.packets.checksum import MODULUS, ones_sum
from emodis.packets.flow import UDP_PORT
from emodis.packets.model import Address, Kind, Mark
from emodis.packets.templates import ECHO_REQUEST, ICMP, ICMPV6, IP_HEADER_BYTES, TCP, UDP

Bytes = bytes | memoryview

_PROTOCOLS = {Kind.UDP: (UDP, UDP), Kind.TCP_SYN: (TCP, TCP), Kind.ICMP_ECHO: (ICMP, ICMPV6)}


@attrs.frozen(kw_only=True)
class Expectation:
    """What our probes look like to those who answer them: `ids` are those sent in this run.

    `idents` are the run's source ports or ICMP ids, `ident` that of the train in flight;
    `payloads` are the payload lengths of its SYNs (0 is always allowed). With a `tag` the
    destination's answers carry it, too, and name their probe.
    """

    kind: Kind
    target: Address
    source: Address
    idents: range
    ids: Container[int]
    ident: int = 0
    port: int = UDP_PORT
    secret: int = 0
    payloads: frozenset[int] = frozenset()
    tag: bytes = b""

    @property
    def version(self) -> int:
        """4 or 6."""
        return self.target.version

    @property
    def protocol(self) -> int:
        """The IP protocol of our probes."""
        return _PROTOCOLS[self.kind][self.version == 6]


@attrs.frozen
class Found:
    """A probe that was quoted, with the TTL and the TOS (traffic class) it had when it was."""

    probe_id: int
    ttl: int
    tos: int
    marks: frozenset[Mark]


@attrs.frozen
class _Quote:
    source: Bytes
    ttl: int
    tos: int
    # Only IPv4 has it.
    identification: int | None
    # From the transport header on, eight bytes at least.
    transport: Bytes


def quoted_probe(quote: Bytes, expected: Expectation) -> Found | None:
    """Find the probe whose packet begins like these bytes; None if it is none of ours."""
    read = (_read_v4 if expected.version == 4 else _read_v6)(quote, expected)
    if read is None or not _is_like_ours(read.transport, expected):
        return None
    ident = word(read.transport, 4 if expected.kind is Kind.ICMP_ECHO else 0)
    ours, foreign = ident in expected.idents, read.source != expected.source.packed
    if not ours and not foreign:
        return None
    first, others = _carriers(read, ident, expected)
    chosen = _agreed(first, others, expected.ids)
    if chosen is None:
        return None
    probe_id, altered = chosen
    proven = first in others or (expected.kind is Kind.TCP_SYN and not altered)
    if not ours and not proven:
        # A port we never had and one id of 16 bits: that is too easily guessed.
        return None
    marks = [Mark.QUOTE_ALTERED] * altered + [Mark.NAT] * foreign
    return Found(probe_id, read.ttl, read.tos, frozenset(marks))


def word(data: Bytes, at: int) -> int:
    """The 16 bits there."""
    return data[at] << 8 | data[at + 1]


def _read_v4(quote: Bytes, expected: Expectation) -> _Quote | None:
    if len(quote) < 28 or quote[0] >> 4 != 4 or quote[9] != expected.protocol:
        return None
    header = (quote[0] & 15) * 4
    if header < 20 or len(quote) < header + 8 or quote[16:20] != expected.target.packed:
        return None
    # A fragment other than the first has no ports.
    if word(quote, 6) & 0x1FFF:
        return None
    return _Quote(quote[12:16], quote[8], quote[1], word(quote, 4), quote[header:])


def _read_v6(quote: Bytes, expected: Expectation) -> _Quote | None:
    header = IP_HEADER_BYTES[6]
    if len(quote) < header + 8 or quote[0] >> 4 != 6 or quote[6] != expected.protocol:
        return None
    if quote[24:40] != expected.target.packed:
        return None
    return _Quote(quote[8:24], quote[7], word(quote, 0) >> 4 & 0xFF, None, quote[header:])


def _is_like_ours(transport: Bytes, expected: Expectation) -> bool:
    if expected.kind is Kind.ICMP_ECHO:
        return transport[0] == ECHO_REQUEST[expected.version]
    return word(transport, 2) == expected.port


def _carriers(
    quote: _Quote, ident: int, expected: Expectation
) -> tuple[int | None, tuple[int, ...]]:
    """The id that nobody computes with, if it is there, and what the transport header says."""
    transport = quote.transport
    first = quote.identification
    if expected.kind is Kind.TCP_SYN:
        proven = word(transport, 6) == expected.secret
        return first, (word(transport, 4),) if proven else ()
    if first is None and len(transport) >= 14 and word(transport, 12) == expected.secret:
        first = word(transport, 10)
    if expected.kind is Kind.ICMP_ECHO:
        return first, (word(transport, 6),)
    return first, tuple(_udp_carriers(quote, ident, expected))


def _udp_carriers(quote: _Quote, ident: int, expected: Expectation) -> Iterator[int]:
    """The checksum, also as it was before somebody put in another source and corrected it."""
    written = word(quote.transport, 6)
    yield written
    had = expected.ident if ident not in expected.idents else ident
    before = ones_sum(expected.source.packed) + had
    now = ones_sum(quote.source) + ident
    if before != now:
        yield (written + now - before) % MODULUS


def _agreed(
    first: int | None, others: tuple[int, ...], ids: Container[int]
) -> tuple[int, bool] | None:
    """The id that both say, else the one that is ours, and whether they differ.

    None if neither is ours, or if two of ours differ.
    """
    if first is not None and first in others:
        return (first, False) if first in ids else None
    ours = {candidate for candidate in (first, *others) if candidate in ids}
    ours.discard(None)
    if len(ours) != 1:
        return None
    (chosen,) = ours
    assert chosen is not None
    return chosen, first is not None
