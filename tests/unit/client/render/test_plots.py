"""What is drawn, as recorded at two widths; and what the drawings mean."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence

import pytest
from rich.cells import cell_len
from rich.console import Console

from emodis.client.render.decoded import Decoded
from emodis.client.render.drawing import FULL, MARK, bar, fitted, span
from emodis.client.render.plot_gaps import gap_lines
from emodis.client.render.plot_paths import Path, tree_lines
from emodis.client.render.plot_phases import phase_lines
from emodis.client.render.plot_series import LOST, POINT, SOME_LOST, SPAN, Sent, series_lines
from emodis.client.render.plots import show_plots
from emodis.client.report import Report
from emodis.wire.v1.broute_pb2 import BrouteResult
from emodis.wire.v1.client_pb2 import Result
from emodis.wire.v1.igi_pb2 import IgiResult
from emodis.wire.v1.loss_pb2 import (
    HOP_LOSS_BEFORE,
    HOP_LOSS_BEHIND,
    HOP_LOSS_SILENT,
    LossResult,
)
from emodis.wire.v1.techniques_pb2 import PathneckResult, PingObservations, ProbeRecord, TrainRecord
from tests.unit.client.builders import (
    MS,
    W1,
    broute,
    failure,
    igi,
    packed,
    pathneck,
    ping,
    report,
    result,
    traceroute,
)
from tests.unit.client.golden import check

PATH = ("10.1.0.1", "", "10.2.0.1", "10.3.0.1", W1)


def pinged(rtts_ns: Sequence[int | None]) -> Result:
    run = result("ams", ping())
    train = TrainRecord(t0_unix_ns=10**18)
    for number, rtt_ns in enumerate(rtts_ns):
        probe = ProbeRecord(ttl=64, sent_ns=number * 200 * MS, size_bytes=84)
        if rtt_ns is not None:
            probe.received_ns, probe.address = probe.sent_ns + rtt_ns, packed(W1)
        train.probes.append(probe)
    run.outcome.observations = PingObservations(trains=[train]).SerializeToString()
    return run


def ways_out() -> BrouteResult:
    """The same backwards: two ways out of w1 that part behind its own first link."""
    found = BrouteResult(source=True, coverage_ratio=1.0, routes=3, as_map=True)
    for upstream_asn, path in (
        (65002, (W1, "10.3.0.1", "10.2.0.1")),
        (65001, (W1, "10.3.0.1", "10.1.0.1")),
    ):
        hops = [packed(address) for address in path]
        branch = found.branches.add(upstream_asn=upstream_asn, agents=["ams"], measured_by=["ams"])
        for start, end in itertools.pairwise(hops):
            branch.links.add(from_address=start, to_address=end)
    slow, fast = found.branches
    slow.upper_bps, fast.lower_bps = 5_000_000, 20_000_000
    slow.bottleneck.CopyFrom(slow.links[1])
    return found


def lost() -> LossResult:
    """A silent hop, one before and two behind the place where 10 % are lost."""
    found = LossResult(
        sent=300, answered=270, loss_ratio=0.1, loss_low_ratio=0.07, loss_high_ratio=0.14
    )
    found.hop_count = 5
    rows = (
        ("10.1.0.1", HOP_LOSS_BEFORE, (0.0, 0.0, 0.031)),
        ("", HOP_LOSS_SILENT, (0.0, 0.0, 0.0)),
        ("10.2.0.1", HOP_LOSS_BEHIND, (0.06, 0.1, 0.16)),
        ("10.3.0.1", HOP_LOSS_BEHIND, (0.05, 0.09, 0.15)),
    )
    for ttl, (where, word, (low, middle, high)) in enumerate(rows, start=1):
        found.hops.add(
            ttl=ttl,
            address=packed(where) if where else b"",
            asked=120,
            answered=100 if where else 0,
            loss_ratio=middle,
            loss_low_ratio=low,
            loss_high_ratio=high,
            shows=word,
            rate_limited=ttl == 4,
        )
    found.begins.from_ttl, found.begins.from_address = 1, packed("10.1.0.1")
    found.begins.to_ttl, found.begins.to_address = 3, packed("10.2.0.1")
    return found


def searched() -> IgiResult:
    """A search at 10 Mbit/s with 4 Mbit/s of other traffic, and two longer trains behind it."""
    gaps_us = [(10, 600), (317, 545), (600, 640), (704, 710), (810, 811), (573, 622), (509, 598)]
    found = igi(6 * 1_000_000)
    del found.phases[:]
    for gap_in_us, gap_out_us in gaps_us:
        found.phases.add(
            gap_in_ns=gap_in_us * 1000, gap_out_ns=gap_out_us * 1000, size_bytes=528, packets=60
        )
    return found


WAVE = [None if n % 13 == 5 else 12 * MS + (n * n % 17) * MS // 8 for n in range(200)]
ROUTES = report(
    "traceroute",
    result("ams", traceroute(*PATH), owners=True),
    result("bru", traceroute("10.9.0.1", "10.3.0.1", W1)),
    result("par", traceroute("10.8.0.1", "10.3.0.1", W1)),
    result("lon", traceroute("10.8.0.1", "", reached=False)),
)
DRAWN = {
    "igi": report("igi", result("ams", searched()), failure("par"), to_me=True),
    "pathneck": report(
        "pathneck",
        result("ams", pathneck(*PATH, bottleneck=4)),
        result("bru", pathneck(*PATH)),
        failure("par"),
    ),
    "ping": report("ping", pinged(WAVE)),
    "traceroute": ROUTES,
    "broute": report("broute", result("", broute())),
    "broute_source": report("broute", result("", ways_out()), upstream=True),
    "loss": report("loss", result("ams", lost())),
    "traceroute_to_me": report("traceroute", result("ams", traceroute(*PATH)), to_me=True),
}


def drawn(made: Report, width: int) -> str:
    out = io.StringIO()
    console = Console(
        file=out, width=width, highlight=False, markup=False, force_terminal=True, color_system=None
    )
    show_plots([made], console)
    return out.getvalue()


@pytest.mark.parametrize("width", [80, 140])
@pytest.mark.parametrize("name", sorted(DRAWN))
def test_drawings_are_as_recorded_and_fit(name: str, width: int) -> None:
    text = drawn(DRAWN[name], width)
    check(f"plot_{name}_{width}.txt", text)
    # The sentence on top is folded by the terminal, not by us.
    assert all(cell_len(line) <= width for line in text.splitlines()[1:])


@pytest.mark.parametrize("width", [20, 33, 50])
@pytest.mark.parametrize("name", sorted(DRAWN))
def test_a_narrow_terminal_is_no_traceback(name: str, width: int) -> None:
    assert drawn(DRAWN[name], width)


def test_a_pipe_gets_drawings_that_fit_a_screen() -> None:
    out = io.StringIO()
    show_plots([DRAWN["pathneck"]], Console(file=out, width=200))
    assert max(cell_len(line) for line in out.getvalue().splitlines()[1:]) <= 100


def test_a_bar_is_as_long_as_its_share() -> None:
    assert bar(0.5, 10) == FULL * 5
    assert bar(1 / 16, 2) == "▏"
    assert (bar(0.0, 10), bar(2.0, 3), bar(-1.0, 3)) == ("", FULL * 3, "")
    assert bar(0.5, 10, [0.85]) == FULL * 5 + "   " + MARK


def test_an_interval_has_its_point_between_its_ends() -> None:
    assert span(0.0, 0.5, 1.0, 9) == "├───●───┤"
    assert span(0.5, 0.75, 1.0, 9) == "    ├─●─┤"
    assert (span(0.0, 0.0, 0.5, 9), span(0.0, 0.0, 0.0, 9)) == ("●───┤", "●")


def test_wide_letters_count_twice() -> None:
    assert cell_len(fitted("東京タワー", 7)) == 7
    assert fitted("ab", 4) == "ab  "


def test_gaps_without_any_gap_are_not_drawn() -> None:
    run = Decoded(result("a", ping()), PathneckResult())
    assert gap_lines(run, 80, "this host") == []


def test_each_probe_has_a_column_while_they_fit() -> None:
    sent = [Sent(0, 10 * MS), Sent(MS, None), Sent(2 * MS, 20 * MS)]
    lines = series_lines(sent, 80)
    assert lines[0] == " 20.0 ms ┤  " + POINT
    assert lines[7] == " 10.0 ms ┤" + POINT
    assert lines[8].endswith("└─── 2.0 ms")
    assert lines[9] == f"    lost   {LOST}"


def test_many_probes_share_columns() -> None:
    sent = [Sent(n, None if n % 4 == 0 else (n % 7) * MS) for n in range(1000)]
    lines = series_lines(sent, 60)
    assert SPAN in "".join(lines)
    assert SOME_LOST in lines[-1]
    assert LOST not in lines[-1]


@pytest.mark.parametrize("rtt_ns", [None, 5 * MS])
def test_all_alike(rtt_ns: int | None) -> None:
    lines = series_lines([Sent(n * MS, rtt_ns) for n in range(5)], 40)
    expected = f"    lost  {LOST * 5}" if rtt_ns is None else f"  5.0 ms ┤{POINT * 5}"
    assert expected in lines
    assert len(lines) == 2


def test_paths_meet_where_they_share_hops_and_not_where_they_are_silent() -> None:
    paths = [Path("a", ("x", "*", "z")), Path("b", ("y", "*", "z")), Path("c", ("z",))]
    assert tree_lines("w", paths, 80) == [
        "w",
        "│ z",
        "├─ ● c",
        "├─ *",
        "│  │ x",
        "│  └─ ● a",
        "└─ *",
        "   │ y",
        "   └─ ● b",
    ]


def test_a_ping_without_its_observations_says_so() -> None:
    assert "was not kept" in drawn(report("ping", result("ams", ping())), 80)


def test_what_ping_counts_as_lost_is_drawn_as_lost() -> None:
    """An answer that came too late, and a router that says that there is no way."""
    run = pinged([10 * MS, 5_000 * MS, 10 * MS, 10 * MS])
    observed = PingObservations.FromString(run.outcome.observations)
    observed.trains[0].probes[2].icmp_type = 3
    run.outcome.observations = observed.SerializeToString()
    lines = drawn(report("ping", run), 80).splitlines()
    assert f" 10.0 ms ┤{POINT}  {POINT}" in lines
    assert f"    lost   {LOST * 2}" in lines


def test_what_cannot_be_drawn_is_tabled() -> None:
    nothing = drawn(report("ping", failure("ams")), 80)
    assert nothing.startswith("Nothing could be measured")
    assert "Nothing answered; is the host up?" in nothing


def test_the_turning_point_stands_where_trains_stop_to_grow() -> None:
    lines = phase_lines(searched(), 80)
    (marked,) = [number for number, line in enumerate(lines) if line.marked]
    assert all("+" in line.text for line in lines[3:marked])
    # 6 Mbit/s: 704 us.
    assert lines[marked].text.startswith("    6.0  ◀ turning point")
    assert [line.text[11:16].strip() for line in lines[marked + 1 :]] == ["710", "811"]
    precise = searched()
    precise.precise_bps = 7_500_000
    sentence = next(line.text for line in phase_lines(precise, 80) if line.marked)
    assert "7.5 Mbit/s are available" in sentence


def test_both_directions_are_drawn_each_under_its_own_heading() -> None:
    both = searched()
    both.upstream.CopyFrom(searched())
    both.upstream.direction, both.upstream.ptr_bps = "upstream", 3_000_000
    text = drawn(report("igi", result("ams", both), to_me=True), 80)
    downstream, upstream = text.split("you → ams")
    assert "ams → you" in downstream
    assert "turning point: 6.0 Mbit/s are available" in downstream
    assert "turning point: 3.0 Mbit/s are available" in upstream


def test_a_search_without_a_turning_point_marks_none() -> None:
    lines = phase_lines(igi(None), 80)
    assert not any(line.marked for line in lines)
    assert phase_lines(IgiResult(), 80) == []
