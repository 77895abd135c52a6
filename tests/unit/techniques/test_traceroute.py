from __future__ import annotations

import itertools
from ipaddress import IPv4Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emodis.techniques.base import Context, Measured
from emodis.techniques.traceroute import Traceroute, estimate
from emodis.wire.v1.common_pb2 import Body, End, Quality
from emodis.wire.v1.techniques_pb2 import ProbeRecord, TracerouteObservations, TrainRecord
from tests.support.fluid import MS, TARGET, Path, drive, path

TRACEROUTE = Traceroute()
ROUTER = IPv4Address("10.0.2.1")


def measure(network: Path, **options: str) -> Measured:
    call = TRACEROUTE.call(options)
    return drive(TRACEROUTE.conversation(call, Context(address=TARGET, seed=1)), network)


def route(measured: Measured) -> list[str]:
    """The first answer of each hop, "*" where there is none."""
    result: Any = measured.result
    firsts = (next((a.address for a in hop.answers if a.address), b"") for hop in result.hops)
    return [str(IPv4Address(first)) if first else "*" for first in firsts]


def test_worked_example() -> None:
    """Three links: everything up to TTL 30 leaves at once, later rounds go as far as needed."""
    network = path([100.0, 100.0, 100.0])
    measured = measure(network)
    assert [[p.ttl for p in train.probes] for train in network.sent] == [
        list(range(1, 31)),
        [1, 2, 3],
        [1, 2, 3],
    ]
    assert len({train.flow for train in network.sent}) == 1
    assert route(measured) == ["10.0.1.1", "10.0.2.1", str(TARGET)]
    result: Any = measured.result
    assert (result.hop_count, result.reached, result.end_reason) == (3, True, "reached")
    assert [len(hop.answers) for hop in result.hops] == [3, 3, 3]
    assert measured.quality.word == Quality.WORD_GOOD
    # One way and back over three links of 1 ms.
    assert result.hops[2].answers[1].rtt_ns == pytest.approx(6 * MS, rel=0.05)


def test_a_silent_hop_is_listed_as_silent() -> None:
    network = path([100.0] * 4)
    network.nodes[1].silent = True
    measured = measure(network)
    assert route(measured) == ["10.0.1.1", "*", "10.0.3.1", str(TARGET)]
    result: Any = measured.result
    assert not result.hops[1].rate_limited


def test_a_silent_destination_leaves_the_route_incomplete() -> None:
    network = path([100.0] * 4)
    network.nodes[-1].silent = True
    measured = measure(network)
    result: Any = measured.result
    assert (result.end_reason, result.reached, result.HasField("hop_count")) == (
        "incomplete",
        False,
        False,
    )
    assert route(measured) == ["10.0.1.1", "10.0.2.1", "10.0.3.1"]
    assert measured.ending.end == End.END_DONE
    assert measured.quality.word == Quality.WORD_FAIR
    # Behind the last answer only gap_limit hops are asked again.
    assert [len(train.probes) for train in network.sent] == [30, 8, 8]


def test_all_silent() -> None:
    network = path([100.0] * 3)
    for node in network.nodes:
        node.silent = True
    measured = measure(network)
    assert measured.ending.reason == "no_hop_answered"
    assert route(measured) == []


@pytest.mark.parametrize("code", [0, 1, 10, 13])
def test_a_router_that_says_no_ends_the_route(code: int) -> None:
    network = path([100.0] * 5)
    network.nodes[2].refuse_code = code
    measured = measure(network)
    result: Any = measured.result
    assert (result.end_reason, result.reached) == (f"unreachable({code})", False)
    assert route(measured) == ["10.0.1.1", "10.0.2.1", "10.0.3.1"]


def test_another_address_of_the_destination_counts_as_arrival() -> None:
    network = path([100.0] * 3)
    network.nodes[-1].alias = IPv4Address("10.5.5.5")
    measured = measure(network)
    assert route(measured)[-1] == "10.5.5.5"
    result: Any = measured.result
    assert (result.hop_count, result.end_reason) == (3, "reached")


def test_a_loop_ends_where_a_router_comes_up_again() -> None:
    network = path([100.0] * 40)
    for i, node in enumerate(network.nodes):
        node.address = IPv4Address("10.1.1.1") if i % 2 else IPv4Address("10.2.2.2")
    measured = measure(network)
    result: Any = measured.result
    assert result.end_reason == "loop"
    assert route(measured) == ["10.2.2.2", "10.1.1.1", "10.2.2.2"]
    assert measured.quality.word == Quality.WORD_POOR


def test_a_router_that_forwards_a_used_up_ttl_is_no_loop() -> None:
    network = path([100.0] * 5)
    network.nodes[2].address = network.nodes[1].address
    network.nodes[-1].silent = True
    result: Any = measure(network).result
    assert result.end_reason == "incomplete"


def test_a_host_that_answers_a_few_of_a_burst_is_asked_again_later() -> None:
    network = path([100.0] * 3)
    network.nodes[-1].tokens_per_s = 1.0
    measured = measure(network)
    result: Any = measured.result
    assert result.hop_count == 3
    starts = [at - network.started_ns[0] for at in network.started_ns]
    # Round 2 at once, round 3 after the miss in round 2.
    assert starts[1] < 100 * MS
    assert starts[2] - starts[1] >= 1100 * MS
    assert [bool(answer.address) for answer in result.hops[2].answers] == [True, False, True]


def test_the_last_round_is_made_up_for_once() -> None:
    network = path([100.0] * 3)
    network.nodes[-1].tokens_per_s = 1.0
    result: Any = measure(network, rounds="2").result
    assert [[p.ttl for p in train.probes] for train in network.sent[1:]] == [[1, 2, 3], [3]]
    assert [a.round for a in result.hops[2].answers if a.address] == [1, 3]


def test_a_hop_that_answers_once_a_second_is_flagged_and_no_loss() -> None:
    network = path([100.0] * 5)
    network.nodes[1].tokens_per_s = 0.01
    network.nodes[1].burst = 1
    network.nodes[1]._tokens = 1
    result: Any = measure(network).result
    assert [hop.rate_limited for hop in result.hops] == [False, True, False, False, False]


def test_a_changing_route_is_said() -> None:
    answers = itertools.count()

    def wander(hop: int, address: IPv4Address) -> IPv4Address:
        return IPv4Address(f"10.7.7.{next(answers) % 2 + 1}") if hop == 2 else address

    measured = measure(path([100.0] * 4, answers_from=wander))
    assert "the route changed at hop 2 during the run" in measured.quality.reasons


def test_answers_far_behind_silence_are_not_listed() -> None:
    probes = [probe(ttl, "10.0.0.1" if ttl == 1 else None) for ttl in range(1, 12)]
    probes[8] = probe(9, "10.0.0.9")
    result = estimate(observed(probes), gap_limit=5)
    assert (result.end_reason, len(result.hops)) == ("incomplete", 1)
    assert len(estimate(observed(probes), gap_limit=8).hops) == 9


def test_an_answer_from_before_its_probe_is_none() -> None:
    early = probe(1, "10.0.0.1")
    early.received_ns = -5
    assert estimate(observed([early]), gap_limit=5).end_reason == "no_hop_answered"


def test_estimating_again_gives_the_same() -> None:
    measured = measure(path([100.0] * 6, noise_ns=1e6))
    call = TRACEROUTE.call({})
    assert TRACEROUTE.estimate(call, measured.observations.SerializeToString()) == measured


def test_its_addresses_are_those_of_its_hops() -> None:
    network = path([100.0] * 3)
    network.nodes[0].silent = True
    measured = measure(network)
    assert measured.result is not None
    body = Body(technique="traceroute", schema=1, body=measured.result.SerializeToString())
    assert TRACEROUTE.addresses(body) == (ROUTER, TARGET)


def test_stopped_early_is_said() -> None:
    measured = measure(path([100.0] * 3, stop_after=1))
    assert measured.quality.word == Quality.WORD_POOR
    assert len(route(measured)) == 3


@given(st.binary(max_size=400))
def test_hostile_observations_never_raise_anything_but_value_error(data: bytes) -> None:
    try:
        observations = TracerouteObservations.FromString(data)
    except Exception:
        return
    call = TRACEROUTE.call({})
    TRACEROUTE.estimate(call, observations.SerializeToString())


hostile_probes = st.builds(
    ProbeRecord,
    ttl=st.integers(0, 2**32 - 1),
    sent_ns=st.integers(-(2**62), 2**62),
    received_ns=st.none() | st.integers(-(2**62), 2**62),
    address=st.sampled_from([b"", b"abc", bytes(4), bytes(16), TARGET.packed]),
    icmp_type=st.sampled_from([0, 1, 3, 11, 129, 4_000_000_000]),
    icmp_code=st.integers(0, 20),
)


@given(st.lists(hostile_probes, max_size=20))
def test_hostile_probes_give_an_answer(probes: list[ProbeRecord]) -> None:
    result = estimate(observed(probes), gap_limit=5)
    assert len(result.hops) <= 64


def probe(ttl: int, address: str | None) -> ProbeRecord:
    record = ProbeRecord(ttl=ttl, size_bytes=60, sent_ns=0)
    if address is not None:
        record.received_ns = MS
        record.address = IPv4Address(address).packed
        record.icmp_type = 11
    return record


def observed(probes: list[ProbeRecord]) -> TracerouteObservations:
    return TracerouteObservations(target=TARGET.packed, trains=[TrainRecord(probes=probes)])
