from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from emodis.techniques.loss_places import Place, Seen, locate, unreliable


def path(*asked_and_lost: tuple[float, float]) -> list[Seen]:
    """Hops 1, 2, ..., the last of which is the destination."""
    return [Seen(ttl, *one) for ttl, one in enumerate(asked_and_lost, start=1)]


def test_worked_example() -> None:
    """Hops 1 and 2 lose nothing of 120, hops 3 and 4 and the destination about a fifth."""
    seen = path((120, 0), (120, 0), (120, 29), (120, 26), (300, 48))
    assert unreliable(seen) == frozenset()
    assert locate(seen) == Place(after=2, until=3, more_after=None)


def test_the_first_link() -> None:
    assert locate(path((100, 10), (100, 11), (300, 30))) == Place(0, 1, None)


def test_the_last_link() -> None:
    assert locate(path((100, 0), (100, 0), (300, 30))) == Place(2, 3, None)


def test_a_router_that_loses_more_than_those_behind_it_shows_nothing() -> None:
    seen = path((100, 0), (100, 60), (100, 0), (100, 0), (300, 0))
    assert unreliable(seen) == {2}
    # The answer is the same whether the path behind it loses or not.
    seen = path((100, 0), (100, 60), (100, 0), (100, 12), (300, 30))
    assert unreliable(seen) == {2}
    assert locate([hop for hop in seen if hop.ttl != 2]) == Place(3, 4, None)


def test_the_destination_is_a_witness_too() -> None:
    assert unreliable(path((100, 60), (300, 0))) == {1}


def test_a_little_loss_before_is_not_its_beginning() -> None:
    assert locate(path((1000, 4), (1000, 5), (1000, 300), (1000, 310))) == Place(2, 3, None)


def test_what_is_lost_in_two_places_is_said() -> None:
    seen = path((400, 0), (400, 20), (400, 24), (400, 80), (800, 160))
    assert locate(seen) == Place(after=1, until=2, more_after=3)


def test_few_answers_of_many_hops_help_each_other() -> None:
    alone = path((22, 0), (22, 3), (300, 30))
    together = path(*[(22, 0)] * 5, *[(22, 3)] * 5, (300, 30))
    assert locate(alone) == Place(0, 2, None)
    found = locate(together)
    assert found is not None
    assert 1 <= found.after <= 5 < found.until <= 11


def test_one_lost_probe_is_too_few() -> None:
    assert locate(path((100, 0), (300, 1))) is None
    assert locate(path((100, 0), (300, 0))) is None


def test_a_destination_alone_leaves_the_whole_path() -> None:
    assert locate(path((300, 30))) == Place(0, 1, None)


hops = st.tuples(st.integers(1, 500), st.floats(0, 1)).map(lambda p: (p[0], round(p[0] * p[1])))


@given(st.lists(hops, min_size=1, max_size=12))
def test_whatever_was_seen_the_place_is_a_stretch_of_the_path(asked: list[tuple[int, int]]) -> None:
    seen = path(*asked)
    doubtful = unreliable(seen)
    # Nothing is behind the destination.
    assert seen[-1].ttl not in doubtful
    place = locate([hop for hop in seen if hop.ttl not in doubtful])
    if place is not None:
        assert 0 <= place.after < place.until <= len(seen)
        assert place.more_after is None or place.until <= place.more_after < len(seen)
        assert not {place.after, place.until} & doubtful


@given(st.lists(st.integers(1, 500), min_size=1, max_size=12))
def test_without_loss_there_is_no_place(asked: list[int]) -> None:
    seen = path(*((count, 0) for count in asked))
    assert (unreliable(seen), locate(seen)) == (frozenset(), None)
