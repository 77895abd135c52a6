from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emodis.techniques.ping_statistics import Manner, estimate
from emodis.wire.v1.techniques_pb2 import (
    WORD_DATAGRAM,
    WORD_RESET,
    WORD_SYN_ACK,
    ProbeRecord,
    Word,
)
from tests.support.fluid import MS, TARGET

ROUTER = bytes([10, 0, 1, 1])


def echo(sent_ns: int, rtt_ns: int | None, ttl: int = 60) -> ProbeRecord:
    probe = ProbeRecord(ttl=64, size_bytes=84, sent_ns=sent_ns)
    if rtt_ns is not None:
        probe.received_ns = sent_ns + rtt_ns
        probe.address = TARGET.packed
        probe.reply_ttl = ttl
    return probe


def said(word: Word.ValueType, rtt_ns: int = MS) -> ProbeRecord:
    probe = echo(0, rtt_ns)
    probe.word = word
    return probe


def rejected(address: bytes) -> ProbeRecord:
    probe = echo(0, MS)
    probe.address, probe.icmp_type, probe.icmp_code = address, 3, 3
    return probe


def test_worked_example() -> None:
    """Five probes 200 ms apart: 20, 22, lost, 21, and one that comes after the timeout."""
    rtts_ms = [20, 22, None, 21, 2001]
    probes = [
        echo(i * 200 * MS, None if rtt is None else rtt * MS) for i, rtt in enumerate(rtts_ms)
    ]
    result = estimate(probes, Manner(timeout_s=2.0, interval_s=0.2))
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
    assert not result.HasField("reorder_extent_max")
    # 2 ms / 16, RFC 3550 section 6.4.1.
    assert result.jitter_rfc3550_ns == 125_000
    # Lost, answered, lost at the end: one loss had a successor, which was answered.
    assert list(result.loss_runs) == [1, 1]
    assert result.loss_after_loss_ratio == 0.0
    assert (result.reply_ttl, result.reverse_hops) == (60, 4)


def test_one_answer_has_no_variation() -> None:
    result = estimate([echo(0, 5 * MS), echo(MS, None)], Manner(timeout_s=1))
    assert not result.HasField("ipdv_ns")
    assert not result.HasField("jitter_rfc3550_ns")
    # The only loss is the last probe.
    assert not result.HasField("loss_after_loss_ratio")
    assert not result.HasField("rtt_stddev_ns")
    assert not result.HasField("reordered")
    assert result.rtt_median_ns == 5 * MS


def test_overtaking_is_counted_where_it_is_possible() -> None:
    probes = [echo(0, 100 * MS), echo(10 * MS, 20 * MS), echo(20 * MS, 20 * MS)]
    result = estimate(probes, Manner(timeout_s=1, interval_s=0.01))
    assert (result.reordered, result.reorder_extent_max) == (1, 2)


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

    here = estimate(probes(0), Manner(timeout_s=2.0, interval_s=0.01))
    there = estimate(probes(shift_ns), Manner(timeout_s=2.0, interval_s=0.01))
    assert here == there
    assert here.answered + here.late <= here.sent
    assert here.loss_low_ratio <= here.loss_ratio + 1e-9
    assert here.loss_ratio <= here.loss_high_ratio + 1e-9


def test_the_interval_contains_the_true_loss_nine_times_of_ten() -> None:
    hits = 0
    for seed in range(100):
        chance = random.Random(seed)
        probes = [echo(i, None if chance.random() < 0.1 else 5) for i in range(200)]
        result = estimate(probes, Manner(timeout_s=1))
        hits += result.loss_low_ratio <= 0.1 <= result.loss_high_ratio
    assert hits >= 90


def test_losses_that_come_together_are_told_from_scattered_ones() -> None:
    lost = [0, 1, 1, 1, 0, 0, 1, 1, 0]
    probes = [echo(i * 100 * MS, None if gone else MS) for i, gone in enumerate(lost)]
    result = estimate(probes, Manner(timeout_s=1))
    assert list(result.loss_runs) == [3, 2]
    assert result.loss_max_run == 3
    # Of five losses three were followed by another.
    assert result.loss_after_loss_ratio == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("arrivals", "reordered", "extent"),
    [
        # Three packets after four that were sent later (RFC 4737, 4.2.1).
        ([1, 2, 3, 7, 8, 9, 10, 4, 5, 6, 11], 3, 6),
        ([1, 2, 3, 5, 6, 4, 7], 1, 2),
        ([1, 2, 3], 0, 0),
        ([2, 1, 4, 3], 2, 1),
    ],
)
def test_reordering_has_an_extent(arrivals: list[int], reordered: int, extent: int) -> None:
    probes = []
    for number in range(1, max(arrivals) + 1):
        place = arrivals.index(number)
        probes.append(echo(number * MS, (100 + place * 5 - number) * MS))
    result = estimate(probes, Manner(timeout_s=1, interval_s=0.001))
    assert (result.reordered, result.reorder_extent_max) == (reordered, extent)


def rationed(interval_ms: int, count: int, *, answers_per_s: float = 1.0) -> list[ProbeRecord]:
    """A Linux host: six answers at once, then as many as it refills."""
    probes, tokens, last_ms = [], 6.0, 0
    for number in range(count):
        at_ms = number * interval_ms
        tokens = min(6.0, tokens + (at_ms - last_ms) / 1000 * answers_per_s)
        last_ms = at_ms
        probes.append(echo(at_ms * MS, MS if tokens >= 1 else None))
        tokens -= tokens >= 1
    return probes


@pytest.mark.parametrize(("interval_ms", "count"), [(50, 40), (100, 30), (200, 30), (500, 40)])
def test_a_host_that_answers_once_a_second_is_suspected(interval_ms: int, count: int) -> None:
    udp = Manner(timeout_s=2, proto="udp", target=TARGET.packed)
    probes = rationed(interval_ms, count)
    assert estimate(probes, udp).rate_limited_suspected
    assert estimate(probes, udp).loss_ratio > 0.1


def test_a_short_udp_series_that_ends_in_its_first_silence_is_suspected() -> None:
    probes = rationed(50, 10)
    udp = Manner(timeout_s=2, proto="udp", target=TARGET.packed)
    assert estimate(probes, udp).rate_limited_suspected
    # Echo replies are hardly ever rationed, so this takes more than one silence.
    assert not estimate(probes, Manner(timeout_s=2)).rate_limited_suspected


def test_scattered_losses_are_no_rationing() -> None:
    suspected = 0
    for seed in range(200):
        chance = random.Random(seed)
        probes = [echo(i * 200 * MS, None if chance.random() < 0.2 else MS) for i in range(50)]
        suspected += estimate(probes, Manner(timeout_s=1, proto="udp")).rate_limited_suspected
    assert suspected == 0


def test_a_path_that_goes_down_is_no_rationing() -> None:
    probes = [echo(i * 200 * MS, MS if i < 10 else None) for i in range(50)]
    assert not estimate(probes, Manner(timeout_s=1, proto="udp")).rate_limited_suspected


@pytest.mark.parametrize(
    ("word", "state"), [(WORD_DATAGRAM, "open"), (WORD_SYN_ACK, "open"), (WORD_RESET, "closed")]
)
def test_the_ports_own_words_are_answers(word: Word.ValueType, state: str) -> None:
    proto = "udp" if word == WORD_DATAGRAM else "tcp"
    result = estimate([said(word)], Manner(timeout_s=1, proto=proto, target=TARGET.packed))
    assert (result.answered, result.port_state) == (1, state)


def test_a_port_unreachable_of_the_destination_answers_udp_only() -> None:
    own, firewall = rejected(TARGET.packed), rejected(ROUTER)
    udp = Manner(timeout_s=1, proto="udp", target=TARGET.packed)
    result = estimate([own, firewall], udp)
    assert (result.answered, result.port_state) == (1, "closed")
    for proto in ("icmp", "tcp"):
        manner = Manner(timeout_s=1, proto=proto, target=TARGET.packed)
        assert estimate([own, firewall], manner).answered == 0


def test_what_may_answer_a_repeated_syn_is_neither_answer_nor_loss() -> None:
    probes = [said(WORD_SYN_ACK), said(WORD_SYN_ACK, 1001 * MS), echo(0, None)]
    kernels = Manner(timeout_s=2, proto="tcp", own_syns=False)
    result = estimate(probes, kernels)
    assert (result.answered, result.ambiguous, result.late) == (1, 1, 0)
    assert result.loss_ratio == pytest.approx(0.5)
    # Our own SYNs are never repeated behind our back.
    assert estimate(probes, Manner(timeout_s=2, proto="tcp")).ambiguous == 0
