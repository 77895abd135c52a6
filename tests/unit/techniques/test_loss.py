"""Loss over simulated paths: seeds are fixed, so nothing here is a matter of luck."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from ipaddress import IPv4Address

import pytest

from emodis.packets.model import Train
from emodis.techniques.base import BadParameters, Context, Measured
from emodis.techniques.loss import Loss
from emodis.techniques.loss_estimator import TARGET_TTL, estimate
from emodis.techniques.loss_series import SLOW_PACE_S, block_lengths
from emodis.wire.v1.common_pb2 import (
    BLAME_NETWORK,
    BLAME_TARGET,
    END_DONE,
    END_FAILED,
    Body,
    Quality,
)
from emodis.wire.v1.loss_pb2 import (
    HOP_LOSS_BEFORE,
    HOP_LOSS_BEHIND,
    HOP_LOSS_SILENT,
    HOP_LOSS_UNRELIABLE,
    LossBlock,
    LossObservations,
    LossResult,
)
from emodis.wire.v1.techniques_pb2 import ProbeRecord, TrainRecord
from tests.support.driving import drive
from tests.support.fluid import MS, TARGET, Router, S
from tests.support.lossy import LossyLink, LossyPath, lossy

LOSS = Loss()


def measure(network: LossyPath, seed: int = 1, **options: str) -> Measured:
    call = LOSS.call(options)
    measured = drive(LOSS.conversation(call, Context(address=TARGET, seed=seed)), network)
    again = LOSS.estimate(call, measured.observations.SerializeToString())
    assert again == measured
    return measured


def found(network: LossyPath, seed: int = 1, **options: str) -> LossResult:
    measured = measure(network, seed, **options)
    assert measured.ending.end == END_DONE
    assert isinstance(measured.result, LossResult)
    return measured.result


def losing(
    link: int,
    seed: int = 0,
    *,
    there: float = 0.0,
    back: float = 0.0,
    burst: float = 1.0,
    tokens_per_s: float | None = None,
) -> LossyPath:
    """A path of eight links of which the one that leads to this hop loses."""
    network = lossy(8, seed, tokens_per_s=tokens_per_s)
    network.links[link - 1] = LossyLink(there, back, burst)
    return network


def series(pattern: str, block: str = "") -> LossObservations:
    """Echoes 100 ms apart: `.` came back after 20 ms, `x` did not, `-` came after 3 s."""
    took = {".": 20 * MS, "-": 3 * S}
    blocks = []
    for text in filter(None, (pattern, block)):
        train = TrainRecord()
        for number, letter in enumerate(text):
            probe = ProbeRecord(ttl=TARGET_TTL, sent_ns=number * 100 * MS)
            if letter in took:
                probe.received_ns = probe.sent_ns + took[letter]
                probe.address = TARGET.packed
            train.probes.append(probe)
        blocks.append(LossBlock(train=train))
    return LossObservations(target=TARGET.packed, blocks=blocks)


def test_worked_example() -> None:
    """Twenty probes in two blocks: two lost in a row, one alone, and one that came too late."""
    result = estimate(series("...xx.....", "..x....-.."), timeout_s=2.0)
    assert (result.sent, result.answered, result.late) == (20, 16, 1)
    assert result.loss_ratio == pytest.approx(0.2)
    assert [(run.length, run.times) for run in result.runs] == [(1, 2), (2, 1)]
    assert (result.loss_max_run, result.rtt_median_ns) == (2, 20 * MS)
    # Of the four probes after a lost one, one was lost, too.
    assert result.loss_after_loss_ratio == pytest.approx(0.25)
    # P(lost | answered before) is 3 of 14: a memory of 0.25 - 3/14 costs a fifteenth.
    assert result.effective_probes == pytest.approx(20 * (1 - 1 / 28) / (1 + 1 / 28))
    assert result.loss_low_ratio < 0.0807
    assert result.loss_high_ratio > 0.4160


def test_a_run_does_not_reach_over_the_pause_between_blocks() -> None:
    result = estimate(series("....xx", "xx...."), timeout_s=2.0)
    assert [(run.length, run.times) for run in result.runs] == [(2, 2)]


def test_nothing_lost_is_less_than_something() -> None:
    result = found(lossy(5), locate="off")
    assert (result.loss_ratio, result.answered, list(result.runs)) == (0, 300, [])
    assert 0.012 < result.loss_high_ratio < 0.013
    assert not result.HasField("loss_after_loss_ratio")
    assert not result.HasField("begins")


@pytest.mark.parametrize("ratio", [0.01, 0.1, 0.3])
@pytest.mark.parametrize("spacing", ["poisson", "periodic"])
def test_the_interval_holds_the_truth_in_at_least_90_of_100(ratio: float, spacing: str) -> None:
    hits = 0
    for seed in range(100):
        result = found(losing(3, seed, there=ratio), seed, locate="off", spacing=spacing)
        hits += result.loss_low_ratio <= ratio <= result.loss_high_ratio
    assert hits >= 90


def test_so_it_does_where_losses_come_in_runs() -> None:
    hits = 0
    for seed in range(100):
        result = found(losing(3, seed, there=0.1, burst=5), seed, locate="off")
        hits += result.loss_low_ratio <= 0.1 <= result.loss_high_ratio
    assert hits >= 90


@pytest.mark.parametrize(
    ("link", "there", "back", "burst", "tokens_per_s"),
    [
        (1, 0.1, 0.0, 1, None),
        (4, 0.1, 0.0, 1, None),
        (4, 0.0, 0.1, 1, None),
        (8, 0.1, 0.0, 1, None),
        (4, 0.05, 0.0, 4, None),
        (4, 0.1, 0.0, 1, 1.0),
        (8, 0.3, 0.0, 1, 1.0),
    ],
)
def test_the_place_is_where_it_is(
    link: int, there: float, back: float, burst: float, tokens_per_s: float | None
) -> None:
    """How exactly it is found depends on luck and routers; that it is right must not."""
    width = []
    for seed in range(10):
        network = losing(link, seed, there=there, back=back, burst=burst, tokens_per_s=tokens_per_s)
        result = found(network, seed)
        if not result.HasField("begins"):
            continue
        assert result.begins.from_ttl < link <= result.begins.to_ttl
        width.append(result.begins.to_ttl - result.begins.from_ttl)
    assert len(width) >= 8
    if tokens_per_s is None:
        assert sum(width) / len(width) < 3


def test_what_each_hop_shows() -> None:
    network = losing(4, there=0.2)
    network.nodes[1].silent = True
    # Answers one in five whoever asks, and however slowly.
    network.nodes[2].tokens_per_s = 0.1
    result = found(network)
    shows = {hop.ttl: hop.shows for hop in result.hops}
    assert list(shows) == [1, 2, 3, 4, 5, 6, 7]
    assert shows[2] == HOP_LOSS_SILENT
    assert shows[3] == HOP_LOSS_UNRELIABLE
    assert [ttl for ttl, word in shows.items() if word == HOP_LOSS_BEFORE] == [1]
    assert {shows[ttl] for ttl in (4, 5, 6, 7)} == {HOP_LOSS_BEHIND}
    assert [hop.ttl for hop in result.hops if hop.rate_limited] == [3]
    assert (result.begins.from_ttl, result.begins.to_ttl) == (1, 4)
    assert result.begins.to_address == network.nodes[3].address.packed


def asked_s(trains: Sequence[Train], ttl: int) -> list[float]:
    """When a hop was asked in the series, counted from its start, pauses left out."""
    times, now_ns = [], 0
    for train in trains:
        for probe in train.probes:
            now_ns += probe.after_ns
            if probe.ttl == ttl:
                times.append(now_ns / S)
    return times


@pytest.mark.parametrize("saved", [5.1, 5.3, 5.5, 5.7, 5.9])
def test_routers_that_answer_rarely_are_asked_rarely_and_are_no_loss(saved: float) -> None:
    # Just enough to answer a question every 1.1 s, once they have recovered from the quick ones.
    network = lossy(6, tokens_per_s=0.92)
    network.nodes[0]._tokens, network.nodes[0]._last_ns = saved, network.now_ns
    measured = measure(network)
    result = measured.result
    assert isinstance(result, LossResult)
    assert [hop.rate_limited for hop in result.hops] == [True] * 5
    assert [hop.answered / hop.asked for hop in result.hops] == [1.0] * 5
    assert not result.HasField("begins")
    assert measured.quality.word == Quality.WORD_FAIR
    assert measured.quality.reasons == ["hop 1, 2, 3, 4, 5 answers rarely and was asked rarely"]
    blocks = [
        train for train in network.sent if train.probes[-1].ttl == TARGET_TTL or train.progress
    ]
    for ttl in range(1, 6):
        slow = asked_s(blocks[1:], ttl)
        assert len(slow) > 15
        gaps_s = [after - before for before, after in itertools.pairwise(slow)]
        # Poisson times of other probes bound a block, so its ends shift a little.
        assert min(gaps_s) > SLOW_PACE_S - 0.2


def test_a_destination_that_rations_its_answers_is_no_loss() -> None:
    network = lossy(5)
    network.nodes[-1].tokens_per_s = 1.0
    measured = measure(network)
    assert isinstance(measured.result, LossResult)
    assert measured.result.rate_limited_suspected
    assert not measured.result.HasField("begins")
    assert measured.quality.word == Quality.WORD_POOR


@pytest.mark.parametrize("ratio", [0.3, 0.9])
def test_random_loss_is_not_taken_for_rationing(ratio: float) -> None:
    for seed in range(20):
        result = found(losing(3, seed, there=ratio), seed, locate="off")
        assert not result.rate_limited_suspected


def test_a_host_that_is_down_ends_after_the_first_block() -> None:
    network = lossy(4)
    network.down = True
    measured = measure(network)
    assert (measured.ending.end, measured.ending.reason) == (END_FAILED, "no_reply")
    assert measured.ending.blame == BLAME_TARGET
    assert isinstance(measured.result, LossResult)
    assert (measured.result.loss_ratio, measured.result.sent) == (1.0, 50)
    assert not measured.result.HasField("begins")


def test_a_router_that_says_no_is_the_reason_although_it_says_so_but_once() -> None:
    network = lossy(12)
    network.nodes[0] = Router(
        address=IPv4Address("10.0.1.1"), refuse_code=0, tokens_per_s=0.1, burst=1
    )
    measured = measure(network)
    assert (measured.ending.reason, measured.ending.blame) == ("unreachable(0)", BLAME_NETWORK)
    assert "10.0.1.1 has no route" in measured.ending.hint
    # It is not asked for hops behind that router.
    assert [len(train.probes) for train in network.sent if train.progress is None] == [4]


def test_refusals_in_mid_series_are_told_from_losses() -> None:
    network = lossy(4)
    talk = LOSS.conversation(LOSS.call({}), Context(address=TARGET, seed=1))
    train, measured = next(talk), None
    while measured is None:
        network.nodes[1].refuse_code = 1 if train.progress == (2, 3) else None
        try:
            train = talk.send(network.carry(train))
        except StopIteration as stop:
            measured = stop.value
    assert measured.ending.end == END_DONE
    assert any("of the lost probes were refused: 10.0.2.1" in r for r in measured.quality.reasons)


def test_an_outage_in_the_middle_is_a_loss_and_no_end() -> None:
    network = lossy(4)
    call = LOSS.call({"count": "600"})
    talk = LOSS.conversation(call, Context(address=TARGET, seed=1))
    train, number = next(talk), 0
    measured = None
    while measured is None:
        number += train.progress is not None
        network.down = number == 3
        try:
            train = talk.send(network.carry(train))
        except StopIteration as stop:
            measured = stop.value
    assert isinstance(measured.result, LossResult)
    assert measured.result.sent == 600
    assert measured.result.loss_max_run > 150
    assert "losses come in runs, so the interval is wide" in measured.quality.reasons


def test_a_change_of_route_is_said() -> None:
    network = lossy(6)
    call = LOSS.call({})
    talk = LOSS.conversation(call, Context(address=TARGET, seed=1))
    train, measured = next(talk), None
    while measured is None:
        if train.progress == (2, 3):
            network.nodes[2].address = IPv4Address("10.0.99.1")
        try:
            train = talk.send(network.carry(train))
        except StopIteration as stop:
            measured = stop.value
    assert measured.quality.reasons == ["the route changed at hop 3 during the run"]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"count": "1000"},
        {"count": "10", "interval_s": "5", "spacing": "periodic"},
        {"count": "2000", "interval_s": "0.02", "max_ttl": "60"},
        {"locate": "off", "count": "40", "interval_s": "0.03"},
    ],
)
@pytest.mark.parametrize("hops", [1, 12, 60])
def test_no_run_takes_more_than_its_worst_case(options: dict[str, str], hops: int) -> None:
    network = lossy(hops)
    begun_ns = network.now_ns
    call = LOSS.call(options)
    drive(LOSS.conversation(call, Context(address=TARGET, seed=3)), network)
    worst = LOSS.worst_case(call)
    assert (network.now_ns - begun_ns) / S <= worst.duration_s
    probes = [probe for train in network.sent for probe in train.probes]
    assert sum(probe.size_bytes for probe in probes) <= worst.sent_bytes
    assert sum(probe.ttl == TARGET_TTL for probe in probes) == int(options.get("count", "300"))
    assert sum(block_lengths_of(call)) == pytest.approx(
        int(options.get("count", "300")) * float(options.get("interval_s", "0.1"))
    )


def block_lengths_of(call: Body) -> list[float]:
    return block_lengths(LOSS._chosen(call))


def test_observations_of_the_largest_run_can_be_kept() -> None:
    network = lossy(60)
    measured = measure(network, count="1000", max_ttl="60")
    assert len(measured.observations.SerializeToString()) < 768 << 10


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"count": "2000"}, "no run may take more than 120 s"),
        ({"count": "10", "interval_s": "0.05"}, "ping is for short series"),
        ({"spacing": "uniform"}, "spacing must be poisson, periodic"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, str], words: str) -> None:
    with pytest.raises(BadParameters, match=words):
        LOSS.call(options)


def test_addresses_are_those_of_the_hops_in_order() -> None:
    result = found(lossy(4))
    body = Body(technique="loss", schema=1, body=result.SerializeToString())
    assert [str(address) for address in LOSS.addresses(body)] == [
        "10.0.1.1",
        "10.0.2.1",
        "10.0.3.1",
    ]
