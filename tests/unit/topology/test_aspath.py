from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from emodis.topology.aspath import AsPath, Hop, as_path


def of(*asns: int, start: int = 0, end: int = 0) -> AsPath | None:
    return as_path([Hop(asn) for asn in asns], start_asn=start, end_asn=end)


def test_worked_example() -> None:
    """Two hops in AS 10, a silent one between 20 and 20, the fabric of an exchange, two in 30."""
    hops = [Hop(10), Hop(10), Hop(20), Hop(0), Hop(20), Hop(99, exchange=True), Hop(30), Hop(30)]
    assert as_path(hops) == AsPath(asns=(10, 20, 30))
    found = as_path(hops, start_asn=5, end_asn=40)
    assert found is not None
    assert found.asns == (5, 10, 20, 30, 40)
    assert found.edges == ((5, 10), (10, 20), (20, 30), (30, 40))


def test_an_unmapped_hop_between_two_ases_is_no_node_and_is_counted() -> None:
    found = of(10, 0, 0, 20, 0)
    assert found == AsPath(asns=(10, 20), unmapped=3, loose=frozenset({0}))
    # What stands before the first known AS is unknown, too.
    assert of(0, 10) == AsPath(asns=(10,), unmapped=1)


def test_unmapped_hops_at_the_ends_belong_to_the_ends_where_both_agree() -> None:
    assert of(0, 10, 20, 0, start=10, end=20) == AsPath(asns=(10, 20))


def test_an_exchange_is_left_out_whatever_the_map_says() -> None:
    hops = [Hop(10), Hop(0, exchange=True), Hop(20)]
    assert as_path(hops) == AsPath(asns=(10, 20))


def test_a_route_that_comes_back_is_discarded() -> None:
    assert of(10, 20, 10) is None
    assert of(10, 0, 20, 0, 10) is None


def test_numbers_that_no_as_can_have_are_not_believed() -> None:
    assert of(10, -5, 2**32, 20) == AsPath(asns=(10, 20), unmapped=2, loose=frozenset({0}))


def test_nothing_known() -> None:
    assert of() == AsPath(asns=())
    assert of(0, 0) == AsPath(asns=(), unmapped=2)


def test_more_hops_than_ip_allows_are_not_looked_at() -> None:
    assert of(*[10] * 255, *range(20, 10_000)) == AsPath(asns=(10,))


@given(st.lists(st.integers(0, 4), max_size=12), st.integers(0, 4), st.integers(0, 4))
def test_no_as_stands_in_a_path_twice_and_none_is_invented(
    asns: list[int], start: int, end: int
) -> None:
    found = of(*asns, start=start, end=end)
    if found is not None:
        assert len(set(found.asns)) == len(found.asns)
        assert set(found.asns) <= {start, *asns, end} - {0}
        assert set(found.asns) == {start, *asns, end} - {0}
        assert found.unmapped <= asns.count(0)
        assert all(0 <= place < len(found.edges) for place in found.loose)
