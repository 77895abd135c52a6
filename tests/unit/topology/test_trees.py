from __future__ import annotations

import itertools

from emodis.topology.aspath import AsPath
from emodis.topology.trees import Tree, meeting, tree
from tests.support.valley_free import PROVIDERS, STUBS, routes_to


def paths(*rows: tuple[int, ...]) -> list[AsPath]:
    return [AsPath(asns=row) for row in rows]


def sink(*rows: tuple[int, ...]) -> Tree:
    return tree(paths(*rows), rows[0][-1], sink=True)


def source(*rows: tuple[int, ...]) -> Tree:
    return tree(paths(*rows), rows[0][0], sink=False)


def test_worked_example() -> None:
    """Three paths into AS 9 by two ways; one of another destination does not count."""
    found = tree(paths((1, 5, 9), (2, 5, 9), (3, 6, 9), (3, 8)), 9, sink=True)
    assert found.paths == 3
    assert found.edges == {(1, 5): 1, (2, 5): 1, (5, 9): 2, (3, 6): 1, (6, 9): 1}
    assert found.branches == {(5, 9): 2, (6, 9): 1}
    assert found.depths() == {9: 0, 5: 1, 6: 1, 1: 2, 2: 2, 3: 2}
    assert found.branch_of(2) == (5, 9)
    assert found.branch_of(9) is None
    assert found.branch_of(77) is None
    assert found.share(5) == 2 / 3


def test_a_source_tree_runs_the_other_way() -> None:
    found = source((9, 5, 1), (9, 5, 2), (9, 6, 3))
    assert found.branches == {(9, 5): 2, (9, 6): 1}
    assert found.depths()[3] == 2
    assert found.branch_of(3) == (9, 6)


def test_an_as_with_two_ways_on_keeps_both() -> None:
    found = sink((1, 5, 9), (1, 5, 9), (1, 6, 9))
    assert found.edges[1, 5] == 2
    assert found.edges[1, 6] == 1
    # Both are as short: the one that more paths took.
    assert found.branch_of(1) == (5, 9)


def test_the_multihomed_destination_of_the_virtual_internet() -> None:
    """Both providers of AS 101 are branches, whoever sees them."""
    found = tree(
        [AsPath(asns=routes_to(101)[stub]) for stub in STUBS if stub != 101], 101, sink=True
    )
    assert set(found.branches) == {(11, 101), (12, 101)}
    assert sum(found.branches.values()) == len(STUBS) - 1


def test_where_two_trees_meet() -> None:
    found = meeting(source((1, 5, 7), (1, 6, 8)), sink((4, 7, 9), (5, 9)))
    assert found is not None
    assert (found.asn, found.source_branch, found.sink_branch) == (5, (1, 5), (5, 9))
    assert (found.runner_up, found.ambiguity) == (7, 1)


def test_ties_go_to_the_more_travelled_then_the_smaller_cone_then_the_smaller_number() -> None:
    up = source((1, 5, 7), (1, 5, 8), (1, 6, 8))
    found = meeting(up, sink((5, 9), (6, 9)))
    assert found is not None
    assert (found.asn, found.runner_up, found.ambiguity) == (5, 6, 0)
    even = meeting(source((1, 5), (1, 6)), sink((5, 9), (6, 9)), cone={5: 40, 6: 2}.__getitem__)
    assert even is not None
    assert even.asn == 6
    equal = meeting(source((1, 6), (1, 5)), sink((6, 9), (5, 9)))
    assert equal is not None
    assert equal.asn == 5


def test_trees_that_share_nothing_have_no_answer() -> None:
    assert meeting(source((1, 5)), sink((6, 9))) is None


def test_no_paths_at_all() -> None:
    empty = tree([], 9, sink=True)
    assert (empty.paths, empty.branches, empty.share(9)) == (0, {}, 0.0)


def test_routes_of_the_virtual_internet_are_valley_free() -> None:
    """Up to providers, over one peering at most, down to customers; never up again."""
    assert len(PROVIDERS) == 12
    for destination in PROVIDERS:
        found = routes_to(destination)
        assert set(found) == set(PROVIDERS)
        for path in found.values():
            steps = [
                "up" if b in PROVIDERS[a] else "down" if a in PROVIDERS[b] else "over"
                for a, b in itertools.pairwise(path)
            ]
            assert steps == sorted(steps, key=["up", "over", "down"].index)
            assert steps.count("over") <= 1


def test_edges_of_paths_that_nobody_measured_are_right() -> None:
    """BRoute's claim is 80 %: trees from routes to and from others tell both edges of a path."""
    right = total = 0
    for start in STUBS:
        for end in STUBS:
            if start == end:
                continue
            others = [asn for asn in STUBS if asn not in {start, end}]
            up = tree([AsPath(asns=routes_to(other)[start]) for other in others], start, sink=False)
            down = tree([AsPath(asns=routes_to(end)[other]) for other in others], end, sink=True)
            found = meeting(up, down)
            truth = routes_to(end)[start]
            total += 2
            if found is not None:
                right += found.source_branch == truth[:2]
                right += found.sink_branch == truth[-2:]
    assert total == 60
    assert right / total >= 0.8, f"{right} of {total}"
