"""Pathneck as a whole: over simulated paths, the right link and honest doubts."""

from __future__ import annotations

import itertools
import random
from ipaddress import IPv4Address
from typing import Any

import attrs
import pytest

from emodis.packets.flow import IdBlock
from emodis.packets.ledger import Ledger
from emodis.packets.model import Train, TrainOutcome
from emodis.packets.replies import Answer
from emodis.techniques.base import BadParameters, Context, Measured
from emodis.techniques.pathneck import Pathneck
from emodis.wire.v1.common_pb2 import Blame, Body, End, Quality
from emodis.wire.v1.techniques_pb2 import Bound, Cause
from tests.support.driving import Carrier, drive
from tests.support.fluid import ANSWER_BYTES, MS, TARGET, Path, S, path

PATHNECK = Pathneck()
QUICK = [100.0, 100.0, 20.0, 100.0, 100.0, 100.0]


def measure(network: Carrier[Train, TrainOutcome], **options: str) -> Measured:
    call = PATHNECK.call(options)
    return drive(PATHNECK.conversation(call, Context(address=TARGET, seed=1)), network)


def bottleneck(network: Carrier[Train, TrainOutcome], **options: str) -> int:
    measured = measure(network, **options)
    result: Any = measured.result
    assert result is not None, measured.ending
    return int(result.bottleneck.ttl)


def test_worked_example() -> None:
    """Six links of 100 Mbit/s but the third of 20: docs/techniques/pathneck.md tells the same."""
    measured = measure(path(QUICK))
    assert measured.ending.end == End.END_DONE
    assert (measured.quality.word, list(measured.quality.reasons)) == (Quality.WORD_GOOD, [])
    result: Any = measured.result
    found = result.bottleneck
    assert (found.from_ttl, found.ttl, found.access) == (2, 3, False)
    assert IPv4Address(found.from_address) == IPv4Address("10.0.2.1")
    assert IPv4Address(found.to_address) == IPv4Address("10.0.3.1")
    assert found.bound_bps == pytest.approx(20e6, rel=0.03)
    assert found.confidence == 1.0
    # The first link is slower than the host's 1 Gbit/s: it is a choke point, though not the worst.
    assert list(result.choke_ttls) == [1, 3]
    bounds = [hop.bound for hop in result.hops]
    assert bounds == [
        Bound.BOUND_UPPER,
        Bound.BOUND_LOWER,
        Bound.BOUND_UPPER,
        Bound.BOUND_LOWER,
        Bound.BOUND_LOWER,
        Bound.BOUND_LOWER,
    ]
    assert result.hops[1].bound_bps == pytest.approx(100e6, rel=0.03)
    assert result.hops[5].bound_bps == pytest.approx(20e6, rel=0.03)
    assert (result.last_link, result.remark, result.train_bytes) == ("measured", "", 30_720)
    assert (result.trains_sent, result.trains_used) == (11, 5)
    assert found.cause == Cause.CAUSE_CAPACITY
    assert found.capacity_bps == pytest.approx(20e6, rel=0.01)
    assert not found.HasField("avail_bps")
    assert found.bucket_bytes == 0
    assert result.hop0_gap_ns == pytest.approx(30_660 * 8, rel=0.01)


@pytest.mark.parametrize("position", range(1, 9))
@pytest.mark.parametrize("rate", [1.0, 10.0, 50.0])
def test_the_bottleneck_may_be_any_link(position: int, rate: float) -> None:
    rates = [100.0] * 8
    rates[position - 1] = rate
    assert bottleneck(path(rates, noise_ns=100_000, seed=position)) == position


def test_random_paths_with_cross_traffic() -> None:
    """Like the issue's twenty: 5 to 9 links, 1 to 100 Mbit/s, half with 30 to 70 % of load."""
    hits = 0
    for seed in range(20):
        chance = random.Random(seed)
        narrow = 10 ** chance.uniform(0, 1.7)
        rates = [narrow * chance.uniform(1.6, 8) for _ in range(chance.randint(5, 9))]
        place = (1, len(rates))[seed] if seed < 2 else chance.randint(1, len(rates))
        rates[place - 1] = narrow
        network = path(rates, noise_ns=80_000, seed=seed)
        network.links[place - 1].load = (0, 0.3, 0, 0.5, 0, 0.7)[seed % 6]
        hits += bottleneck(network) == place
    assert hits >= 19


def test_flat_paths_show_nothing_behind_the_first_link() -> None:
    """Flat and "a slow first link before fast ones" look the same: link 1 is what stretches."""
    false = 0
    for seed in range(20):
        result: Any = measure(path([100.0] * (5 + seed % 5), noise_ns=80_000, seed=seed)).result
        false += list(result.choke_ttls) != [1]
        assert result.bottleneck.access or list(result.choke_ttls) != [1]
    assert false <= 1


GIGABIT = [1000.0, 1000.0, 300.0, 1000.0, 1000.0]


@pytest.mark.parametrize(
    "options",
    [{}, {"load_packets": "200", "load_size_bytes": "1400", "adaptive": "off", "cause": "off"}],
)
def test_a_gigabit_path_is_measured_by_larger_trains(options: dict[str, str]) -> None:
    found, bounds = 0, []
    for seed in range(20):
        measured = measure(path(GIGABIT, noise_ns=100_000, seed=seed), **options)
        result: Any = measured.result
        assert 0 < result.resolution_ratio <= 0.3
        found += result.bottleneck.ttl == 3
        bounds.append(result.bottleneck.bound_bps)
    assert found >= 19
    rel = 0.02 if options else 0.08
    assert sorted(bounds)[1:-1] == [pytest.approx(300e6, rel=rel)] * 18


@pytest.mark.parametrize("rate", [300.0, 700.0])
def test_trains_that_may_not_grow_say_what_they_cannot_see(rate: float) -> None:
    """A drop to 700 Mbit/s is 0.1 ms of a train of 31 kB: as much as the scatter."""
    for seed in range(20):
        network = path([1000.0, 1000.0, rate, 1000.0, 1000.0], noise_ns=100_000, seed=seed)
        measured = measure(network, adaptive="off", cause="off")
        result: Any = measured.result
        if not result.bottleneck.ttl:
            assert result.remark == "no_choke_point"
            assert result.resolution_ratio > 0.2
        elif result.bottleneck.ttl != 3:
            assert measured.quality.word != Quality.WORD_GOOD


@pytest.mark.parametrize("rates", [[100.0] * 6, [1000.0] * 6])
# A packet at a time, and in bursts of ten, which last as long as the train.
@pytest.mark.parametrize(("load", "size_bytes"), [(0.7, 1000), (0.5, 15_000)])
# On the last link only the destination's answers meet it.
@pytest.mark.parametrize("at", [1, 3, 6])
def test_traffic_on_the_way_back_alone_invents_no_choke_point(
    rates: list[float], load: float, size_bytes: int, at: int
) -> None:
    false = 0
    for seed in range(20):
        network = path(rates, seed=seed)
        network.links[at - 1].back_load = load
        network.links[at - 1].back_size_bytes = size_bytes
        result: Any = measure(network, cause="off").result
        false += bool(set(result.choke_ttls) - {1})
    assert false <= 1


def test_traffic_on_the_way_back_hides_no_bottleneck() -> None:
    hits = 0
    for seed in range(20):
        network = path(QUICK, seed=seed)
        for link in network.links:
            link.back_load = 0.7
        hits += bottleneck(network, cause="off") == 3
    assert hits >= 19


def test_a_later_link_with_hardly_more_is_only_bounded_from_below() -> None:
    measured = measure(path([100.0, 20.0, 100.0, 22.0, 100.0]))
    result: Any = measured.result
    assert (result.bottleneck.ttl, list(result.choke_ttls)) == (2, [1, 2])
    later = result.hops[3]
    assert (later.choke_point, later.bound) == (False, Bound.BOUND_LOWER)
    assert 19e6 < later.bound_bps <= 22e6


@attrs.define
class Batched:
    """Shows what arrives at the end of each quantum only."""

    path: Path
    quantum_ns: int

    def carry(self, train: Train) -> TrainOutcome:
        outcome = self.path.carry(train)
        echoes = []
        for echo in outcome.echoes:
            if echo.reply is not None:
                shown_ns = -(-echo.reply.received_ns // self.quantum_ns) * self.quantum_ns
                echo = attrs.evolve(echo, reply=attrs.evolve(echo.reply, received_ns=shown_ns))
            echoes.append(echo)
        return attrs.evolve(outcome, echoes=tuple(echoes))


@pytest.mark.parametrize("quantum_ns", [50_000, 125_000])
@pytest.mark.parametrize("rates", [QUICK, [100.0] * 6, [1000.0] * 6, GIGABIT])
def test_answers_that_are_shown_in_batches(quantum_ns: int, rates: list[float]) -> None:
    slowest = min(rates)
    ttl = rates.index(slowest) + 1 if slowest < 1000 else 0
    right = 0
    for seed in range(20):
        network = Batched(path(rates, noise_ns=10_000, seed=seed), quantum_ns)
        result: Any = measure(network, cause="off").result
        right += result.bottleneck.ttl == ttl and not set(result.choke_ttls) - {1, ttl}
    assert right >= 19


@pytest.mark.parametrize("rate", [300.0, 650.0, 800.0])
def test_batches_of_answers_that_split_the_trains_invent_no_choke_point(rate: float) -> None:
    """Some gaps are one quantum longer than the others: more than a tenth, and all alike."""
    false = 0
    for seed in range(40):
        network = path([rate] * 6, noise_ns=1_000, seed=seed)
        # Begins somewhere else in a batch each time.
        network.now_ns += seed * 7_919
        result: Any = measure(Batched(network, 100_000), cause="off").result
        false += bool(set(result.choke_ttls) - {1})
    assert false <= 1


def test_answers_of_head_and_tail_in_one_batch_are_no_gap() -> None:
    """A batch is longer than the train: there is nothing to measure, and no answer is made up."""
    measured = measure(Batched(path(QUICK), 100 * MS))
    assert (measured.ending.end, measured.ending.reason) == (End.END_FAILED, "too_few_gaps")


@attrs.define
class Doubled:
    """Hears every answer twice, the second time late: through the real bookkeeping."""

    path: Path
    late_ns: int

    def carry(self, train: Train) -> TrainOutcome:
        outcome = self.path.carry(train)
        ids = IdBlock(1, len(train.probes))
        ledger = Ledger(train, ids, TARGET)
        heard = []
        for index, echo in enumerate(outcome.echoes):
            queued_ns, sent_ns, reply = echo.queued_ns, echo.sent_ns, echo.reply
            assert queued_ns is not None
            assert sent_ns is not None
            ledger.sent(index, 1, queued_ns, queued_ns)
            ledger.left(index, sent_ns)
            if reply is not None:
                answer = Answer(
                    probe_id=ids.at(index),
                    kind=reply.kind,
                    address=reply.address,
                    icmp_type=reply.icmp_type,
                    icmp_code=reply.icmp_code,
                    ttl=reply.ttl,
                    quoted_ttl=reply.quoted_ttl,
                    size_bytes=ANSWER_BYTES,
                )
                heard += [(reply.received_ns + late, index, answer) for late in (0, self.late_ns)]
        for at_ns, _, answer in sorted(heard, key=lambda one: one[:2]):
            ledger.record(answer, at_ns)
        echoes, kernel_tx = ledger.echoes()
        return attrs.evolve(
            outcome, echoes=echoes, kernel_tx=kernel_tx, duplicates=ledger.duplicates
        )


@pytest.mark.parametrize("late_ns", [1_000, 1 * MS, 15 * MS])
def test_duplicate_answers_change_no_gap_and_are_counted(late_ns: int) -> None:
    plain = measure(path(QUICK, noise_ns=50_000))
    doubled = measure(Doubled(path(QUICK, noise_ns=50_000), late_ns))
    assert doubled.result == plain.result
    assert doubled.quality == plain.quality
    observations: Any = doubled.observations
    for train in observations.trains:
        answered = sum(probe.HasField("received_ns") for probe in train.train.probes)
        assert train.train.duplicates == answered


RARE = 0.2


@pytest.mark.parametrize("position", [1, 3, 4, 6])
@pytest.mark.parametrize("rare", [3, 6])
def test_a_router_that_answers_every_fifth_second_is_done_without(rare: int, position: int) -> None:
    """The right link, or the two around the hop that cannot be measured, and it is said so."""
    rates = [100.0] * 6
    rates[position - 1] = 20.0
    network = path(rates, noise_ns=20_000)
    network.nodes[rare - 1].tokens_per_s = RARE
    measured = measure(network)
    result: Any = measured.result
    assert f"hop {rare} answers too rarely to be measured" in measured.quality.reasons
    assert result.limiting_ttl == rare
    if position == rare == 6:
        assert (result.bottleneck.access, result.last_link) == (True, "unmeasured")
        assert measured.quality.word == Quality.WORD_FAIR
    else:
        assert result.bottleneck.from_ttl < position <= result.bottleneck.ttl
        assert result.bottleneck.ttl - result.bottleneck.from_ttl <= 2
    assert took_s(network) < PATHNECK.worst_case(PATHNECK.call({})).duration_s


def test_where_all_answer_every_fifth_second_nothing_is_made_up() -> None:
    network = path(QUICK, noise_ns=20_000)
    for node in network.nodes:
        node.tokens_per_s = RARE
    measured = measure(network)
    assert (measured.ending.end, measured.ending.reason) == (End.END_FAILED, "too_few_gaps")
    assert "too few routers answer" in measured.ending.hint
    assert took_s(network) < PATHNECK.worst_case(PATHNECK.call({})).duration_s


def took_s(network: Path) -> float:
    return (network.now_ns - network.started_ns[0]) / S


def test_the_first_link_is_found_behind_the_hosts_own_shaper() -> None:
    """Transmit stamps are behind the shaper: only the time of queueing shows it."""
    network = path([5.0, 100.0, 100.0, 100.0])
    result: Any = measure(network).result
    assert (result.bottleneck.ttl, result.bottleneck.access) == (1, True)
    assert result.bottleneck.bound_bps == pytest.approx(5e6, rel=0.03)


def test_without_the_time_of_queueing_the_first_link_is_not_judged() -> None:
    measured = measure(path(QUICK, queued_stamps=False))
    result: Any = measured.result
    assert list(result.choke_ttls) == [3]
    assert result.hops[0].bound == Bound.BOUND_UPPER
    assert not result.HasField("hop0_gap_ns")
    assert measured.quality.word == Quality.WORD_FAIR


def test_nothing_stretches_the_train() -> None:
    measured = measure(path([1000.0] * 6, noise_ns=10_000))
    result: Any = measured.result
    assert measured.ending.end == End.END_DONE
    assert not result.HasField("bottleneck")
    assert result.remark == "no_choke_point"
    assert 0 < result.resolution_ratio < 0.35
    assert all(hop.bound == Bound.BOUND_LOWER for hop in result.hops)


def test_two_choke_points_are_both_told() -> None:
    result: Any = measure(path([100.0, 50.0, 100.0, 100.0, 20.0, 100.0])).result
    assert list(result.choke_ttls) == [1, 2, 5]
    assert result.bottleneck.ttl == 5


def test_a_silent_router_blurs_the_place_and_the_result_says_so() -> None:
    network = path(QUICK)
    network.nodes[2].silent = True
    measured = measure(network)
    result: Any = measured.result
    assert (result.bottleneck.from_ttl, result.bottleneck.ttl) == (2, 4)
    assert result.hops[2].address == b""
    assert not result.hops[2].HasField("gap_ns")
    assert measured.quality.word == Quality.WORD_FAIR
    assert any("between 2 and 4" in reason for reason in measured.quality.reasons)


def test_a_silent_destination_leaves_its_link_unmeasured() -> None:
    network = path(QUICK)
    network.nodes[-1].silent = True
    measured = measure(network)
    result: Any = measured.result
    assert (result.last_link, len(result.hops), result.bottleneck.ttl) == ("unmeasured", 5, 3)
    assert measured.quality.word == Quality.WORD_FAIR
    assert any("`emodis-client request` on that host" in why for why in measured.quality.reasons)


def test_where_nothing_can_be_muted_the_load_is_audible() -> None:
    call = PATHNECK.call({})
    context = Context(address=TARGET, seed=1, can_mute=False)
    measured = drive(PATHNECK.conversation(call, context), path(QUICK))
    observations: Any = measured.observations
    assert observations.trains
    assert not any(probe.muted for train in observations.trains for probe in train.train.probes)
    result: Any = measured.result
    assert result.bottleneck.ttl == 3


def test_a_last_link_is_found_on_a_host_that_answers_rarely() -> None:
    network = path([100.0, 100.0, 100.0, 100.0, 20.0], noise_ns=20_000)
    network.nodes[-1].tokens_per_s = 1.0
    result: Any = measure(network).result
    assert (result.bottleneck.ttl, result.last_link, result.limiting_ttl) == (5, "measured", 5)


def test_congestion_on_the_way_back_invents_no_choke_point() -> None:
    false = 0
    for seed in range(20):
        measured = measure(path([100.0] * 6, noise_ns=1_500_000, seed=seed))
        result: Any = measured.result
        false += bool(set(result.choke_ttls) - {1})
    assert false <= 1


def test_a_firewall_against_bad_checksums_is_seen_and_avoided() -> None:
    network = path(QUICK)
    network.nodes[1].drop_bad_sums = True
    measured = measure(network)
    result: Any = measured.result
    assert (result.bottleneck.ttl, result.remark) == (3, "filtered_badsum")
    assert any("mute=none instead" in reason for reason in measured.quality.reasons)


def test_a_queue_shorter_than_any_train() -> None:
    network = path(QUICK)
    network.links[2].queue_bytes = 5_000
    measured = measure(network)
    result: Any = measured.result
    assert result.remark == "train_truncated(3)"
    assert measured.quality.word == Quality.WORD_POOR


def test_one_flow_of_forged_answers_costs_one_hop() -> None:
    forged = itertools.count()

    def lie(hop: int, address: IPv4Address) -> IPv4Address:
        return IPv4Address(f"10.77.0.{next(forged) % 200 + 1}") if hop == 4 else address

    result: Any = measure(path(QUICK, answers_from=lie)).result
    assert result.bottleneck.ttl == 3
    assert result.hops[3].valid_trains == 0


FAILURES = {
    "icmp_silent": Blame.BLAME_NETWORK,
    "too_few_gaps": Blame.BLAME_NETWORK,
    "unreachable(13)": Blame.BLAME_NETWORK,
    "self_congested": Blame.BLAME_AGENT,
    "route_unstable": Blame.BLAME_NETWORK,
    "cut_short": Blame.BLAME_US,
}


ADVICE = {
    "icmp_silent": "; try -o proto=icmp",
    "too_few_gaps": "; try -o proto=icmp, or ask igi or ping",
    "unreachable(13)": "; ask who runs that router",
    "self_congested": "; try when it is less busy",
    "route_unstable": "; traceroute -o mda=lite",
    "cut_short": "-o trains=5",
}


def failing(reason: str) -> Path:
    network = path(QUICK)
    if reason == "icmp_silent":
        for node in network.nodes:
            node.silent = True
    elif reason == "too_few_gaps":
        network = path([100.0])
    elif reason == "unreachable(13)":
        network.nodes[2].refuse_code = 13
    elif reason == "self_congested":
        network.stall = lambda i: 4 * MS if i == 40 else 0
    elif reason == "route_unstable":
        turn = itertools.count()
        network.answers_from = lambda hop, _: IPv4Address(f"10.{70 + next(turn) // 6 % 7}.{hop}.1")
    else:
        network.stop_after = 4
    return network


@pytest.mark.parametrize("reason", FAILURES)
def test_each_failure_has_a_reason_a_hint_and_a_side(reason: str) -> None:
    measured = measure(failing(reason))
    assert measured.ending.end == End.END_FAILED
    assert (measured.ending.reason, measured.ending.blame) == (reason, FAILURES[reason])
    assert measured.ending.hint.endswith(".")
    assert ADVICE[reason] in measured.ending.hint
    assert measured.result is None
    assert measured.quality.word == Quality.WORD_POOR


def test_where_echo_requests_are_not_answered_either_udp_is_the_other_way() -> None:
    assert "; try -o proto=udp" in measure(failing("icmp_silent"), proto="icmp").ending.hint


def test_a_run_of_which_no_probe_left_sends_its_reader_to_the_doctor() -> None:
    ending = PATHNECK.estimate(PATHNECK.call({}), b"").ending
    assert (ending.reason, ending.blame) == ("send_failed", Blame.BLAME_AGENT)
    assert "`emodis-agent doctor`" in ending.hint
    assert "`emodis-client doctor`" in ending.hint


def test_a_result_from_a_run_cut_short_is_poor() -> None:
    measured = measure(path(QUICK, stop_after=7))
    assert measured.ending.end == End.END_DONE
    assert measured.quality.word == Quality.WORD_POOR
    assert measured.quality.reasons[0].startswith("stopped after")


@pytest.mark.parametrize("reason", ["", "icmp_silent", "cut_short", "self_congested"])
def test_estimating_again_gives_the_same(reason: str) -> None:
    measured = measure(failing(reason) if reason else path(QUICK, noise_ns=300_000))
    stored = measured.observations.SerializeToString()
    assert PATHNECK.estimate(PATHNECK.call({}), stored) == measured


def test_observations_fit_into_a_frame_at_their_largest() -> None:
    """768 KiB is the limit (Outcome.observations): 30 hops and the largest load."""
    network = path([1000.0] * 30, noise_ns=3_000_000)
    measured = measure(network)
    assert max(train.load_packets for train in measured.observations.trains) == 200  # type: ignore[attr-defined]
    assert len(measured.observations.SerializeToString()) < 768 * 1024


def test_more_packets_than_a_result_can_hold_are_refused() -> None:
    options = {"trains": "50", "load_packets": "1000", "load_size_bytes": "100"}
    with pytest.raises(BadParameters, match="at most 30000 packets, not 53000"):
        PATHNECK.call({**options, "max_interval_s": "0.1", "adaptive": "off"})


def test_its_addresses_are_those_of_its_hops() -> None:
    measured = measure(path([100.0, 10.0, 100.0]))
    assert measured.result is not None
    body = Body(technique="pathneck", schema=1, body=measured.result.SerializeToString())
    assert [str(address) for address in PATHNECK.addresses(body)] == [
        "10.0.1.1",
        "10.0.2.1",
        str(TARGET),
    ]


@pytest.mark.parametrize("hops", [5, 8, 10, 12])
def test_what_is_expected_is_about_what_it_takes(hops: int) -> None:
    rates = [100.0] * hops
    rates[2] = 10.0
    network = path(rates, noise_ns=20_000)
    network.nodes[-1].tokens_per_s = 1.0
    measure(network)
    sent = sum(probe.size_bytes for train in network.sent for probe in train.probes)
    expected = PATHNECK.expected(PATHNECK.call({}))
    assert expected.duration_s == pytest.approx(7.25)
    assert took_s(network) / 2 <= expected.duration_s <= 2 * took_s(network)
    assert expected.sent_bytes == pytest.approx(sent, rel=0.05)


@pytest.mark.parametrize(
    ("options", "trains", "pace_s"),
    [
        ({}, 6, 1.0),
        # Three can neither be half of more, nor leave room for an audible one.
        ({"trains": "3"}, 3, 1.0),
        ({"trains": "20", "adaptive": "off"}, 11, 1.0),
        ({"mute": "none"}, 5, 1.0),
        ({"interval_s": "3"}, 6, 3.0),
        # Nobody waits longer for the destination than this.
        ({"max_interval_s": "0.5"}, 6, 0.5),
        ({"interval_s": "0.1", "max_interval_s": "0.1"}, 6, 0.1),
    ],
)
def test_what_is_expected_follows_the_parameters(
    options: dict[str, str], trains: int, pace_s: float
) -> None:
    expected = PATHNECK.expected(PATHNECK.call({"cause": "off", **options}))
    assert expected.sent_bytes == trains * (60 * 500 + 20 * 60) + 10 * 60
    assert expected.duration_s == pytest.approx(1.0 + (trains - 1) * pace_s)


def test_large_trains_are_expected_to_take_their_time() -> None:
    options = {"load_packets": "1000", "load_size_bytes": "1500", "trains": "3", "cause": "off"}
    options["adaptive"] = "off"
    # 1.5 MB at 10 Mbit/s, half as much again between two of them.
    assert PATHNECK.expected(PATHNECK.call(options)).duration_s == pytest.approx(4.6, abs=0.1)


def test_cooperation_is_by_udp() -> None:
    with pytest.raises(BadParameters, match="proto=udp"):
        PATHNECK.call({"mute": "coop", "proto": "icmp"})
