"""Pathneck's and traceroute's tables: one line a hop."""

from __future__ import annotations

from statistics import median

from rich.table import Table

from emodis.client.render.decoded import Decoded
from emodis.client.render.tables import new_table
from emodis.client.render.words import address, owner, percent, rate, time
from emodis.client.report import Report
from emodis.wire.v1.client_pb2 import AddressOwner
from emodis.wire.v1.techniques_pb2 import (
    BOUND_LOWER,
    BOUND_UPPER,
    PathneckHop,
    PathneckResult,
    TracerouteHop,
    TracerouteResult,
)

MARK = "◀ bottleneck"
_BOUNDS = {BOUND_UPPER: "≤", BOUND_LOWER: "≥"}


def pathneck_table(report: Report, run: Decoded) -> Table:
    """Rates are what the train had as it left the link before the hop; bounds are that link's."""
    result: PathneckResult = run.value
    table, with_as = _hop_table(report)
    for heading in ("gap", "rate", "available"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("seen", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    owners = _owners(report)
    for hop in result.hops:
        table.add_row(
            *_place(hop.ttl, hop.address, owners, with_as),
            time(hop.gap_ns) if hop.HasField("gap_ns") else "",
            rate(hop.rate_bps) if hop.HasField("rate_bps") else "",
            _bound(hop),
            percent(hop.detection_ratio) if hop.choke_point else "",
            _mark(hop, result),
            style="bold" if _is_bottleneck(hop, result) else "",
        )
    return table


def traceroute_table(report: Report, run: Decoded) -> Table:
    """Several addresses in one line where rounds took several ways."""
    result: TracerouteResult = run.value
    table, with_as = _hop_table(report)
    table.add_column("RTT", justify="right", no_wrap=True)
    table.add_column("answers", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    owners = _owners(report)
    for hop in result.hops:
        rtts = [answer.rtt_ns for answer in hop.answers if answer.HasField("rtt_ns")]
        # dict: every address once, in the order of the rounds.
        places = list(dict.fromkeys(answer.address for answer in hop.answers if answer.address))
        answered = sum(1 for answer in hop.answers if answer.address)
        for row, place in enumerate(places or [b""]):
            first = row == 0
            table.add_row(
                *_place(hop.ttl if first else None, place, owners, with_as),
                time(median(rtts)) if rtts and first else "",
                f"{answered}/{len(hop.answers)}" if first else "",
                _remark(hop, result) if first else "",
            )
    return table


def path_end(result: TracerouteResult) -> str:
    """Why the list of hops ends where it does; empty when it ends at the destination."""
    if result.reached:
        return ""
    return f"the path ends here: {result.end_reason.replace('_', ' ')}"


def _hop_table(report: Report) -> tuple[Table, bool]:
    table = new_table()
    table.add_column("hop", justify="right", no_wrap=True)
    table.add_column("address", no_wrap=True)
    if report.as_map:
        # The only column that gives way on a narrow terminal.
        table.add_column("AS", no_wrap=True, overflow="ellipsis", min_width=8)
    return table, report.as_map


def _place(
    ttl: int | None, packed: bytes, owners: dict[str, AddressOwner], with_as: bool
) -> list[str]:
    where = address(packed)
    cells = ["" if ttl is None else str(ttl), where]
    return [*cells, owner(owners.get(where))] if with_as else cells


def _owners(report: Report) -> dict[str, AddressOwner]:
    return {str(place): found for place, found in report.owners.items()}


def _bound(hop: PathneckHop) -> str:
    if hop.bound not in _BOUNDS or not hop.HasField("bound_bps"):
        return ""
    return f"{_BOUNDS[hop.bound]} {rate(hop.bound_bps)}"


def _is_bottleneck(hop: PathneckHop, result: PathneckResult) -> bool:
    return result.HasField("bottleneck") and hop.ttl == result.bottleneck.ttl


def _mark(hop: PathneckHop, result: PathneckResult) -> str:
    if _is_bottleneck(hop, result):
        return MARK
    return "◁ choke" if hop.choke_point else ""


def _remark(hop: TracerouteHop, result: TracerouteResult) -> str:
    if hop.rate_limited:
        return "rate-limited"
    codes = sorted({(a.icmp_type, a.icmp_code) for a in hop.answers if a.icmp_type == 3})
    # Port unreachable is how a destination answers a traceroute.
    return ", ".join(f"unreachable ({code})" for _type, code in codes if code != 3)
