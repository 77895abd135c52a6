"""Priority and place of this very process, as the kernel grants them."""

from __future__ import annotations

import os

import pytest

from emodis.prober.steadiness import Footing, Steadiness, find_footing

Refusals = list[str]


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> Refusals:
    """Calls of os named here fail as they do without privileges; no other changes anything."""
    names: Refusals = []

    def guarded(name: str) -> None:
        def call(*arguments: object) -> None:
            if name in names:
                raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, name, call)

    for name in ("sched_setscheduler", "setpriority"):
        guarded(name)
    return names


@pytest.mark.parametrize(
    ("names", "footing"),
    [
        ([], Footing.REAL_TIME),
        (["sched_setscheduler"], Footing.NICE),
        (["sched_setscheduler", "setpriority"], Footing.NORMAL),
    ],
)
def test_the_best_that_is_allowed_is_taken(
    refused: Refusals, names: list[str], footing: Footing
) -> None:
    refused += names
    assert find_footing() is footing


@pytest.mark.parametrize("footing", Footing)
def test_a_train_leaves_everything_as_it_was(footing: Footing) -> None:
    before = os.sched_getscheduler(0), os.sched_getaffinity(0)
    with pytest.raises(ZeroDivisionError), Steadiness(footing).held():
        raise ZeroDivisionError
    assert (os.sched_getscheduler(0), os.sched_getaffinity(0)) == before


def test_in_real_time_it_stays_where_it_is() -> None:
    places = os.sched_getaffinity(0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    except PermissionError:
        pytest.skip("this host does not allow real-time priority")
    with Steadiness(Footing.REAL_TIME).held():
        assert os.sched_getscheduler(0) == os.SCHED_FIFO
        assert len(os.sched_getaffinity(0)) == 1
    assert os.sched_getaffinity(0) == places


def test_losing_the_permission_half_way_loses_no_train(refused: Refusals) -> None:
    refused.append("sched_setscheduler")
    flown = []
    with Steadiness(Footing.REAL_TIME).held():
        flown.append("train")
    assert flown == ["train"]
