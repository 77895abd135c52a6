from __future__ import annotations

import io
from ipaddress import ip_address

import pytest
from rich.console import Console

from emodis.client.render.table import NO_MAP, show
from emodis.client.report import Report
from emodis.wire.v1.common_pb2 import END_LOST, Quality
from emodis.wire.v1.techniques_pb2 import ANSWER_MARK_NAT, TracerouteResult
from tests.unit.client.builders import (
    MS,
    W1,
    broute,
    failure,
    pathneck,
    ping,
    report,
    result,
    target,
    traceroute,
)
from tests.unit.client.golden import check

PATH = ("10.1.0.1", "10.2.0.1", "10.3.0.1", W1)
UNCOVERED = Quality(
    word=Quality.WORD_FAIR, reasons=["the ways in of 20% of the agents have no bound"]
)
FAIR = Quality(word=Quality.WORD_FAIR, reasons=["2 of 10 trains were held up on this host"])


def rendered(*reports: Report, width: int = 80, terminal: bool = True) -> str:
    out = io.StringIO()
    console = Console(
        file=out,
        width=width,
        force_terminal=terminal,
        color_system=None,
        highlight=False,
        legacy_windows=False,
    )
    show(reports, console)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def three_agents(*, owners: bool) -> Report:
    slow = pathneck(*PATH, bottleneck=3)
    return report(
        "pathneck",
        result("ams", slow, owners=owners),
        result("bru", slow, owners=owners, quality=FAIR),
        result("cdg", pathneck("10.9.0.1", "", "10.3.0.1", W1, bottleneck=3), owners=owners),
        to_me=True,
    )


CASES = {
    "pathneck_with_as": lambda: three_agents(owners=True),
    "pathneck_without_as": lambda: three_agents(owners=False),
    "pathneck_none_found": lambda: report(
        "pathneck", result("ams", pathneck(*PATH, last_link="unmeasured"), owners=True)
    ),
    "pathneck_upstream_access": lambda: report(
        "pathneck", result("", pathneck(*PATH, bottleneck=1, access=True)), upstream=True
    ),
    "pathneck_one_lost": lambda: report(
        "pathneck",
        result("ams", pathneck(*PATH, bottleneck=3), owners=True),
        failure("bru", END_LOST),
    ),
    "traceroute": lambda: report(
        "traceroute",
        result("ams", traceroute(*PATH), owners=True),
        result("bru", traceroute("10.9.0.1", "", "10.3.0.1", reached=False), owners=True),
    ),
    "ping": lambda: report(
        "ping",
        result("ams", ping()),
        result("bru", ping(48 * MS, loss_ratio=0.2), quality=FAIR),
        failure("cdg"),
    ),
    "broute": lambda: report(
        "broute", result("", broute(), owners=True, quality=UNCOVERED), to_me=True
    ),
    "ping_two_destinations": lambda: report(
        "ping",
        result("ams", ping()),
        result("ams", ping(5 * MS), destination=1),
        targets=[target(), target("10.7.0.2", "w2.example.net")],
    ),
}


@pytest.mark.parametrize("width", [80, 140])
@pytest.mark.parametrize("case", CASES)
def test_tables_are_as_recorded(case: str, width: int) -> None:
    text = rendered(CASES[case](), width=width)
    assert all(len(line) <= width for line in text.splitlines())
    check(f"{case}_{width}.txt", text)


def test_a_missing_map_is_said_once_however_many_runs_there_are() -> None:
    text = rendered(three_agents(owners=False), width=200)
    assert text.count(NO_MAP) == 1
    assert NO_MAP not in rendered(three_agents(owners=True), width=200)


def test_a_pipe_is_not_folded() -> None:
    text = rendered(three_agents(owners=True), width=200, terminal=False)
    assert text.splitlines()[0].startswith("The bottleneck towards you is the link")
    assert text.splitlines()[0].endswith("3 of 3 agents agree.")


def test_what_a_master_sends_cannot_colour_or_mark_up_the_terminal() -> None:
    evil = failure("[bold red]x[/]")
    evil.outcome.ending.hint = "[link=http://198.51.100.1]click[/link]"
    text = rendered(report("pathneck", evil), width=200)
    assert "[link=http://198.51.100.1]click[/link]" in text


def searched(stopped: str = "") -> TracerouteResult:
    found = traceroute("10.1.0.1", "10.2.0.1", W1)
    for ttl, address in ((1, "10.1.0.1"), (2, "10.2.0.1"), (2, "10.2.0.2"), (3, W1)):
        found.graph.nodes.add(ttl=ttl, address=ip_address(address).packed, flows=6)
    for ttl, branches in ((1, 1), (2, 2), (3, 1)):
        found.graph.hops.add(ttl=ttl, branches=branches)
    for flows in ([0, 2], [1]):
        found.graph.paths.add(flows=flows)
    found.graph.flows, found.graph.confidence_ratio = 11, 0.91
    found.graph.stopped = stopped
    return found


def test_parallel_routes_are_lines_of_their_hop_and_counted() -> None:
    lines = rendered(report("traceroute", result("ams", searched())), width=140).splitlines()
    at = next(number for number, line in enumerate(lines) if "10.2.0.1" in line)
    assert lines[at + 1].split() == ["10.2.0.2"]
    assert (
        "2 routes seen, apart at hop 2; tried 11 flows, 91 % sure that there are no more" in lines
    )
    text = rendered(report("traceroute", result("ams", searched("max_flows"))), width=140)
    assert "apart at hop 2; tried 11 flows, not all that would be needed" in text
    alone = searched()
    alone.graph.hops[1].branches = 1
    assert "no parallel routes; " in rendered(report("traceroute", result("ams", alone)))


def test_hops_have_their_names_where_they_were_looked_up() -> None:
    made = report("traceroute", result("ams", traceroute(*PATH), owners=True))
    made.names[ip_address("10.2.0.1")] = "core\x1b[2J.example.net"
    lines = rendered(made, width=140).splitlines()
    (heading,) = [line for line in lines if line.startswith("hop")]
    assert heading.split() == ["hop", "address", "name", "AS", "RTT", "answers"]
    (named,) = [line for line in lines if "10.2.0.1" in line]
    assert "core [2J.example.net" in named


def test_what_is_odd_about_a_hop_stands_beside_it() -> None:
    odd = traceroute("10.1.0.1", "10.2.0.1", "10.3.0.1", "10.6.0.9")
    first, second, third, last = odd.hops
    first.rate_limited = True
    second.passes_used_up_ttl = True
    third.loss_ratio = 1 / 3
    third.answers[1].mpls.add(label=24001)
    third.answers[1].mpls.add(label=16)
    third.answers[2].marks.append(ANSWER_MARK_NAT)
    third.answers[2].quoted_tos = 0x48
    odd.dest_alias = last.answers[0].address
    lines = rendered(report("traceroute", result("ams", odd)), width=140).splitlines()
    remarks = [line.partition("/3")[2].strip() for line in lines if "/3" in line]
    assert remarks == [
        "rate-limited",
        "passes used-up TTLs on: this is the next hop",
        "33 % lost, MPLS 24001 16, NAT, TOS 0x48",
        "in place of the destination",
    ]


def test_a_firewall_that_rejects_is_told_by_its_code_of_either_family() -> None:
    refused = traceroute("fd00::1", "fd00::2", reached=False)
    refused.hops[1].answers[0].icmp_type, refused.hops[1].answers[0].icmp_code = 1, 1
    refused.hops[0].answers[0].icmp_type = 3
    text = rendered(report("traceroute", result("ams", refused)), width=140)
    assert text.count("unreachable") == 1
    assert "unreachable (1)" in text


def test_oddities_of_a_ping_have_columns_only_where_there_are_any() -> None:
    odd = ping(loss_ratio=0.5)
    odd.rate_limited_suspected, odd.duplicates, odd.reordered = True, 3, 2
    text = rendered(report("ping", result("ams", odd), result("bru", ping())), width=140)
    heading, odd_line = (text.splitlines()[n].split() for n in (2, 3))
    assert heading[-3:] == ["duplicates", "reordered", "quality"]
    assert odd_line[-3:] == ["3", "2", "good"]
    assert "50 % ?" in text
    assert "late" not in heading


def test_nothing_arrived_prints_nothing() -> None:
    assert rendered(Report()) == "\n"
