"""Pathneck's and traceroute's tables: one line a hop."""

from __future__ import annotations

from statistics import median

from emodis.client.render.columns import Column, Grid
from emodis.client.render.decoded import Decoded
from emodis.client.render.words import (
    address,
    count,
    megabits,
    milliseconds,
    owner,
    percent,
    time,
)
from emodis.client.report import Report
from emodis.techniques import refusals
from emodis.wire.v1.client_pb2 import AddressOwner
from emodis.wire.v1.techniques_pb2 import (
    ANSWER_MARK_NAT,
    ANSWER_MARK_QUOTE_ALTERED,
    BOUND_LOWER,
    BOUND_UPPER,
    HopAnswer,
    PathneckHop,
    PathneckResult,
    TracerouteHop,
    TracerouteResult,
)

MARK = "◀ bottleneck"
_BOUNDS = {BOUND_UPPER: "≤", BOUND_LOWER: "≥"}
_MARKS = {ANSWER_MARK_NAT: "NAT", ANSWER_MARK_QUOTE_ALTERED: "altered quote"}
# ICMP type of "unreachable" and its code for a port, by the length of the address that says so.
_UNREACHABLE = {4: (3, 3), 16: (1, 4)}
_PLACE = (Column("hop", right=True), Column("address"), Column("AS", gives=True))


def pathneck_grid(report: Report, run: Decoded) -> Grid:
    """`Mbit/s` is what the train had as it left the link before the hop, `available` is what that
    link has: at most, or at least. `seen` is the share of trains that agree on a step."""
    result: PathneckResult = run.value
    numbers = [Column(name, right=True) for name in ("gap ms", "Mbit/s", "available", "seen")]
    grid = Grid([*_PLACE, *numbers, Column("")])
    owners = _owners(report)
    for hop in result.hops:
        grid.add(
            *_place(hop.ttl, hop.address, owners),
            milliseconds(hop.gap_ns) if hop.HasField("gap_ns") else "",
            megabits(hop.rate_bps) if hop.HasField("rate_bps") else "",
            _bound(hop),
            percent(hop.detection_ratio) if hop.choke_point else "",
            _mark(hop, result),
            marked=_is_bottleneck(hop, result),
        )
    return grid


def traceroute_grid(report: Report, run: Decoded) -> Grid:
    """A hop has a line for each address where rounds or flows took several ways."""
    result: TracerouteResult = run.value
    numbers = [Column(name, right=True) for name in ("RTT", "answers")]
    grid = Grid([*_PLACE[:2], Column("name", gives=True), _PLACE[2], *numbers, Column("")])
    owners = _owners(report)
    names = {str(place): name for place, name in report.names.items()}
    branches: dict[int, list[bytes]] = {}
    for node in result.graph.nodes:
        branches.setdefault(node.ttl, []).append(node.address)
    for hop in result.hops:
        rtts = [answer.rtt_ns for answer in hop.answers if answer.HasField("rtt_ns")]
        answered = sum(1 for answer in hop.answers if answer.address)
        # dict: every address once, in the order of the rounds.
        places = list(dict.fromkeys(answer.address for answer in hop.answers if answer.address))
        places += [place for place in branches.get(hop.ttl, ()) if place not in places]
        first, *others = places or [b""]
        grid.add(
            *_named_place(hop.ttl, first, owners, names),
            time(median(rtts)) if rtts else "",
            f"{answered}/{len(hop.answers)}",
            _remark(hop, result),
        )
        for other in others:
            grid.add(*_named_place(None, other, owners, names), "", "", "")
    return grid


def parallel_routes(result: TracerouteResult) -> str:
    """What the search for parallel routes has found; empty if there was none."""
    if not result.HasField("graph"):
        return ""
    graph = result.graph
    tried = f"tried {count(graph.flows, 'flow')}"
    if not any(hop.branches > 1 for hop in graph.hops):
        found = "no parallel routes"
    else:
        forks = [str(hop.ttl) for hop in graph.hops if hop.branches > 1]
        found = f"{count(len(graph.paths), 'route')} seen, apart at hop {', '.join(forks)}"
    if graph.stopped:
        return f"{found}; {tried}, not all that would be needed"
    return f"{found}; {tried}, {percent(graph.confidence_ratio)} sure that there are no more"


def path_end(result: TracerouteResult) -> str:
    """Why the list of hops ends where it does; empty when it ends at the destination."""
    if result.reached:
        return ""
    refusal = _last_refusal(result)
    if refusal is not None:
        return f"the path ends here: {refusals.sentence(refusal)}"
    if result.end_reason == "loop":
        return "the path ends here: it comes back to a router that it has passed before"
    return "nothing answered behind this hop"


def where_it_ends(result: TracerouteResult) -> str:
    """The same in a clause for the answer, with the last hop's number and address."""
    refusal = _last_refusal(result)
    if refusal is not None:
        return refusals.sentence(refusal)
    places = [
        (hop.ttl, address(answer.address))
        for hop in result.hops
        for answer in hop.answers
        if answer.address
    ]
    if not places:
        return "no router answered"
    hop = "hop {} ({})".format(*places[-1])
    if result.end_reason == "loop":
        return f"it comes back to a router at {hop}: a loop"
    return f"nothing answered behind {hop}"


def _last_refusal(result: TracerouteResult) -> HopAnswer | None:
    """What the last hop said where it was no to all that follows."""
    if not result.hops or not result.end_reason.startswith((refusals.TOO_BIG, "unreachable")):
        return None
    answers = [a for a in result.hops[-1].answers if a.address]
    return next((a for a in answers if refusals.reason(a) == result.end_reason), None)


def _place(ttl: int | None, packed: bytes, owners: dict[str, AddressOwner]) -> tuple[str, str, str]:
    where = address(packed)
    return "" if ttl is None else str(ttl), where, owner(owners.get(where))


def _named_place(
    ttl: int | None, packed: bytes, owners: dict[str, AddressOwner], names: dict[str, str]
) -> tuple[str, str, str, str]:
    number, where, whose = _place(ttl, packed, owners)
    return number, where, names.get(where, ""), whose


def _owners(report: Report) -> dict[str, AddressOwner]:
    return {str(place): found for place, found in report.owners.items()}


def _bound(hop: PathneckHop) -> str:
    if hop.bound not in _BOUNDS or not hop.HasField("bound_bps"):
        return ""
    return f"{_BOUNDS[hop.bound]} {megabits(hop.bound_bps)}"


def _is_bottleneck(hop: PathneckHop, result: PathneckResult) -> bool:
    return result.HasField("bottleneck") and hop.ttl == result.bottleneck.ttl


def _mark(hop: PathneckHop, result: PathneckResult) -> str:
    if _is_bottleneck(hop, result):
        return MARK
    return "◁ choke" if hop.choke_point else ""


def _remark(hop: TracerouteHop, result: TracerouteResult) -> str:
    words = []
    if hop.rate_limited:
        words.append("rate-limited")
    if hop.HasField("loss_ratio"):
        words.append(f"{percent(hop.loss_ratio)} lost")
    if hop.passes_used_up_ttl:
        words.append("passes used-up TTLs on: this is the next hop")
    if result.dest_alias and hop.ttl == result.hop_count:
        words.append("in place of the destination")
    labels = next((answer.mpls for answer in hop.answers if answer.mpls), ())
    if labels:
        words.append(f"MPLS {' '.join(str(entry.label) for entry in labels)}")
    words += _marks(hop)
    words += [f"TOS {tos:#04x}" for tos in sorted({a.quoted_tos for a in hop.answers} - {0})]
    codes = sorted({a.icmp_code for a in hop.answers if _is_refusal(a)})
    return ", ".join([*words, *(f"unreachable ({code})" for code in codes)])


def _marks(hop: TracerouteHop) -> list[str]:
    marks = {mark for answer in hop.answers for mark in answer.marks}
    return [word for mark, word in _MARKS.items() if mark in marks]


def _is_refusal(answer: HopAnswer) -> bool:
    """Port unreachable is how a destination answers a traceroute."""
    unreachable, port = _UNREACHABLE.get(len(answer.address), (None, None))
    return answer.icmp_type == unreachable and answer.icmp_code != port
