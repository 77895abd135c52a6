from __future__ import annotations

from ipaddress import IPv4Address

from hypothesis import given
from hypothesis import strategies as st

from emodis.topology.segments import SEGMENT_LINKS, Branch, branch, merged


def hosts(*numbers: int | None) -> list[IPv4Address | None]:
    return [None if number is None else IPv4Address(number) for number in numbers]


def of(*numbers: int | None) -> Branch:
    found = branch(hosts(*numbers))
    assert found is not None
    return found


def test_worked_example() -> None:
    """The last four links of 1-2-3-4-5-6; the path of another agent joins at 3."""
    mine = of(1, 2, 3, 4, 5, 6)
    assert str(mine) == "0.0.0.2 → 0.0.0.3 → 0.0.0.4 → 0.0.0.5 → 0.0.0.6"
    theirs = of(11, 12, 3, 4, 5, 6)
    assert mine != theirs
    assert mine.is_like(theirs)
    other = of(21, 22, 23, 24, 5, 6)
    assert not mine.is_like(other)
    assert merged({"a": mine, "b": theirs, "c": other}) == {"a": mine, "b": mine, "c": other}


def test_silent_hops_are_skipped() -> None:
    assert of(1, None, 3, 4, None, 6).links == of(1, 3, 4, 6).links


def test_short_routes_are_taken_whole() -> None:
    assert len(of(1, 2).links) == 1
    assert of(1, 2).is_like(of(9, 1, 2))


def test_routes_that_say_nothing_about_the_edge() -> None:
    assert branch(hosts()) is None
    assert branch(hosts(1)) is None
    assert branch(hosts(None, None, 3)) is None
    assert branch(hosts(1, 2, 3, 2, 5)) is None
    assert of(1, 2, 2, 3).links == of(1, 2, 3).links


@given(st.dictionaries(st.integers(0, 20), st.lists(st.integers(1, 9), max_size=8)))
def test_every_branch_gets_a_name_that_it_resembles(routes: dict[int, list[int]]) -> None:
    branches = {k: b for k, r in routes.items() if (b := branch(hosts(*r))) is not None}
    names = merged(branches)
    assert names.keys() == branches.keys()
    for key, name in names.items():
        assert name == branches[key] or name.is_like(branches[key])
        assert len(name.links) <= SEGMENT_LINKS
