"""IGI/PTR as a technique: the table of the evidence, worked examples, refusals, honest ends."""

from __future__ import annotations

from ipaddress import ip_address
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emodis.techniques.base import BadParameters, Context, Measured
from emodis.techniques.igi import Igi
from emodis.wire.v1.common_pb2 import END_DONE, END_FAILED, Body, Quality
from emodis.wire.v1.igi_pb2 import IgiObservations, IgiResult, IgiTrain
from tests.support.driving import drive
from tests.support.fifo import Link

MBIT = 1_000_000
IGI = Igi()
CONTEXT = Context(address=ip_address("192.0.2.1"), seed=1)


def run(link: Link, **options: object) -> Measured:
    """A whole run over a simulated link."""
    call = IGI.call({name: str(value) for name, value in options.items()})
    trains = IGI.talk_to_peer(call, CONTEXT)
    return drive(trains, link)


def result(measured: Measured) -> IgiResult:
    assert isinstance(measured.result, IgiResult)
    return measured.result


def test_an_idle_link_is_measured_exactly() -> None:
    found = run(Link(10 * MBIT))
    assert found.ending.end == END_DONE
    assert found.quality.word == Quality.WORD_GOOD
    said = result(found)
    assert said.ptr_bps == pytest.approx(10 * MBIT, rel=0.01)
    assert said.capacity_bps == pytest.approx(10 * MBIT, rel=0.01)
    assert said.igi_bps == pytest.approx(10 * MBIT, rel=0.01)
    assert said.low_bps <= said.ptr_bps <= said.high_bps
    assert said.direction == "downstream"


@pytest.mark.parametrize("capacity", [10, 100, 1000])
def test_an_idle_link_is_measured_within_a_tenth(capacity: int) -> None:
    for seed in range(5):
        found = run(Link(capacity * MBIT, seed=seed, jitter_ns=5000))
        assert result(found).ptr_bps == pytest.approx(capacity * MBIT, rel=0.1)


# Evidence B: link and cross traffic in Mbit/s; |median error| and its 90th percentile at most.
@pytest.mark.parametrize(
    ("capacity", "cross", "middle", "tail"),
    [
        (10, 3, 0.13, 0.25),
        (10, 7, 0.13, 0.39),
        (100, 30, 0.13, 0.25),
        (100, 70, 0.13, 0.3),
        (1000, 300, 0.13, 0.15),
        (1000, 700, 0.13, 0.2),
    ],
)
def test_the_error_is_that_of_the_evidence(
    capacity: int, cross: int, middle: float, tail: float
) -> None:
    free_bps = (capacity - cross) * MBIT
    errors = []
    for seed in range(5):
        link = Link(capacity * MBIT, cross * MBIT, seed=seed, jitter_ns=5000)
        errors.append(result(run(link)).ptr_bps / free_bps - 1)
    assert abs(median(errors)) <= middle
    assert max(map(abs, errors)) <= 1.5 * tail


def test_more_cross_traffic_means_less_available() -> None:
    rates = [result(run(Link(100 * MBIT, load * MBIT))).ptr_bps for load in (0, 30, 60)]
    assert rates == sorted(rates, reverse=True)


def test_where_nothing_is_stretched_the_first_phase_is_the_answer_and_a_doubt() -> None:
    # The host itself is slower than the path: bursts leave 50 us apart.
    found = run(Link(10_000 * MBIT, sender_gap_ns=50_000))
    said = result(found)
    paced = said.phases[1]
    assert said.ptr_bps == pytest.approx(paced.size_bytes * 8e9 / paced.gap_out_ns, rel=0.01)
    assert found.quality.word != Quality.WORD_GOOD


@pytest.mark.parametrize("loss_ratio", [0.01, 0.05, 0.2])
def test_loss_does_not_bias_the_answer(loss_ratio: float) -> None:
    found = run(Link(20 * MBIT, loss_ratio=loss_ratio))
    assert result(found).ptr_bps == pytest.approx(20 * MBIT, rel=0.05)
    assert result(found).loss_ratio == pytest.approx(loss_ratio, abs=0.08)


def test_reordering_is_counted_and_said() -> None:
    found = run(Link(20 * MBIT, reorder_ratio=0.15))
    assert result(found).ptr_bps == pytest.approx(20 * MBIT, rel=0.1)
    assert any("out of order" in reason for reason in found.quality.reasons)


def test_what_was_discarded_does_not_dilute_the_reordering() -> None:
    observations = run(Link(20 * MBIT, reorder_ratio=0.15)).observations
    assert isinstance(observations, IgiObservations)
    spoiled = [IgiTrain(packets=60, size_bytes=500, discarded="gap") for _ in observations.trains]
    observations.trains.extend(3 * spoiled)
    found = IGI.estimate(IGI.call({}), observations.SerializeToString())
    assert any("out of order" in reason for reason in found.quality.reasons)


def test_a_receiver_with_a_quantum_gets_ptr_only() -> None:
    said = result(run(Link(50 * MBIT, quantum_ns=1_000_000)))
    assert said.coalesced
    assert said.ptr_bps == pytest.approx(50 * MBIT, rel=0.15)
    assert not said.HasField("igi_bps")
    assert not said.HasField("capacity_bps")


def test_interrupts_every_100_us_leave_ptr_right_on_a_gigabit_link() -> None:
    errors = []
    for seed in range(6):
        found = run(Link(1000 * MBIT, 300 * MBIT, seed=seed, quantum_ns=100_000))
        said = result(found)
        assert said.coalesced
        assert not said.HasField("igi_bps")
        assert "the receiver gathers packets before it shows them" in found.quality.reasons
        errors.append(said.ptr_bps / (700 * MBIT) - 1)
    assert -0.08 <= min(errors) <= max(errors) <= 0.18


def test_a_token_bucket_is_a_doubt() -> None:
    found = run(Link(10 * MBIT, bucket_bytes=20_000))
    assert any("token bucket" in reason for reason in found.quality.reasons)


@pytest.mark.parametrize("bucket_bytes", [10_000, 60_000])
def test_one_that_is_small_or_larger_than_short_trains_changes_little(bucket_bytes: int) -> None:
    found = run(Link(10 * MBIT, bucket_bytes=bucket_bytes))
    assert result(found).ptr_bps == pytest.approx(10 * MBIT, rel=0.15)


def test_a_plain_path_is_not_taken_for_a_shaper() -> None:
    said = [
        run(Link(10 * MBIT, load * MBIT, seed=seed)).quality.reasons
        for load in (0, 3, 6)
        for seed in range(5)
    ]
    assert not any("token bucket" in reason for reasons in said for reason in reasons)


def test_where_the_tight_link_is_not_the_narrow_one() -> None:
    errors = []
    for seed in range(6):
        tight = Link(50 * MBIT, 30 * MBIT, seed=seed, then=Link(30 * MBIT))
        errors.append(result(run(tight)).ptr_bps / (20 * MBIT) - 1)
    assert abs(median(errors)) <= 0.3


def test_no_udp_is_said_so() -> None:
    found = run(Link(10 * MBIT, loss_ratio=1.0))
    assert (found.ending.end, found.ending.reason) == (END_FAILED, "udp_blocked")
    assert found.result is None


def test_without_convergence_the_upper_bound_is_still_given() -> None:
    found = run(Link(10 * MBIT, 8.5 * MBIT), min_rate_bps=5_000_000)
    assert (found.ending.end, found.ending.reason) == (END_FAILED, "not_converged")
    said = result(found)
    assert not said.HasField("ptr_bps")
    assert said.high_bps >= 1.5 * MBIT
    assert found.quality.word == Quality.WORD_POOR


def test_stored_observations_give_the_same_again() -> None:
    found = run(Link(30 * MBIT, 10 * MBIT, seed=4))
    again = IGI.estimate(IGI.call({}), found.observations.SerializeToString())
    assert again == found


def test_it_is_no_conversation_for_one() -> None:
    with pytest.raises(BadParameters, match="partner"):
        IGI.conversation(IGI.call({}), CONTEXT)


@pytest.mark.parametrize(
    "options",
    [
        {"packets": "19"},
        {"payload_bytes": "1473"},
        {"epsilon_ratio": "nan"},
        {"confirm": "0"},
        {"max_time_s": "111"},
        {"max_bytes": "1"},
        {"trains": "3"},
    ],
)
def test_what_is_out_of_range_is_refused(options: dict[str, str]) -> None:
    with pytest.raises(BadParameters):
        IGI.call(options)


def test_the_deadline_of_the_defaults_is_37_s() -> None:
    worst = IGI.worst_case(IGI.call({}))
    assert (worst.duration_s, worst.sent_bytes) == (37.0, 8_000_000)
    assert IGI.expected(IGI.call({})).sent_bytes < 1_000_000


def test_a_result_has_no_addresses() -> None:
    assert IGI.addresses(Body(technique="igi", schema=1)) == ()


TRAINS = st.builds(
    IgiTrain,
    phase=st.integers(0, 3),
    packets=st.integers(0, 100),
    size_bytes=st.integers(0, 70_000),
    gap_ns=st.integers(0, 10**7),
    sent_steps_ns=st.lists(st.integers(-(10**6), 10**12), max_size=8),
    received=st.lists(st.integers(0, 9), max_size=8),
    received_steps_ns=st.lists(st.integers(-(10**6), 10**12), max_size=8),
    discarded=st.sampled_from(["", "", "", "loss"]),
)


@given(st.lists(TRAINS, max_size=8))
def test_any_observations_can_be_estimated(trains: list[IgiTrain]) -> None:
    stored = IgiObservations(trains=trains, stopped="?").SerializeToString()
    found = IGI.estimate(IGI.call({}), stored)
    assert found.ending.end in {END_DONE, END_FAILED}


def test_probes_are_as_large_as_ipv6_lets_them_be() -> None:
    over_ipv6 = Context(address=ip_address("2001:db8::1"), seed=1)
    train = next(IGI.talk_to_peer(IGI.call({"payload_bytes": "1452"}), over_ipv6))
    assert train.size_bytes == 1500
    with pytest.raises(BadParameters, match="64 to 1452 bytes over IPv6"):
        next(IGI.talk_to_peer(IGI.call({"payload_bytes": "1453"}), over_ipv6))
