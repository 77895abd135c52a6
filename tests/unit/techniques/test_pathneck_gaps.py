from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emodis.techniques import pathneck_gaps as gaps
from emodis.wire.v1.techniques_pb2 import (
    PathneckObservations,
    PathneckTrain,
    ProbeRecord,
    TrainRecord,
)

US = 1_000
MS = 1_000_000
TARGET = IPv4Address("10.9.9.9").packed


def router(ttl: int) -> bytes:
    return IPv4Address(f"10.0.{ttl}.1").packed


def train(
    lengths_ms: list[float],
    *,
    queued_ms: float | None = 0.3,
    load: int = 60,
    muted: bool = True,
    departed_ms: float | None = None,
) -> PathneckTrain:
    """A train whose head answers arrive at 10 ms x TTL and tails so much later."""
    hops = len(lengths_ms)
    ttls = [*range(1, hops + 1), *[255] * load, *range(hops, 0, -1)]
    record = TrainRecord(kernel_tx=True, kernel_rx=True)
    span_ms = queued_ms if departed_ms is None else departed_ms
    for i, ttl in enumerate(ttls):
        share = i / (len(ttls) - 1)
        probe = record.probes.add(ttl=ttl, size_bytes=500 if ttl == 255 else 60)
        probe.muted = muted and ttl == 255
        probe.sent_ns = round((span_ms or 0.3) * MS * share)
        if queued_ms is not None:
            probe.queued_ns = round(queued_ms * MS * share)
    for ttl, length_ms in enumerate(lengths_ms, start=1):
        answer(record.probes[ttl - 1], ttl, 10.0 * ttl)
        answer(record.probes[-ttl], ttl, 10.0 * ttl + length_ms)
    return PathneckTrain(train=record, hops=hops, load_packets=load, load_size_bytes=500)


def answer(probe: ProbeRecord, ttl: int, at_ms: float) -> None:
    probe.received_ns = round(at_ms * MS)
    probe.address = router(ttl)
    probe.icmp_type = 11


def observed(*trains: PathneckTrain) -> PathneckObservations:
    return PathneckObservations(target=TARGET, trains=trains)


def test_spanned_bytes_worked_example() -> None:
    """Ten hops, 60 x 500 B: 9 heads + load + 10 tails pass hop 1; the load and one tail hop 10."""
    one = train([3.0] * 10)
    assert gaps.spanned_bytes(one, 1) == 9 * 60 + 30_000 + 10 * 60
    assert gaps.spanned_bytes(one, 10) == 30_000 + 60
    assert gaps.spanned_bytes(one, 0) == gaps.spanned_bytes(one, 1)


def test_gaps_are_normalised_to_the_first_hop() -> None:
    one = train([3.0] * 10)
    row = gaps.normalised(one)
    assert row[0] == 300 * US
    assert row[1] == 3 * MS
    assert row[10] == pytest.approx(3 * MS * 31_140 / 30_060)


def test_hop_0_is_when_the_train_was_queued_not_when_it_left() -> None:
    """A shaper on the host's own interface belongs to the first link."""
    one = train([27.0] * 3, queued_ms=0.3, departed_ms=27.0)
    assert gaps.queueing_ns(one) == 300 * US
    assert gaps.queueing_ns(train([27.0] * 3, queued_ms=None)) is None


def test_a_gap_needs_both_answers_from_one_router_in_order() -> None:
    lost = train([3.0, 3.0, 3.0])
    lost.train.probes[-2].ClearField("received_ns")
    assert gaps.gap_ns(lost, 2) is None
    nobody = train([3.0, 3.0, 3.0])
    nobody.train.probes[1].address = nobody.train.probes[-2].address = b""
    assert gaps.gap_ns(nobody, 2) is None
    other = train([3.0, 3.0, 3.0])
    other.train.probes[-2].address = router(9)
    assert gaps.gap_ns(other, 2) is None
    assert gaps.gap_ns(train([3.0, -1.0, 3.0]), 2) is None
    # 31 kB cannot pass within 1 us.
    assert gaps.gap_ns(train([3.0, 0.001, 3.0]), 2) is None
    assert gaps.gap_ns(train([3.0, 3.0, 3.0]), 2) == 3 * MS


def test_a_pause_of_the_sender_while_the_link_is_idle_spoils_a_train() -> None:
    paused = train([5.0] * 3)
    for probe in paused.train.probes[30:]:
        probe.sent_ns += 4 * MS
        probe.queued_ns += 4 * MS
    assert gaps.stall_ns(paused) == pytest.approx(4 * MS, rel=0.01)
    assert gaps.held_up(paused)
    assert gaps.read(observed(paused)).discarded == ("sender",)


def test_the_same_pause_behind_a_shaper_delays_nothing() -> None:
    """Packets still waited in the host's own queue: the train left the shaper whole."""
    paused = train([27.0] * 3, queued_ms=0.3, departed_ms=27.0)
    for probe in paused.train.probes[30:]:
        probe.queued_ns += 4 * MS
    assert gaps.stall_ns(paused) == 0
    assert not gaps.held_up(paused)


def test_lost_answers_spoil_a_train_and_stamps_of_the_process_say_nothing() -> None:
    dropped = train([3.0] * 3)
    dropped.train.receive_drops = 1
    assert gaps.held_up(dropped)
    by_process = train([3.0] * 3)
    by_process.train.kernel_tx = False
    assert gaps.stall_ns(by_process) is None
    assert not gaps.held_up(by_process)


def test_trains_of_another_route_do_not_count() -> None:
    away = train([3.0] * 4)
    for probe in (away.train.probes[1], away.train.probes[-2]):
        probe.address = router(77)
    readings = gaps.read(observed(*[train([3.0] * 4) for _ in range(4)], away))
    assert readings.discarded == ("", "", "", "", "route")
    assert not readings.unstable


def test_a_route_that_differs_every_time_is_unstable() -> None:
    trains = []
    for i in range(6):
        one = train([3.0] * 4)
        for probe in (one.train.probes[1], one.train.probes[-2]):
            probe.address = router(100 + i)
        trains.append(one)
    assert gaps.read(observed(*trains)).unstable


def test_head_and_tail_from_different_routers_cost_that_hop_only() -> None:
    trains = []
    for i in range(5):
        one = train([3.0] * 4)
        one.train.probes[-2].address = router(100 + i)
        trains.append(one)
    readings = gaps.read(observed(*trains))
    assert readings.discarded == ("",) * 5
    assert readings.ttls == (0, 1, 3, 4)
    assert readings.flaps == 5
    assert readings.valid_trains == {0: 5, 1: 5, 2: 0, 3: 5, 4: 5}


def test_a_router_that_comes_up_again_is_left_out() -> None:
    trains = [train([3.0] * 5) for _ in range(3)]
    for one in trains:
        for probe in (one.train.probes[3], one.train.probes[-4]):
            probe.address = router(2)
    assert gaps.read(observed(*trains)).ttls == (0, 1, 2, 3, 5)


def test_the_last_size_of_train_that_is_there_in_numbers_counts() -> None:
    small, large = train([3.0] * 3), train([3.0] * 3, load=80)
    assert gaps.read(observed(small, small, *[large] * 3)).discarded == ("load", "load", "", "", "")
    assert gaps.read(observed(*[small] * 3, large)).discarded == ("", "", "", "load")
    assert gaps.read(observed(small, small, large)).discarded == ("", "", "load")


def test_words_of_the_conversation_stand() -> None:
    one = train([3.0] * 3)
    one.discarded = "incomplete"
    audible = train([3.0] * 3, muted=False)
    audible.discarded = "control"
    short = train([3.0] * 3)
    short.train.cut_short = True
    readings = gaps.read(observed(one, audible, short, *[train([3.0] * 3)] * 3))
    assert readings.discarded == ("incomplete", "control", "incomplete", "", "", "")


def test_a_record_with_missing_packets_is_incomplete() -> None:
    one = train([3.0] * 3)
    del one.train.probes[5]
    assert gaps.read(observed(one)).discarded == ("incomplete",)
    assert gaps.read(observed(PathneckTrain(hops=2**32 - 1))).discarded == ("incomplete",)
    assert gaps.read(observed()).kept == ()


hostile_probes = st.builds(
    ProbeRecord,
    ttl=st.integers(0, 300),
    size_bytes=st.integers(0, 2**32 - 1),
    muted=st.booleans(),
    sent_ns=st.none() | st.integers(-(2**63), 2**63 - 1),
    queued_ns=st.none() | st.integers(-(2**63), 2**63 - 1),
    received_ns=st.none() | st.integers(-(2**63), 2**63 - 1),
    address=st.sampled_from([b"", b"abc", router(1), router(2), TARGET, bytes(16)]),
    icmp_type=st.sampled_from([0, 3, 11, 77]),
)


@st.composite
def hostile_trains(draw: st.DrawFn) -> PathneckTrain:
    hops, load = draw(st.integers(0, 4)), draw(st.integers(0, 3))
    probes = [draw(hostile_probes) for _ in range(2 * hops + load)]
    return PathneckTrain(
        train=TrainRecord(probes=probes, kernel_tx=draw(st.booleans())),
        hops=hops,
        load_packets=load,
        load_size_bytes=draw(st.integers(0, 2**32 - 1)),
        discarded=draw(st.sampled_from(["", "control", "incomplete", "nonsense"])),
    )


@given(st.lists(hostile_trains(), max_size=6))
def test_hostile_trains_are_read_without_complaint(trains: list[PathneckTrain]) -> None:
    readings = gaps.read(observed(*trains))
    assert len(readings.discarded) == len(trains)
    assert len(readings.kept) == readings.discarded.count("")
    for row in readings.gaps_ns:
        assert len(row) == len(readings.ttls)
        assert all(gap is None or gap > 0 for gap in row)
