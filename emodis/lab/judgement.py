"""Is what the client told its user true? Its text against the lab's truth, agent by agent. Pure.

The answers are read as a user reads them: the sentence, the heading of each agent's table, the row
that is marked. What is compared is the choke of a fluid train on that agent's own path.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import attrs

from emodis.lab.truth import LinkTruth, Truth

# What the client calls the host it runs on.
OWN_HOST = "this host"
MBPS = 1_000_000

_SENTENCE = re.compile(
    r"^The bottleneck .* is (?:the link |your own access link \()(.+) → ([\d.]+)", re.MULTILINE
)
_HEADING = re.compile(r"^(\S.*?) → .+: \w+ quality")
_ROW = re.compile(r"^ *(\d+)  (\S+)")
_MARK = "◀ bottleneck"


@attrs.define
class Table:
    """What was shown under one agent's heading: a hop's TTL and address per row."""

    source: str
    hops: list[tuple[int, str]] = attrs.field(factory=list)
    marked: list[tuple[int, str]] = attrs.field(factory=list)


def tables(shown: str) -> list[Table]:
    """Every agent's table in what the client printed, in its order."""
    found: list[Table] = []
    for line in shown.splitlines():
        if heading := _HEADING.match(line):
            found.append(Table(heading[1]))
        elif found and (row := _ROW.match(line)):
            found[-1].hops.append((int(row[1]), row[2]))
            if line.endswith(_MARK):
                found[-1].marked.append((int(row[1]), row[2]))
    return found


def bottleneck_faults(shown: str, truths: Mapping[str, Truth]) -> list[str]:
    """What is wrong with the bottlenecks in `shown`; `truths` by the name that heads a table."""
    told = tables(shown)
    faults = [] if told else ["no agent's table was shown"]
    chokes = {}
    for table in told:
        if table.source not in truths:
            faults.append(f"{table.source} was not asked")
            continue
        choke = chokes[table.source] = truths[table.source].choke
        if table.marked != [(choke.ttl, str(choke.to_address))]:
            marked = ", ".join(f"hop {ttl} ({address})" for ttl, address in table.marked)
            faults.append(
                f"{table.source} was shown {marked or 'no hop'} as its bottleneck, "
                f"which is at hop {choke.ttl} ({choke.to_address})"
            )
    named = _SENTENCE.search(shown)
    if named is None:
        faults.append("no sentence names a bottleneck")
    elif (named[1], named[2]) not in {_as_said(source, choke) for source, choke in chokes.items()}:
        faults.append(f"the sentence names {named[1]} → {named[2]}, which is nobody's bottleneck")
    return faults


def route_faults(shown: str, truths: Mapping[str, Truth]) -> list[str]:
    """What is wrong with the routes in `shown`: every source, every hop, in order."""
    told = {table.source: table.hops for table in tables(shown)}
    faults = []
    for source, truth in truths.items():
        hops = [(hop.ttl, str(hop.address)) for hop in truth.hops]
        if source not in told:
            faults.append(f"the route from {source} was not shown")
        elif told[source] != hops:
            faults.append(f"the route from {source} was shown as {_route(told[source])}")
    return faults


def bottleneck_truth(source: str, truth: Truth) -> str:
    """The line that stands beside an agent's table."""
    choke = truth.choke
    capacity, available = choke.capacity_ip_bps / MBPS, choke.avail_ip_bps / MBPS
    return (
        f"truth from {source}: hop {choke.ttl}, {choke.from_address} → {choke.to_address}, "
        f"capacity {capacity:.1f} Mbit/s, {available:.1f} of them available"
    )


def route_truth(source: str, truth: Truth) -> str:
    """The same for a traceroute."""
    return f"truth from {source}: {_route([(hop.ttl, str(hop.address)) for hop in truth.hops])}"


def _as_said(source: str, choke: LinkTruth) -> tuple[str, str]:
    # A first link begins at the measuring host itself, which is named in words.
    own = source == OWN_HOST and choke.ttl == 1
    return OWN_HOST if own else str(choke.from_address), str(choke.to_address)


def _route(hops: list[tuple[int, str]]) -> str:
    return " ".join(address for _, address in hops)
