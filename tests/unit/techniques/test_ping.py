from __future__ import annotations

import random
from ipaddress import IPv6Address
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emodis.packets.model import Kind
from emodis.techniques.base import Context, Measured
from emodis.techniques.ping import Ping, estimate
from emodis.wire.v1.common_pb2 import Blame, End, Quality
from emodis.wire.v1.techniques_pb2 import ProbeRecord
from tests.support.fluid import MS, TARGET, Path, drive, path

PING = Ping()


def echo(sent_ns: int, rtt_ns: int | None, ttl: int = 60) -> ProbeRecord:
    probe = ProbeRecord(ttl=64, size_bytes=84, sent_ns=sent_ns)
    if rtt_ns is not None:
        probe.received_ns = sent_ns + rtt_ns
        probe.address = TARGET.packed
        probe.reply_ttl = ttl
    return probe


def measure(network: Path, **options: str) -> Measured:
    call = PING.call(options)
    return drive(PING.conversation(call, Context(address=TARGET, seed=1)), network)


def test_worked_example() -> None:
    """Five probes 200 ms apart: 20, 22, lost, 21, and one that comes after the timeout."""
    rtts_ms = [20, 22, None, 21, 2001]
    probes = [
        echo(i * 200 * MS, None if rtt is None else rtt * MS) for i, rtt in enumerate(rtts_ms)
    ]
    result = estimate(probes, timeout_s=2.0, interval_s=0.2)
    assert (result.sent, result.answered, result.late) == (5, 3, 1)
    assert result.loss_ratio == pytest.approx(0.4)
    assert result.loss_max_run == 1
    assert (result.rtt_min_ns, result.rtt_median_ns, result.rtt_max_ns) == (
        20 * MS,
        21 * MS,
        22 * MS,
    )
    assert result.rtt_stddev_ns == MS
    # Only 20 -> 22 are neighbours.
    assert result.ipdv_ns == 2 * MS
    # 200 ms between probes are more than twice the spread of 2 ms: nothing could overtake.
    assert not result.HasField("reordered")
    assert (result.reply_ttl, result.reverse_hops) == (60, 4)


def test_one_answer_has_no_variation() -> None:
    result = estimate([echo(0, 5 * MS), echo(MS, None)], timeout_s=1)
    assert not result.HasField("ipdv_ns")
    assert not result.HasField("rtt_stddev_ns")
    assert not result.HasField("reordered")
    assert result.rtt_median_ns == 5 * MS


def test_overtaking_is_counted_where_it_is_possible() -> None:
    probes = [echo(0, 100 * MS), echo(10 * MS, 20 * MS), echo(20 * MS, 20 * MS)]
    assert estimate(probes, timeout_s=1, interval_s=0.01).reordered == 1


@given(
    rtts_ms=st.lists(st.none() | st.integers(0, 3000), min_size=1, max_size=40),
    shift_ns=st.integers(0, 10**18),
)
def test_only_differences_of_time_matter(rtts_ms: list[int | None], shift_ns: int) -> None:
    def probes(shift_ns: int) -> list[ProbeRecord]:
        return [
            echo(shift_ns + i * 10 * MS, None if rtt is None else rtt * MS)
            for i, rtt in enumerate(rtts_ms)
        ]

    here = estimate(probes(0), timeout_s=2.0, interval_s=0.01)
    there = estimate(probes(shift_ns), timeout_s=2.0, interval_s=0.01)
    assert here == there
    assert here.answered + here.late <= here.sent
    assert here.loss_low_ratio <= here.loss_ratio + 1e-9
    assert here.loss_ratio <= here.loss_high_ratio + 1e-9


def test_the_interval_contains_the_true_loss_nine_times_of_ten() -> None:
    hits = 0
    for seed in range(100):
        chance = random.Random(seed)
        probes = [echo(i, None if chance.random() < 0.1 else 5) for i in range(200)]
        result = estimate(probes, timeout_s=1)
        hits += result.loss_low_ratio <= 0.1 <= result.loss_high_ratio
    assert hits >= 90


def test_the_conversation_asks_for_one_paced_train() -> None:
    talk = PING.conversation(PING.call({"count": "50"}), Context(address=TARGET, seed=3))
    train = next(talk)
    assert train.kind is Kind.ICMP_ECHO
    assert {probe.size_bytes for probe in train.probes} == {84}
    assert train.probes[0].after_ns == 0
    gaps = [probe.after_ns for probe in train.probes[1:]]
    assert len(set(gaps)) > 40
    assert all(180 * MS <= gap <= 220 * MS for gap in gaps)
    assert train.wait_ns == 2000 * MS


def test_ipv6_has_a_longer_header() -> None:
    context = Context(address=IPv6Address("2001:db8::1"), seed=3)
    assert next(PING.conversation(PING.call({}), context)).probes[0].size_bytes == 104


def test_over_a_path() -> None:
    measured = measure(path([100.0, 100.0, 100.0]))
    assert measured.ending.end == End.END_DONE
    assert measured.quality.word == Quality.WORD_GOOD
    assert measured.result is not None
    again = PING.estimate(PING.call({}), measured.observations.SerializeToString())
    assert again == measured


def test_a_silent_destination_is_its_own_fault_and_loses_everything() -> None:
    network = path([100.0, 100.0])
    network.nodes[-1].silent = True
    measured = measure(network)
    assert (measured.ending.reason, measured.ending.blame) == ("no_reply", Blame.BLAME_TARGET)
    result: Any = measured.result
    assert (result.loss_ratio, result.loss_max_run) == (1.0, 10)
    assert not result.HasField("rtt_min_ns")


@pytest.mark.parametrize(
    ("code", "reason"), [(0, "unreachable(0)"), (1, "unreachable(1)"), (13, "filtered")]
)
def test_a_router_that_says_no_is_named(code: int, reason: str) -> None:
    network = path([100.0, 100.0, 100.0])
    network.nodes[1].refuse_code = code
    measured = measure(network)
    assert (measured.ending.reason, measured.ending.blame) == (reason, Blame.BLAME_NETWORK)
    assert "10.0.2.1" in measured.ending.hint


def test_a_small_ttl_ends_on_the_way() -> None:
    assert measure(path([100.0] * 4), ttl="2").ending.reason == "ttl_exceeded"


def test_an_answer_from_before_its_probe_is_a_stepped_clock() -> None:
    talk = PING.conversation(PING.call({"count": "2"}), Context(address=TARGET, seed=1))
    outcome = path([100.0]).carry(next(talk))
    early = outcome.echoes[0].reply
    assert early is not None
    reply = attrs.evolve(early, received_ns=(outcome.echoes[0].sent_ns or 0) - 5 * MS)
    stepped = (attrs.evolve(outcome.echoes[0], reply=reply), outcome.echoes[1])
    with pytest.raises(StopIteration) as end:
        talk.send(attrs.evolve(outcome, echoes=stepped))
    assert end.value.value.ending.reason == "clock_step"


def test_a_run_that_was_stopped_says_so() -> None:
    measured = measure(path([100.0, 100.0], stop_after=1))
    assert measured.quality.word == Quality.WORD_POOR
    assert "stopped after 10 of 10 probes" in measured.quality.reasons[0]


def test_no_foreign_address_in_the_result() -> None:
    measured = measure(path([100.0]))
    call = PING.call({})
    assert measured.result is not None
    call.body = measured.result.SerializeToString()
    assert PING.addresses(call) == ()
