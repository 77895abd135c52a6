from __future__ import annotations

from emodis.techniques.pathneck_pacing import Pacing, Watch, grown_load
from tests.unit.techniques.test_pathneck_gaps import train

MS = 1_000_000
S = 1_000_000_000


def pacing(**more: int) -> Pacing:
    times = {"floor_ns": 250 * MS, "ceiling_ns": 2 * S, "drain_ns": 2 * S, "rtt_ns": 20 * MS}
    return Pacing(**{**times, **more})


def test_a_fast_path_is_paced_by_the_floor() -> None:
    pace = pacing()
    pace.learn(train([3.0] * 10))
    assert pace.interval_ns(31_200) == 250 * MS


def test_trains_never_queue_behind_each_other() -> None:
    """31.2 kB at 1 Mbit/s take 250 ms; 2 RTT + 1.5 times that."""
    pace = pacing(rtt_ns=50 * MS)
    pace.learn(train([31_140 * 8 / 1000] * 10))
    assert pace.slowest_bps is not None
    assert round(pace.slowest_bps, -4) <= 1_000_000
    interval_ms = pace.interval_ns(31_200) / MS
    assert interval_ms > 2 * pace.rtt_ns / MS + 1.5 * 249
    assert pace.wait_ns(31_200) > 250 * MS


def test_an_unknown_path_is_taken_for_the_slowest() -> None:
    assert pacing().interval_ns(31_250) == 40 * MS + 750 * MS
    assert pacing().wait_ns(31_250) == 40 * MS + 1500 * MS + 200 * MS


def test_the_pause_doubles_up_to_its_ceiling() -> None:
    pace = pacing()
    pace.learn(train([3.0] * 3))
    seen = []
    while pace.slow_down(2, 31_000, is_host=False):
        seen.append(pace.interval_ns(31_000) // MS)
    assert seen[:3] == [500, 1000, 2000]
    assert len(seen) == 3
    assert pace.limiting_ttl == 2
    assert pace.exhausted
    pace.relax()
    assert (pace.interval_ns(31_000), pace.limiting_ttl) == (250 * MS, 0)


def test_an_end_host_gets_two_seconds_at_once() -> None:
    pace = pacing()
    assert pace.slow_down(3, 31_000, is_host=True)
    assert pace.interval_ns(31_000) == 2 * S
    assert pace.shortest_ns(31_000) < S
    assert not pace.slow_down(3, 31_000, is_host=True)


def test_a_hop_that_misses_one_train_is_not_starving() -> None:
    watch = Watch({1, 2, 3})
    lossy = train([3.0] * 3)
    lossy.train.probes[-2].ClearField("received_ns")
    assert [watch.starving(t) for t in (train([3.0] * 3), lossy, train([3.0] * 3))] == [[]] * 3


def test_a_hop_that_misses_two_of_three_is() -> None:
    watch = Watch({1, 2, 3})
    lossy = train([3.0] * 3)
    lossy.train.probes[-2].ClearField("received_ns")
    assert [watch.starving(t) for t in (lossy, train([3.0] * 3), lossy)] == [[], [], [2]]
    watch.give_up(2)
    assert watch.expected == {1, 3}
    assert watch.starving(lossy) == []


def test_a_hop_heard_for_the_first_time_is_expected_from_then_on() -> None:
    watch = Watch({1})
    watch.starving(train([3.0] * 3))
    assert watch.expected == {1, 2, 3}


def test_the_load_grows_where_noise_hides_a_third_of_the_rate() -> None:
    quiet = [train([3.0] * 6), train([3.01] * 6)]
    assert grown_load(quiet, 60, 500) is None
    noisy = [train([3.0] * 6), train([5.0] * 6)]
    # 4 sigmas are 4 x 1.48 ms, a third of 4 ms is 1.71 ms: 3.46 times the load.
    assert grown_load(noisy, 60, 500) == (75, 1400)
    hopeless = [train([3.0] * 6), train([50.0] * 6)]
    assert grown_load(hopeless, 60, 500) == (200, 1400)
    assert grown_load(hopeless, 200, 1400) is None


def test_the_load_grows_where_the_train_is_too_short_to_measure() -> None:
    """At 1 Gbit/s a drop of 30 % adds 0.1 ms; that is no more than the smallest step."""
    fast = [train([0.2] * 6), train([0.2] * 6)]
    assert grown_load(fast, 60, 500) == (60, 1400)


def test_the_load_grows_where_answers_in_batches_are_as_coarse_as_the_drop() -> None:
    """Most hops show no scatter at all; three are one batch of 125 us off."""
    alike, off = train([0.25] * 7), train([0.25] * 4 + [0.375] * 3)
    assert grown_load([alike, alike], 60, 500) is None
    assert grown_load([alike, off], 60, 500) == (60, 1400)


def test_nothing_follows_from_one_train() -> None:
    assert grown_load([train([3.0] * 6)], 60, 500) is None
