from __future__ import annotations

import itertools
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emodis.packets.model import Kind, Mark, MplsLabel
from emodis.techniques.base import BadParameters, Context, Measured
from emodis.techniques.traceroute import Traceroute
from emodis.techniques.traceroute_hops import View, estimate
from emodis.wire.v1.common_pb2 import Body, End, Quality
from emodis.wire.v1.techniques_pb2 import (
    ANSWER_MARK_NAT,
    ProbeRecord,
    TracerouteObservations,
    TrainRecord,
)
from tests.support.driving import drive
from tests.support.fluid import MS, TARGET, Path, path

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
    """Three links: three rounds up to TTL 16 and one behind it leave at once."""
    network = path([100.0, 100.0, 100.0])
    measured = measure(network)
    (train,) = network.sent
    near = [ttl for ttl in range(1, 17) for _ in range(3)]
    assert [probe.ttl for probe in train.probes] == [*near, *range(17, 31)]
    assert route(measured) == ["10.0.1.1", "10.0.2.1", str(TARGET)]
    result: Any = measured.result
    assert (result.hop_count, result.reached, result.end_reason) == (3, True, "reached")
    assert [len(hop.answers) for hop in result.hops] == [3, 3, 3]
    assert measured.quality.word == Quality.WORD_GOOD
    # One way and back over three links of 1 ms.
    assert result.hops[2].answers[1].rtt_ns == pytest.approx(6 * MS, rel=0.05)


def test_what_lies_far_is_made_up_for_as_far_as_needed() -> None:
    network = path([100.0] * 18)
    result: Any = measure(network, rounds="5").result
    later = [[probe.ttl for probe in train.probes] for train in network.sent[1:]]
    assert later == [[17, 17, 18, 18], [ttl for ttl in range(1, 19) for _ in range(2)]]
    assert [[answer.round for answer in hop.answers] for hop in result.hops] == [
        list(range(1, 6))
    ] * 18
    assert len({train.flow for train in network.sent}) == 1


def test_syns_leave_a_round_at_a_time() -> None:
    """A port that is open keeps silent to a second SYN of the flow."""
    network = path([100.0] * 3)
    measure(network, proto="tcp")
    assert [len(train.probes) for train in network.sent] == [30, 3, 3]


def test_syns_whose_ports_the_kernel_chose_may_have_gone_different_ways() -> None:
    network = path([100.0, 100.0, 100.0])
    network.connects = True
    measured = measure(network, proto="tcp")
    assert route(measured) == ["10.0.1.1", "10.0.2.1", str(TARGET)]
    assert measured.quality.word == Quality.WORD_FAIR
    assert "each SYN has a source port of its own" in measured.quality.reasons[0]
    assert measure(network, proto="udp").quality.word == Quality.WORD_GOOD


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
    measured = measure(network, rounds="6")
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
    assert [len(train.probes) for train in network.sent] == [62, 3 * 8]


def test_all_silent() -> None:
    network = path([100.0] * 3)
    for node in network.nodes:
        node.silent = True
    measured = measure(network)
    assert measured.ending.reason == "no_hop_answered"
    assert "; try another -o proto, and check" in measured.ending.hint
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
    assert result.dest_alias == bytes([10, 5, 5, 5])
    assert measured.quality.word == Quality.WORD_FAIR
    assert "10.5.5.5 answered in place of the destination" in measured.quality.reasons[0]


@pytest.mark.parametrize("proto", ["icmp", "tcp"])
def test_a_firewall_that_rejects_is_no_arrival(proto: str) -> None:
    network = path([100.0] * 4)
    network.nodes[2].refuse_code = 3
    result: Any = measure(network, proto=proto).result
    assert (result.reached, result.end_reason) == (False, "unreachable(3)")


@pytest.mark.parametrize(
    ("proto", "kind", "port"),
    [("udp", Kind.UDP, 33434), ("icmp", Kind.ICMP_ECHO, 33434), ("tcp", Kind.TCP_SYN, 80)],
)
def test_every_protocol_finds_the_same_route(proto: str, kind: Kind, port: int) -> None:
    network = path([100.0] * 8)
    measured = measure(network, proto=proto)
    assert route(measured) == [*(f"10.0.{i}.1" for i in range(1, 8)), str(TARGET)]
    assert {(train.kind, train.port) for train in network.sent} == {(kind, port)}
    result: Any = measured.result
    assert (result.hop_count, result.end_reason) == (8, "reached")
    call = TRACEROUTE.call({"proto": proto})
    assert TRACEROUTE.estimate(call, measured.observations.SerializeToString()) == measured


def test_only_udp_waits_for_a_rationed_destination() -> None:
    for proto, waits in (("udp", True), ("icmp", False)):
        network = path([100.0] * 3)
        network.nodes[-1].tokens_per_s = 0.001
        measure(network, proto=proto, rounds="4")
        assert [train.not_before_ns > 0 for train in network.sent] == [False, False, waits]


def test_it_may_begin_behind_the_first_hop() -> None:
    network = path([100.0] * 5)
    measured = measure(network, first_ttl="3", rounds="4")
    assert {probe.ttl for train in network.sent[1:] for probe in train.probes} == {3, 4, 5}
    result: Any = measured.result
    assert [hop.ttl for hop in result.hops] == [3, 4, 5]
    assert result.hop_count == 5
    silent = path([100.0] * 5)
    for node in silent.nodes[2:]:
        node.silent = True
    assert measure(silent, first_ttl="3").ending.reason == "no_hop_answered"


def test_beginning_behind_the_end_is_refused() -> None:
    with pytest.raises(BadParameters, match="first_ttl must not be above max_ttl, 5, not 6"):
        TRACEROUTE.call({"first_ttl": "6", "max_ttl": "5"})


def test_ipv6_probes_are_longer_by_their_header() -> None:
    context = Context(address=IPv6Address("fd00::1"), seed=1)
    talk = TRACEROUTE.conversation(TRACEROUTE.call({}), context)
    assert {probe.size_bytes for probe in next(talk).probes} == {80}
    talk = TRACEROUTE.conversation(TRACEROUTE.call({"size_bytes": "1500"}), context)
    with pytest.raises(StopIteration) as end:
        next(talk)
    assert end.value.value.ending.reason == "bad_params"


def test_what_a_router_reports_reaches_the_result() -> None:
    network = path([100.0] * 3)
    talk = TRACEROUTE.conversation(
        TRACEROUTE.call({"rounds": "1"}), Context(address=TARGET, seed=1)
    )
    outcome = network.carry(next(talk))
    labels = (
        MplsLabel(label=24001, traffic_class=1, bottom=False, ttl=254),
        MplsLabel(label=16, traffic_class=0, bottom=True, ttl=1),
    )
    first = outcome.echoes[0]
    assert first.reply is not None
    marked = attrs.evolve(first.reply, marks=frozenset({Mark.NAT}), mpls=labels)
    echoes = (attrs.evolve(first, reply=marked), *outcome.echoes[1:])
    with pytest.raises(StopIteration) as end:
        talk.send(attrs.evolve(outcome, echoes=echoes, duplicates=2, unmatched=5))
    measured = end.value.value
    answer = measured.result.hops[0].answers[0]
    assert [
        (entry.label, entry.traffic_class, entry.bottom, entry.ttl) for entry in answer.mpls
    ] == [
        (24001, 1, False, 254),
        (16, 0, True, 1),
    ]
    assert list(answer.marks) == [ANSWER_MARK_NAT]
    assert (measured.result.duplicates, measured.result.unmatched) == (2, 5)
    assert "something rewrites the probes' source before hop 1 (NAT)" in measured.quality.reasons


def test_equal_routes_have_equal_hashes() -> None:
    one: Any = measure(path([100.0] * 3)).result
    same: Any = measure(path([10.0] * 3), proto="icmp").result
    other: Any = measure(path([100.0] * 4)).result
    assert len(one.path_hash) == 16
    assert one.path_hash == same.path_hash != other.path_hash


def test_a_link_too_narrow_for_the_probes_says_what_to_do() -> None:
    network = path([100.0] * 4)
    network.nodes[1].refuse_code = 4
    measured = measure(network, size_bytes="1400")
    result: Any = measured.result
    assert result.end_reason == "packet_too_big"
    assert "give a smaller size_bytes" in measured.quality.reasons[0]


def test_nothing_is_looked_for_behind_a_router_that_says_no() -> None:
    network = path([100.0] * 5)
    network.nodes[2].refuse_code = 0
    measured = measure(network, rounds="6")
    assert [len(train.probes) for train in network.sent] == [62, 9]
    assert measured.quality.reasons[0] == "hop 3 says that the destination cannot be reached"


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
    """Hop 2 passes the probe on with TTL 0, so hop 3 answers twice."""
    network = path([100.0] * 5)
    network.nodes[1].address = network.nodes[2].address
    network.nodes[-1].silent = True
    observations: Any = measure(network).observations
    for train in observations.trains:
        for asked in train.probes:
            asked.quoted_ttl = asked.quoted_ttl if asked.ttl != 2 else 0
    result = estimate(observations, View(gap_limit=5))
    assert result.end_reason == "incomplete"
    assert [hop.passes_used_up_ttl for hop in result.hops] == [False, True, False, False]


def test_a_route_that_changes_between_rounds_is_no_loop() -> None:
    """The router of hop 1 is at hop 3 after the change, never twice in one round."""
    before = [probe(ttl, f"10.0.{ttl}.1") for ttl in (1, 2, 3)]
    after = [probe(1, "10.0.7.1"), probe(2, "10.0.8.1"), probe(3, "10.0.1.1")]
    trains = [TrainRecord(probes=before), TrainRecord(probes=after)]
    observations = TracerouteObservations(target=TARGET.packed, trains=trains)
    assert estimate(observations, View(gap_limit=5)).end_reason == "incomplete"


def test_a_destination_that_says_its_ttl_is_used_up_does_not_end_the_route() -> None:
    probes = [probe(1, "10.0.0.1"), probe(2, str(TARGET)), probe(3, "10.0.0.3")]
    result = estimate(observed(probes), View(gap_limit=5))
    assert (result.reached, len(result.hops)) == (False, 3)


def lossy(*missing: set[int], rounds: int = 10, proto: str = "icmp") -> list[float | None]:
    """The loss of each hop of a route, of which these rounds are missing at each hop."""
    trains = []
    for number in range(rounds):
        probes = [
            probe(ttl, None if number in gone else f"10.0.{ttl}.1")
            for ttl, gone in enumerate(missing, start=1)
        ]
        if number not in missing[-1]:
            probes[-1] = arrival(len(missing))
        trains.append(TrainRecord(probes=probes))
    observations = TracerouteObservations(target=TARGET.packed, trains=trains)
    result = estimate(observations, View(gap_limit=5, proto=proto))
    assert result.reached
    return [hop.loss_ratio if hop.HasField("loss_ratio") else None for hop in result.hops]


def test_loss_counts_from_where_every_hop_behind_shows_it() -> None:
    gone = {2, 5, 8}
    assert lossy(set(), gone, gone, {1, 5, 8}) == [None, 0.3, 0.3, 0.3]
    # A hop that answers everything further on proves that the links before it lose nothing.
    assert lossy(gone, set(), gone, gone) == [None, None, 0.3, 0.3]
    assert lossy(gone, gone, gone, set()) == [None] * 4
    # Far more than those behind: that is the router's own doing.
    assert lossy({1, 2, 3, 4, 5, 6, 7, 8}, {9}, {5}, {1}) == [None, 0.1, 0.1, 0.1]


def test_a_destination_that_rations_its_answers_to_udp_is_no_witness_of_loss() -> None:
    gone = {2, 5, 8}
    assert lossy(set(), set(), gone, proto="udp") == [None, None, None]
    assert lossy(set(), gone, gone, proto="udp") == [None, None, None]
    assert lossy(gone, gone, gone, proto="udp") == [0.3, None, None]
    assert lossy(gone, gone, set(), proto="udp") == [None, None, None]


def test_a_silent_hop_says_nothing_about_loss() -> None:
    gone, always = {2, 5}, set(range(10))
    assert lossy(gone, always, gone, gone) == [0.2, None, 0.2, 0.2]


def test_a_host_that_answers_a_few_of_a_burst_is_asked_again_later() -> None:
    network = path([100.0] * 3)
    network.nodes[-1].tokens_per_s = 1.0
    measured = measure(network, rounds="7")
    result: Any = measured.result
    assert result.hop_count == 3
    starts = [at - network.started_ns[0] for at in network.started_ns]
    # Rounds 4 to 6 at once, round 7 after their miss.
    assert starts[1] < 100 * MS
    assert starts[2] - starts[1] >= 1100 * MS
    heard = [answer.round for answer in result.hops[2].answers if answer.address]
    assert heard == [1, 2, 3, 7]


def test_the_last_round_is_made_up_for_once() -> None:
    network = path([100.0] * 3)
    network.nodes[-1].tokens_per_s = 1.0
    result: Any = measure(network, rounds="4").result
    assert [[p.ttl for p in train.probes] for train in network.sent[1:]] == [[1, 2, 3], [3]]
    assert [a.round for a in result.hops[2].answers if a.address] == [1, 2, 3, 5]


def test_a_hop_that_answers_once_a_second_is_flagged_and_no_loss() -> None:
    network = path([100.0] * 5)
    network.nodes[1].tokens_per_s = 0.01
    network.nodes[1].burst = 1
    network.nodes[1]._tokens = 1
    result: Any = measure(network).result
    assert [hop.rate_limited for hop in result.hops] == [False, True, False, False, False]


def test_a_hop_that_is_quiet_for_a_while_is_flagged_too() -> None:
    """Six answers at once, none for three rounds, then the next: as Linux does."""
    trains = []
    for number in range(10):
        gone = 6 <= number < 9
        probes = [probe(1, None if gone else "10.0.1.1"), probe(2, "10.0.2.1")]
        # Single losses are no rationing.
        probes.append(probe(3, None if number % 3 == 1 else "10.0.3.1"))
        probes.append(arrival(4))
        trains.append(TrainRecord(probes=probes))
    observations = TracerouteObservations(target=TARGET.packed, trains=trains)
    result = estimate(observations, View(gap_limit=5))
    assert [hop.rate_limited for hop in result.hops] == [True, False, False, False]


def test_a_changing_route_is_said() -> None:
    answers = itertools.count()

    def wander(hop: int, address: IPv4Address) -> IPv4Address:
        return IPv4Address(f"10.7.7.{next(answers) % 2 + 1}") if hop == 2 else address

    measured = measure(path([100.0] * 4, answers_from=wander))
    assert "the route changed at hop 2 during the run" in measured.quality.reasons


def test_answers_far_behind_silence_are_not_listed() -> None:
    probes = [probe(ttl, "10.0.0.1" if ttl == 1 else None) for ttl in range(1, 12)]
    probes[8] = probe(9, "10.0.0.9")
    result = estimate(observed(probes), View(gap_limit=5))
    assert (result.end_reason, len(result.hops)) == ("incomplete", 1)
    assert len(estimate(observed(probes), View(gap_limit=8)).hops) == 9


def test_an_answer_from_before_its_probe_is_none() -> None:
    early = probe(1, "10.0.0.1")
    early.received_ns = -5
    assert estimate(observed([early]), View(gap_limit=5)).end_reason == "no_hop_answered"


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
    result = estimate(observed(probes), View(gap_limit=5))
    assert len(result.hops) <= 64


def probe(ttl: int, address: str | None) -> ProbeRecord:
    record = ProbeRecord(ttl=ttl, size_bytes=60, sent_ns=0)
    if address is not None:
        record.received_ns = MS
        record.address = IPv4Address(address).packed
        record.icmp_type = 11
    return record


def arrival(ttl: int) -> ProbeRecord:
    record = probe(ttl, str(TARGET))
    record.icmp_type = 0
    return record


def observed(probes: list[ProbeRecord]) -> TracerouteObservations:
    return TracerouteObservations(target=TARGET.packed, trains=[TrainRecord(probes=probes)])
