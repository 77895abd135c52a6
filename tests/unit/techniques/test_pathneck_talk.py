"""Pathneck's conversation over a path made of arithmetic: what it sends, and when."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from ipaddress import IPv6Address

import attrs
import pytest

from emodis.packets.model import Kind, Train, TrainOutcome
from emodis.techniques import pathneck_gaps as gaps
from emodis.techniques.base import Cooperation
from emodis.techniques.pathneck import Parameters
from emodis.techniques.pathneck_estimator import profile
from emodis.techniques.pathneck_talk import converse
from emodis.wire.v1.techniques_pb2 import PathneckObservations
from tests.support.driving import drive
from tests.support.fluid import MS, TARGET, Path, S, path

QUICK = [100.0, 100.0, 20.0, 100.0, 100.0, 100.0]


def talk(network: Path, *, within_s: float = 77, **parameters: object) -> PathneckObservations:
    chosen = Parameters(**{"cause": False, **parameters})  # type: ignore[arg-type]
    conversation = converse(chosen, TARGET, within_s=within_s, within_bytes=3_000_000)
    return drive(conversation, network)


def trains(network: Path) -> list[Train]:
    return [train for train in network.sent if len(train.probes) > 30]


def starts_ms(network: Path) -> list[int]:
    """Pauses between the trains' first packets."""
    at = [
        start
        for start, train in zip(network.started_ns, network.sent, strict=True)
        if len(train.probes) > 30
    ]
    return [(b - a) // MS for a, b in itertools.pairwise(at)]


def words(observations: PathneckObservations) -> list[str]:
    return [train.discarded for train in observations.trains]


def test_a_train_is_head_load_and_tail_trimmed_to_the_path() -> None:
    network = path(QUICK)
    talk(network)
    train = trains(network)[0]
    ttls = [probe.ttl for probe in train.probes]
    assert ttls == [1, 2, 3, 4, 5, 6, *[255] * 60, 6, 5, 4, 3, 2, 1]
    assert train.kind is Kind.UDP
    assert {(p.size_bytes, p.muted) for p in train.probes[6:66]} == {(500, True)}
    assert {(p.size_bytes, p.muted) for p in train.probes[:6]} == {(60, False)}
    assert all(probe.after_ns == 0 for probe in train.probes)
    assert len({train.flow for train in network.sent}) == 1
    # The load is not waited for.
    assert train.awaited == frozenset([*range(6), *range(66, 72)])


def test_over_ipv6_a_measurement_packet_is_longer_by_the_header() -> None:
    address = IPv6Address("fd00::9")
    look = next(converse(Parameters(), address, within_s=77, within_bytes=3_000_000))
    assert {probe.size_bytes for probe in look.probes} == {80}
    network = path(QUICK)
    conversation = converse(Parameters(), address, within_s=77, within_bytes=3_000_000)
    observations = drive(conversation, network)
    assert observations.measurement_size_bytes == 80
    assert {probe.size_bytes for probe in trains(network)[0].probes} == {80, 500}


def test_five_trains_that_agree_are_enough_on_a_willing_path() -> None:
    network = path(QUICK, noise_ns=20_000)
    observations = talk(network)
    assert len(observations.trains) == 6
    assert words(observations)[-1] == "control"
    assert starts_ms(network) == [250] * 5
    assert network.now_ns - network.started_ns[0] < 2 * S


def test_trains_do_not_keep_step_with_batches_of_answers() -> None:
    """Else every train would be shown the same wrong gap; USB is polled every 125 us."""
    network = path(QUICK, noise_ns=5_000_000)
    talk(network, adaptive=False)
    pauses_ns = [train.not_before_ns for train in trains(network)[1:]]
    assert len(pauses_ns) >= 9
    for quantum_ns in (50_000, 100_000, 125_000, 250_000):
        phases = {4 * (pause_ns % quantum_ns) // quantum_ns for pause_ns in pauses_ns}
        assert len(phases) >= 3


def test_the_last_train_is_audible_to_see_whether_muted_ones_pass() -> None:
    network = path(QUICK)
    talk(network)
    assert not any(probe.muted for probe in trains(network)[-1].probes)
    audible = path(QUICK)
    talk(audible, mute="none")
    assert len(trains(audible)) == len(trains(network)) - 1


def test_noise_takes_all_the_trains() -> None:
    network = path(QUICK, noise_ns=5_000_000)
    observations = talk(network, adaptive=False)
    assert words(observations).count("") == 10


@pytest.mark.parametrize("limited", [[1], [5], [0, 1, 2, 3, 4, 5]])
def test_routers_with_one_answer_a_second_get_two_seconds(limited: list[int]) -> None:
    """Linux: 1 answer a second, 6 at once; head and tail of a train need two."""
    network = path(QUICK, noise_ns=20_000)
    for i in limited:
        network.nodes[i].tokens_per_s = 1.0
    observations = talk(network)
    assert observations.limiting_ttl == limited[0] + 1
    assert 2 * S <= observations.longest_interval_ns < 2 * S + MS
    assert words(observations).count("") >= 5
    assert max(starts_ms(network)) >= 2000
    # 0.25 and doubled three times: no more than four trains are lost to finding out.
    assert words(observations).count("incomplete") <= 4


def test_a_host_with_one_answer_a_second_costs_one_pause() -> None:
    """Two trains are answered from its reserve, one after the pause: three of five will do."""
    network = path(QUICK, noise_ns=20_000)
    network.nodes[-1].tokens_per_s = 1.0
    observations = talk(network)
    assert words(observations) == [""] * 5 + ["control"]
    assert sorted(starts_ms(network))[-2] < 500
    assert max(starts_ms(network)) == 2000


@pytest.mark.parametrize("links", range(3, 19))
def test_the_look_leaves_the_host_enough_answers_for_the_first_train(links: int) -> None:
    network = path([20.0] + [100.0] * (links - 1))
    network.nodes[-1].tokens_per_s = 1.0
    observations = talk(network)
    assert gaps.is_answered(observations.trains[0], links)
    assert sum(pause >= 1000 for pause in starts_ms(network)) == 1


def test_no_more_trains_look_into_a_last_link_whose_host_rations_its_answers() -> None:
    """They do not wait for it, so it would answer none of them."""
    network = path([100.0, 100.0, 100.0, 20.0], noise_ns=20_000)
    network.nodes[-1].tokens_per_s = 1.0
    observations = talk(network, cause=True)
    assert observations.limiting_ttl == 4
    assert set(words(observations)) == {"", "control"}


def test_what_follows_does_not_wait_for_a_host_that_rations_its_answers() -> None:
    """But the last train does: when the run ends, the destination may be somebody else's."""
    network = path([100.0, 2.0, 100.0, 100.0], noise_ns=20_000)
    network.nodes[-1].tokens_per_s = 1.0
    observations = talk(network, cause=True)
    assert words(observations)[-4:] == ["short", "spaced", "spaced", "spaced"]
    *followed, last = trains(network)[-4:]
    own = {index for index, probe in enumerate(last.probes) if probe.ttl == 4}
    assert last.awaited is not None
    assert own <= last.awaited
    for train in followed:
        ttls = {train.probes[index].ttl for index in train.awaited or ()}
        assert ttls == {1, 2, 3}
    assert network.now_ns - network.started_ns[-1] > last.settle_ns  # type: ignore[operator]


def test_a_train_waits_until_the_one_before_is_through_however_long_that_was() -> None:
    network = path([4.0, 100.0, 100.0, 100.0])
    network.nodes[-1].tokens_per_s = 1.0
    observations = talk(network, cause=True)
    long = words(observations).index("long")
    sent = trains(network)[long]
    length_ms = sum(probe.size_bytes for probe in sent.probes) * 8 / 4000
    assert starts_ms(network)[long] >= 1.5 * length_ms
    # The one before it is much shorter.
    assert starts_ms(network)[long - 1] < length_ms


def test_patience_ends_when_the_rare_hop_has_enough_gaps() -> None:
    network = path(QUICK, noise_ns=15_000_000)
    network.nodes[-1].tokens_per_s = 1.0
    observations = talk(network, adaptive=False)
    assert words(observations).count("") == 10
    pauses_ms = starts_ms(network)
    assert sum(pause >= 2000 for pause in pauses_ms) <= 5
    assert max(pauses_ms[-4:]) < 1000


def test_a_hop_that_hardly_ever_answers_is_given_up() -> None:
    network = path(QUICK, noise_ns=20_000)
    network.nodes[1].tokens_per_s = 0.01
    network.nodes[1].burst = 3
    observations = talk(network)
    assert observations.limiting_ttl == 2
    assert words(observations).count("") >= 5
    assert network.now_ns - network.started_ns[0] < 40 * S


def test_lost_answers_do_not_slow_it_down() -> None:
    network = path(QUICK, noise_ns=20_000, loss=0.01)
    talk(network)
    assert max(starts_ms(network)) < 1000


def test_slow_paths_get_time_for_each_train() -> None:
    """0.5 Mbit/s: a train takes half a second, the next waits until it is through."""
    network = path([100.0, 0.5, 100.0])
    talk(network)
    for train, pause_ms in zip(trains(network)[1:], starts_ms(network), strict=False):
        length_ms = sum(probe.size_bytes for probe in train.probes) * 8 / 500
        assert pause_ms >= 1.5 * length_ms
        assert train.wait_ns > length_ms * MS


def test_the_load_grows_on_a_noisy_path_once_the_noise_is_known() -> None:
    network = path([1000.0] * 6, noise_ns=100_000)
    observations = talk(network)
    sizes = [(train.load_packets, train.load_size_bytes) for train in observations.trains]
    assert sizes[0] == sizes[1] == (60, 500)
    assert sizes[2][1] == 1400
    assert sizes[2][0] > 60
    fixed = path([1000.0] * 6, noise_ns=100_000)
    assert {train.load_packets for train in talk(fixed, adaptive=False).trains} == {60}


def test_where_nothing_stretches_small_packets_larger_ones_leave_faster() -> None:
    """At 40 us a packet small ones leave at 100 Mbit/s, which no link here is slower than."""
    network = path([1000.0, 1000.0, 150.0, 1000.0], sender_packet_ns=40_000)
    observations = talk(network)
    sizes = [(train.load_packets, train.load_size_bytes) for train in observations.trains]
    assert sizes[:5] == [(60, 500)] * 5
    assert set(sizes[5:]) == {(60, 1400)}
    readings = gaps.read(observations)
    assert profile(readings.gaps_ns).steps[-1].position == 3
    fixed = talk(path([1000.0, 1000.0, 150.0, 1000.0], sender_packet_ns=40_000), adaptive=False)
    assert {train.load_size_bytes for train in fixed.trains} == {500}


def test_a_path_that_stretches_nothing_gets_no_third_set() -> None:
    observations = talk(path([1000.0] * 4, sender_packet_ns=40_000))
    sizes = Counter(t.load_size_bytes for t in observations.trains if not t.discarded)
    assert sizes == {500: 5, 1400: 5}


def test_a_short_queue_gets_a_train_of_half_the_size() -> None:
    network = path(QUICK, noise_ns=20_000)
    network.links[2].queue_bytes = 20_000
    observations = talk(network)
    loads = Counter(train.load_packets for train in observations.trains)
    assert set(loads) == {60, 30}
    assert observations.limiting_ttl == 0
    assert words(observations).count("") == 5


def test_one_or_two_lost_tails_are_no_short_queue() -> None:
    network = path(QUICK, noise_ns=20_000)
    network.links[2].queue_bytes = 20_000
    observations = talk(network, max_interval_s=0.25)
    assert [train.load_packets for train in observations.trains[:4]] == [60, 60, 60, 30]


def test_a_queue_too_short_even_for_that_is_given_up() -> None:
    network = path(QUICK, noise_ns=20_000)
    network.links[2].queue_bytes = 5_000
    observations = talk(network)
    assert {train.load_packets for train in observations.trains} == {60, 30}
    assert words(observations).count("") >= 5


def test_growth_that_overflows_a_queue_is_undone() -> None:
    network = path([1000.0, 1000.0, 500.0, 1000.0], noise_ns=100_000)
    network.links[2].queue_bytes = 30_000
    observations = talk(network)
    sizes = [(train.load_packets, train.load_size_bytes) for train in observations.trains]
    assert sizes[-2] == (60, 500)
    assert max(sizes)[1] == 1400


def test_trains_that_the_host_held_up_are_repeated_and_counted() -> None:
    started = itertools.count()
    late: list[bool] = [False]

    def stall(i: int) -> int:
        if i == 0:
            late.append(next(started) % 3 == 1)
        return 4 * MS if i == 40 and late[-1] else 0

    observations = talk(path(QUICK, noise_ns=20_000, stall=stall))
    held_up = [gaps.held_up(train) for train in observations.trains]
    assert 0 < sum(held_up) < len(held_up)
    assert held_up.count(False) >= 5


def test_a_host_that_holds_up_every_train_stops_trying() -> None:
    network = path(QUICK, stall=lambda i: 4 * MS if i == 40 else 0)
    observations = talk(network)
    assert len(observations.trains) == 11


def test_filtered_checksums_are_noticed_and_done_without() -> None:
    network = path(QUICK)
    network.nodes[1].drop_bad_sums = True
    talk(network)
    sent = trains(network)
    muted = [any(probe.muted for probe in train.probes) for train in sent]
    assert muted == [True] * 5 + [False] * 7


class Unlucky(Path):
    """The first audible train meets other traffic at the bottleneck."""

    def carry(self, train: Train) -> TrainOutcome:
        hit = is_audible(train) and not any(is_audible(before) for before in self.sent)
        self.links[2].rate_bps = 5e6 if hit else 20e6
        return super().carry(train)


def is_audible(train: Train) -> bool:
    return len(train.probes) > 30 and not any(probe.muted for probe in train.probes)


def test_one_audible_train_that_meets_traffic_accuses_no_firewall() -> None:
    quiet = path(QUICK)
    observations = talk(Unlucky(links=quiet.links, nodes=quiet.nodes))
    assert words(observations) == [""] * 5 + ["control"] * 2


class SlowBack(Path):
    """Answers come home one after the other over a link of 3 Mbit/s."""

    def carry(self, train: Train) -> TrainOutcome:
        outcome = super().carry(train)
        free_ns = 0
        replies = {}
        heard = [(echo.reply, i) for i, echo in enumerate(outcome.echoes) if echo.reply is not None]
        for reply, i in sorted(heard, key=lambda one: one[0].received_ns):
            size_bytes = min(train.probes[i].size_bytes + 28, 576)
            free_ns = max(free_ns, reply.received_ns) + round(size_bytes * 8 * S / 3e6)
            replies[i] = attrs.evolve(reply, received_ns=free_ns)
        echoes = (attrs.evolve(echo, reply=replies.get(i)) for i, echo in enumerate(outcome.echoes))
        return attrs.evolve(outcome, echoes=tuple(echoes))


def test_answers_that_queue_on_a_slow_way_back_accuse_no_firewall() -> None:
    """Where a host answers all of an audible load, its tail's answer waits behind those."""
    quick = path(QUICK)
    network = SlowBack(links=quick.links, nodes=quick.nodes)
    observations = talk(network)
    assert words(observations) == [""] * 5 + ["control"] * 2
    small, large = [train for train in network.sent if is_audible(train)]
    assert [train.probes[6].size_bytes for train in (small, large)] == [500, 1400]
    assert sum(p.size_bytes for p in large.probes) == pytest.approx(
        sum(p.size_bytes for p in small.probes), rel=0.05
    )


def test_no_train_is_sent_where_nobody_answers() -> None:
    network = path(QUICK)
    for node in network.nodes:
        node.silent = True
    assert not talk(network).trains
    assert not trains(network)


def test_the_neighbour_is_too_close_for_a_train() -> None:
    assert not talk(path([100.0])).trains
    assert talk(path([100.0, 10.0])).trains


def test_it_stops_when_it_is_cut_short() -> None:
    for after in range(1, 6):
        network = path(QUICK, stop_after=after)
        talk(network)
        assert len(network.sent) == after


def test_no_train_begins_that_might_not_fit_into_the_time() -> None:
    network = path([100.0, 0.3, 100.0])
    talk(network, within_s=5)
    assert network.now_ns - network.started_ns[0] <= 5 * S
    assert len(trains(network)) < 5


def test_no_train_begins_that_does_not_fit_into_the_bytes() -> None:
    network = path(QUICK, noise_ns=3_000_000)
    conversation = converse(Parameters(cause=False), TARGET, within_s=77, within_bytes=150_000)
    drive(conversation, network)
    sent = sum(probe.size_bytes for train in network.sent for probe in train.probes)
    assert sent <= 150_000
    assert len(trains(network)) == 4


OFFER = Cooperation(port=40001, tag=b"sesame42")


def listening(network: Path) -> Path:
    network.nodes[-1].listens = (OFFER.port, OFFER.tag)
    return network


def cooperate(network: Path, **parameters: object) -> PathneckObservations:
    chosen = Parameters(**{"cause": False, **parameters})  # type: ignore[arg-type]
    conversation = converse(chosen, TARGET, within_s=77, within_bytes=3_000_000, cooperation=OFFER)
    return drive(conversation, network)


def test_a_destination_that_takes_part_is_measured_by_its_own_clock() -> None:
    network = listening(path([100.0, 100.0, 100.0, 20.0], noise_ns=0))
    network.nodes[-1].clock_ns = 17 * S
    # By ICMP it says nothing at all.
    network.nodes[-1].silent = True
    observations = cooperate(network)
    readings = gaps.read(observations)
    assert 4 in readings.ttls
    lengths = [gaps.gap_ns(train, 4) for train in readings.kept]
    assert lengths == [pytest.approx(30_000 * 8 / 20e6 * S, rel=0.03)] * len(lengths)
    assert {(train.port, train.tag) for train in network.sent} == {(OFFER.port, OFFER.tag)}
    # Its answers are not rationed: no train waits for them, and none has to be audible.
    assert observations.limiting_ttl == 0
    assert all(gaps.is_muted(train) for train in observations.trains)
    assert "control" not in words(observations)


def test_one_that_cannot_be_heard_is_measured_the_ordinary_way() -> None:
    network = path(QUICK)
    observations = cooperate(network)
    assert len(observations.greetings) == 3
    assert 6 in gaps.read(observations).ttls
    assert {train.tag for train in network.sent[3:]} == {b""}
    assert {train.port for train in network.sent[3:]} == {33434}


def changing(network: Path, change: Callable[[Path], None]) -> PathneckObservations:
    """Cooperate; `change` is called before every train."""
    conversation = converse(
        Parameters(cause=False), TARGET, within_s=77, within_bytes=3_000_000, cooperation=OFFER
    )
    train = next(conversation)
    try:
        while True:
            change(network)
            train = conversation.send(network.carry(train))
    except StopIteration as end:
        observations: PathneckObservations = end.value
        return observations


def test_a_lost_greeting_is_sent_again() -> None:
    def open_late(network: Path) -> None:
        if len(network.sent) == 1:
            listening(network)

    network = path(QUICK)
    observations = changing(network, open_late)
    assert len(observations.greetings) == 2
    assert network.sent[-1].tag == OFFER.tag


def test_who_insists_on_it_gets_nothing_else() -> None:
    network = path(QUICK)
    observations = cooperate(network, mute="coop")
    assert not observations.trace
    assert not observations.trains


def test_a_destination_that_leaves_in_mid_run_is_given_up() -> None:
    def leave(network: Path) -> None:
        if len(trains(network)) == 1:
            network.nodes[-1].listens = None

    network = listening(path(QUICK))
    network.nodes[-1].silent = True
    readings = gaps.read(changing(network, leave))
    assert readings.ttls == (0, 1, 2, 3, 4, 5)


def test_by_icmp_the_destination_echoes_head_and_tail() -> None:
    network = path(QUICK)
    observations = talk(network, proto="icmp")
    assert {train.kind for train in network.sent} == {Kind.ICMP_ECHO}
    readings = gaps.read(observations)
    assert readings.ttls == (0, 1, 2, 3, 4, 5, 6)
    assert {p.icmp_type for p in observations.trains[0].train.probes[5:6]} == {0}


def test_by_icmp_a_port_unreachable_is_a_firewall_not_the_destination() -> None:
    network = path(QUICK)
    network.nodes[3].refuse_code = 3
    observations = talk(network, proto="icmp")
    assert not observations.trains
    assert talk(path(QUICK), proto="udp").trains


def test_a_busy_host_does_not_hold_a_set_up() -> None:
    """Whether the first link stretches trains depends on its own pace; the bottleneck does not."""

    def wander(network: Path) -> None:
        # Around the pace of the first link, from train to train.
        network.sender_bps = (80e6, 170e6)[len(network.sent) % 2]

    network = path(QUICK)
    observations = changing(network, wander)
    assert words(observations) == [""] * 5 + ["control"]
