from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from emodis.agent.clock import MasterClock

NS = 1_000_000_000
DELAY_NS = st.integers(0, 40 * NS)


@st.composite
def exchanges(draw: st.DrawFn) -> tuple[int, int, list[tuple[int, int, int]]]:
    """Offset, drift in ppm, and (gap before, way there, way back) of each exchange."""
    return (
        draw(st.integers(-(10**15), 10**15)),
        draw(st.integers(-999, 999)),
        draw(st.lists(st.tuples(DELAY_NS, DELAY_NS, DELAY_NS), min_size=1, max_size=20)),
    )


@given(world=exchanges(), later_ns=st.integers(0, 3600 * NS))
def test_the_bound_is_never_below_the_masters_clock(
    world: tuple[int, int, list[tuple[int, int, int]]], later_ns: int
) -> None:
    offset_ns, drift_ppm, rounds = world

    def master_ns(local_ns: int) -> int:
        return local_ns + offset_ns + local_ns * drift_ppm // 1_000_000

    clock, now_ns = MasterClock(), 0
    for gap_ns, there_ns, back_ns in rounds:
        sent_ns = now_ns + gap_ns
        stamp_ns = master_ns(sent_ns + there_ns)
        now_ns = sent_ns + there_ns + back_ns
        clock.heard(sent_ns=sent_ns, received_ns=now_ns, master_clock_ns=stamp_ns)
        latest_ns = clock.latest_ns(now_ns)
        assert latest_ns is not None
        assert latest_ns >= master_ns(now_ns) - 1
    latest_ns = clock.latest_ns(now_ns + later_ns)
    assert latest_ns is not None
    assert latest_ns >= master_ns(now_ns + later_ns) - 1


@given(
    world=exchanges(),
    ahead_ns=st.integers(-100 * NS, 200 * NS),
)
def test_at_a_local_deadline_the_masters_has_not_passed(
    world: tuple[int, int, list[tuple[int, int, int]]], ahead_ns: int
) -> None:
    offset_ns, drift_ppm, rounds = world

    def master_ns(local_ns: int) -> int:
        return local_ns + offset_ns + local_ns * drift_ppm // 1_000_000

    _, there_ns, back_ns = rounds[0]
    clock, now_ns = MasterClock(), there_ns + back_ns
    clock.heard(sent_ns=0, received_ns=now_ns, master_clock_ns=master_ns(there_ns))
    deadline_ns = master_ns(now_ns) + ahead_ns
    local_ns = clock.local_deadline_ns(deadline_ns, now_ns)
    assert local_ns is not None
    if local_ns > now_ns:
        assert master_ns(local_ns) <= deadline_ns + 1


def test_the_tightest_bound_is_kept_until_drift_has_worn_it_out() -> None:
    clock = MasterClock()
    clock.heard(sent_ns=0, received_ns=0, master_clock_ns=1000 * NS)
    clock.heard(sent_ns=10 * NS, received_ns=14 * NS, master_clock_ns=1012 * NS)
    # The slow exchange alone would say 1016; the quick one with 14 s of drift is tighter.
    assert clock.latest_ns(14 * NS) == 1014 * NS + 14 * NS // 1000
    later_ns = 10_000 * NS
    clock.heard(sent_ns=later_ns - NS, received_ns=later_ns, master_clock_ns=1000 * NS + later_ns)
    assert clock.latest_ns(later_ns) == 1000 * NS + later_ns + NS + NS // 1000


def test_a_bound_that_was_overtaken_while_our_machine_stood_still_is_dropped() -> None:
    clock = MasterClock()
    clock.heard(sent_ns=0, received_ns=0, master_clock_ns=1000 * NS)
    # A virtual machine paused for a minute: our clock did not see it.
    clock.heard(sent_ns=NS, received_ns=NS, master_clock_ns=1061 * NS)
    assert clock.latest_ns(NS) == 1061 * NS


def test_before_any_answer_nothing_is_known() -> None:
    clock = MasterClock()
    assert clock.latest_ns(5) is None
    assert clock.local_deadline_ns(10, 5) is None
