from __future__ import annotations

from emodis.client.render.answers import answers
from emodis.client.render.edges import (
    bound,
    estimates_grid,
    explained,
    landmark_lines,
    links_lines,
    summary,
)
from emodis.wire.v1.broute_pb2 import BrouteBranch
from emodis.wire.v1.client_pb2 import Choice, Selected
from tests.unit.client.builders import broute, report, result


def test_the_answer_names_every_way_with_its_bound() -> None:
    (sentence,) = answers(report("broute", result("", broute()), to_me=True))
    assert sentence == (
        "Towards you 3 ways in are known: by AS65002 at most 9.6 Mbit/s and by AS65001 at least "
        "48.0 Mbit/s; 1 not covered; what was measured speaks for 80 % of 5 agents."
    )


def test_one_way_and_none_measured() -> None:
    value = broute()
    del value.branches[:2]
    assert summary("towards w1", value) == "Towards w1 one way in is known, none of them measured"


def test_without_a_map_a_way_is_named_by_its_first_router() -> None:
    value = broute()
    value.branches[1].upstream_asn = 0
    assert "by 10.1.0.9 at least 48.0 Mbit/s" in summary("towards w1", value)


def test_the_slowest_link_stands_out() -> None:
    first, second, third = links_lines(broute())
    assert first == "  1: 10.1.0.1 → 10.2.0.1 [→] 10.3.0.1 → 10.6.0.2"
    assert second == "  2: 10.1.0.9 → 10.3.0.9 → 10.6.0.2 (the bottleneck lies elsewhere)"
    assert third.endswith("(not covered: no agent that was asked comes this way)")


def test_both_bounds() -> None:
    assert bound(BrouteBranch(upper_bps=9_600_000, lower_bps=5_000_000)) == "≥ 5.0, ≤ 9.6"
    assert bound(BrouteBranch()) == ""


def test_why_the_landmarks() -> None:
    value = broute()
    value.landmarks.add(agent_id="edi")
    made = report("broute", result("", value))
    assert landmark_lines(made, value) == [
        "  ams: for branch 1",
        "  dub: for branch 2",
        "  edi: for nothing that others do not see",
    ]


def test_why_each_agent_was_chosen() -> None:
    chosen = Selected(
        agents=[
            Choice(
                agent_id="a1",
                place="Ams",
                asn=65001,
                why="covers 1 of 2 branches",
                new_branches=["to w1 by AS65002: 10.1.0.1 → 10.6.0.2"],
            )
        ],
        uncovered=["to w1 by AS65003: 10.9.0.1 → 10.6.0.2"],
    )
    assert explained(chosen) == [
        "  a1 in Ams (AS 65001): covers 1 of 2 branches",
        "    to w1 by AS65002: 10.1.0.1 → 10.6.0.2",
        "  nobody chosen sees: to w1 by AS65003: 10.9.0.1 → 10.6.0.2",
    ]


def test_ways_out_and_what_follows_for_paths_nobody_measured() -> None:
    value = broute()
    value.source = True
    value.routes = 3
    value.estimates.add(
        name="w1", address=bytes([10, 6, 0, 2]), asns=[1, 2, 3], common_asn=2, upper_bps=8_000_000
    )
    value.estimates.add(name="w2", asns=[1, 2], common_asn=2, lower_bps=50_000_000, core=True)
    value.estimates.add(name="w3", reason="no_common_as")
    value.estimates.add(
        name="w4", common_asn=2, upper_bps=1, runner_up_asn=9, ambiguity=0, one_sided=True
    )
    made = report("broute", result("", value), upstream=True)
    (sentence,) = answers(made)
    assert sentence.startswith("From this host 3 ways out are known: ")
    assert "3 landmarks" in sentence
    assert made.agent_name("") == "this host"
    rows = [[str(cell) for cell in row.cells] for row in estimates_grid(made, value).rows]
    assert rows[0][:3] == ["w1 (10.6.0.2)", "≤ 8.0", "1 2 3"]
    assert rows[1][-1] == "its bottleneck may lie in the core"
    assert "no estimate" in rows[2][-1]
    assert rows[3][-1] == (
        "one of its edges was not measured and may have less; or they meet in AS9"
    )
