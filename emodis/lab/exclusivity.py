"""Who probed a destination when, read from a capture made there.

The scheduler's promise is checked against packets, not against the scheduler's own word: a run
lasts from its first to its last probe packet that arrived, and no two runs of different sources
may share a moment.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from ipaddress import IPv4Address
from pathlib import Path

import attrs

from emodis.packets import pcap

ETHERNET_BYTES = 14
ICMP, UDP = 1, 17
ECHO_REQUEST = 8


@attrs.frozen(order=True)
class Visit:
    """One flow of probes as it arrived: its first and last packet."""

    first_ns: int
    last_ns: int
    source: IPv4Address
    flow: int
    packets: int


def visits(capture: Path, sources: Collection[IPv4Address]) -> list[Visit]:
    """The flows of UDP and ICMP echo probes from `sources`, by arrival.

    Raises:
        ValueError: for a file that is not a nanosecond pcap of Ethernet frames.
    """
    seen: dict[tuple[IPv4Address, int], list[int]] = {}
    for stamp_ns, frame in pcap.records(capture.read_bytes(), pcap.LinkType.ETHERNET):
        probe = _probe(frame)
        if probe is not None and probe[0] in sources:
            seen.setdefault(probe, []).append(stamp_ns)
    return sorted(
        Visit(min(stamps), max(stamps), source, flow, len(stamps))
        for (source, flow), stamps in seen.items()
    )


def overlaps(flows: Iterable[Visit]) -> list[tuple[Visit, Visit]]:
    """Every pair of flows of different sources that share a moment."""
    found: list[tuple[Visit, Visit]] = []
    going_on: list[Visit] = []
    for visit in sorted(flows):
        going_on = [other for other in going_on if other.last_ns >= visit.first_ns]
        found += [(other, visit) for other in going_on if other.source != visit.source]
        going_on.append(visit)
    return found


def _probe(frame: bytes) -> tuple[IPv4Address, int] | None:
    """Source address and flow (UDP source port, ICMP id) of an IPv4 probe; None for all else."""
    packet = frame[ETHERNET_BYTES:]
    if len(packet) < 20 or packet[0] >> 4 != 4:
        return None
    header_bytes = (packet[0] & 15) * 4
    payload = packet[header_bytes:]
    if len(payload) < 8:
        return None
    source = IPv4Address(packet[12:16])
    if packet[9] == UDP:
        return source, int.from_bytes(payload[0:2], "big")
    if packet[9] == ICMP and payload[0] == ECHO_REQUEST:
        return source, int.from_bytes(payload[4:6], "big")
    return None
