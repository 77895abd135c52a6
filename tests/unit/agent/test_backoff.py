from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emodis.agent.backoff import Backoff, Cause, Drop, cause_of
from emodis.wire.v1.common_pb2 import (
    CODE_FENCED,
    CODE_FULL,
    CODE_SHUTDOWN,
    CODE_UNAUTHENTICATED,
    CODE_VERSION,
    Code,
)

FLOOR_S = {
    Cause.UNREACHABLE: 1.0,
    Cause.CLOSED: 1.0,
    Cause.SILENT: 30.0,
    Cause.REFUSED: 300.0,
    Cause.FENCED: 300.0,
}


def drop(cause: Cause, retry_after_s: float = 0.0) -> Drop:
    return Drop(cause=cause, text="", retry_after_s=retry_after_s)


@given(
    causes=st.lists(st.sampled_from(Cause), min_size=1, max_size=30),
    share=st.floats(0, 1),
    wish_s=st.floats(allow_nan=True, allow_infinity=True),
)
def test_chance_only_adds_to_the_floor(causes: list[Cause], share: float, wish_s: float) -> None:
    backoff = Backoff(lambda low, high: low + share * (high - low))
    for cause in causes:
        delay_s = backoff.next_delay_s(drop(cause, wish_s))
        assert FLOOR_S[cause] <= delay_s <= 3600 + 120


def test_failures_in_a_row_spread_ever_wider_up_to_a_cap() -> None:
    backoff = Backoff(lambda low, high: high)
    delays_s = [backoff.next_delay_s(drop(Cause.UNREACHABLE)) for _ in range(40)]
    assert delays_s[:4] == [2.0, 3.0, 5.0, 9.0]
    assert delays_s[-1] == 121.0
    backoff.reset()
    assert backoff.next_delay_s(drop(Cause.UNREACHABLE)) == 2.0


def test_after_silence_the_masters_own_floor_holds() -> None:
    backoff = Backoff(lambda low, high: low, silent_floor_s=7.0)
    assert backoff.next_delay_s(drop(Cause.SILENT)) == 7.0


def test_a_planned_restart_names_the_time() -> None:
    backoff = Backoff(lambda low, high: low)
    assert backoff.next_delay_s(drop(Cause.CLOSED, 12.5)) == 12.5


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        (CODE_FENCED, Cause.FENCED),
        (CODE_VERSION, Cause.REFUSED),
        (CODE_UNAUTHENTICATED, Cause.REFUSED),
        (CODE_FULL, Cause.CLOSED),
        (CODE_SHUTDOWN, Cause.CLOSED),
    ],
)
def test_what_a_code_means_for_dialling_again(code: Code.ValueType, cause: Cause) -> None:
    assert cause_of(code) is cause


def test_every_code_has_a_meaning() -> None:
    assert {cause_of(code) for code in Code.values()} <= set(Cause)
