"""What the demo would say of right and of wrong answers."""

from __future__ import annotations

import pytest

from emodis.lab.judgement import bottleneck_faults, bottleneck_truth, route_faults, route_truth
from emodis.lab.plan import make_plan
from emodis.lab.truth import Truth, path_truth
from tests.unit.lab.builders import SMALL, small

PLAN = make_plan(small())
DOWN = path_truth(PLAN, "h2", "h1")
UP = path_truth(PLAN, "h1", "h2")
SOURCES = {"h2": DOWN}


def table(source: str, truth: Truth, *, marked: int) -> str:
    rows = [f"{source} → you: good quality; 5 of 6 trains used, confidence 100 %"]
    rows.append("hop  address    AS            gap ms  Mbit/s  available   seen")
    for hop in truth.hops:
        mark = "100 %  ◀ bottleneck" if hop.ttl == marked else ""
        rows.append(
            f"{hop.ttl:3}  {hop.address}  AS65001 Left  3.00  81.8  ≤ 80.1  {mark}".rstrip()
        )
    return "\n".join(rows) + "\n"


def answer(start: object, end: object) -> str:
    return (
        f"The bottleneck towards you is the link {start} → {end} (AS 65001), at most 9 Mbit/s.\n\n"
    )


def right() -> str:
    choke = DOWN.choke
    said = answer(choke.from_address, choke.to_address)
    return said + table("h2", DOWN, marked=choke.ttl)


def test_the_right_answer_has_no_fault() -> None:
    assert DOWN.choke.ttl == 3
    assert bottleneck_faults(right(), SOURCES) == []


def test_a_sentence_about_another_link_is_a_fault() -> None:
    link = DOWN.links[1]
    shown = answer(link.from_address, link.to_address) + table("h2", DOWN, marked=3)
    (fault,) = bottleneck_faults(shown, SOURCES)
    assert "the sentence names" in fault


@pytest.mark.parametrize("marked", [1, 2, 0])
def test_a_mark_at_another_hop_or_none_is_a_fault(marked: int) -> None:
    choke = DOWN.choke
    shown = answer(choke.from_address, choke.to_address) + table("h2", DOWN, marked=marked)
    (fault,) = bottleneck_faults(shown, SOURCES)
    assert "which is at hop 3" in fault


def test_an_answer_without_sentence_or_table_is_a_fault() -> None:
    assert bottleneck_faults("nothing to see", SOURCES) == [
        "no agent's table was shown",
        "no sentence names a bottleneck",
    ]


def test_a_table_of_somebody_who_was_not_asked_is_a_fault() -> None:
    assert "h9 was not asked" in bottleneck_faults(right().replace("h2 →", "h9 →"), SOURCES)


def test_ones_own_access_link_begins_at_this_host() -> None:
    choke = UP.choke
    assert choke.ttl == 1
    said = f"The bottleneck from you to h2 is your own access link (this host → {choke.to_address}"
    shown = f"{said} (AS 65001)), at most 4.0 Mbit/s.\n\n" + table("this host", UP, marked=1)
    assert bottleneck_faults(shown, {"this host": UP}) == []
    assert bottleneck_faults(shown.replace("this host", "h1"), {"h1": UP}) != []


def test_every_hop_of_a_route_counts_in_its_order() -> None:
    shown = table("h2", DOWN, marked=0)
    assert route_faults(shown, SOURCES) == []
    first, second = (str(hop.address) for hop in DOWN.hops[:2])
    swapped = shown.replace(first, "x").replace(second, first).replace("x", second)
    assert route_faults(swapped, SOURCES) == [
        f"the route from h2 was shown as {second} {first} {DOWN.hops[2].address}"
    ]
    assert route_faults("", SOURCES) == ["the route from h2 was not shown"]


def test_the_truth_says_capacity_and_what_is_available_in_ip_bits() -> None:
    plan = make_plan(small(SMALL.replace("4_000_000", "100_000_000")))
    truth = path_truth(plan, "h1", "h2")
    line = bottleneck_truth("h1", truth)
    assert "hop 2" in line
    assert line.endswith("capacity 48.6 Mbit/s, 19.5 of them available")
    assert route_truth("h1", truth).split(": ")[1].split() == [str(h.address) for h in truth.hops]
