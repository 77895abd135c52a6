from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emodis.wire import hello
from emodis.wire.hello import KeepaliveTimes, VersionMismatch, agree_on_version, span


@pytest.fixture
def _we_speak_3_to_5(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hello, "PROTOCOL_MIN", 3)
    monkeypatch.setattr(hello, "PROTOCOL_MAX", 5)


@pytest.mark.usefixtures("_we_speak_3_to_5")
@pytest.mark.parametrize(
    ("theirs", "agreed"), [((1, 3), 3), ((4, 9), 5), ((5, 5), 5), ((1, 9), 5), ((3, 4), 4)]
)
def test_the_highest_version_of_both(theirs: tuple[int, int], agreed: int) -> None:
    assert agree_on_version(*theirs) == agreed


@pytest.mark.usefixtures("_we_speak_3_to_5")
@pytest.mark.parametrize("theirs", [(1, 2), (6, 9), (5, 3), (0, 0)])
def test_no_version_in_common_names_both_ranges(theirs: tuple[int, int]) -> None:
    with pytest.raises(VersionMismatch) as raised:
        agree_on_version(*theirs)
    assert "3 to 5" in str(raised.value)
    assert span(*theirs) in str(raised.value)


def test_the_defaults_fit() -> None:
    assert KeepaliveTimes().interval_s == 15.0


@pytest.mark.parametrize(
    ("times", "numbers"),
    [
        ({"master_timeout_s": 50.0}, "45 + 5 = 50 is not below 50"),
        ({"reconnect_floor_s": 27.0}, "52 + 15 + 5 = 72 is not below 45 + 27 = 72"),
        ({"interval_s": 40.0}, "40 + 5 = 45 is not below 45"),
        ({"interval_s": 0.0}, "interval_s must be positive, it is 0"),
        ({"rtt_max_s": -1.0}, "rtt_max_s must be positive, it is -1"),
        ({"rtt_max_s": float("nan")}, "rtt_max_s must be positive, it is nan"),
        ({"agent_timeout_s": float("inf")}, "not below"),
    ],
)
def test_times_that_do_not_fit_are_refused_with_their_numbers(
    times: dict[str, float], numbers: str
) -> None:
    with pytest.raises(ValueError, match=numbers.replace("+", r"\+")):
        KeepaliveTimes(**times)


@given(st.tuples(*[st.floats(allow_nan=True)] * 5))
def test_whatever_is_accepted_keeps_all_three_inequalities(times: tuple[float, ...]) -> None:
    try:
        made = KeepaliveTimes(*times)
    except (ValueError, TypeError):
        return
    assert made.interval_s + made.rtt_max_s < made.agent_timeout_s
    assert made.agent_timeout_s + made.rtt_max_s < made.master_timeout_s
    back_s = made.agent_timeout_s + made.reconnect_floor_s
    assert made.master_timeout_s + made.interval_s + made.rtt_max_s < back_s
