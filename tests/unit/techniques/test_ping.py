from __future__ import annotations

from ipaddress import IPv6Address
from typing import Any

import attrs
import pytest

from emodis.packets.model import Kind
from emodis.techniques.base import Context, Measured
from emodis.techniques.ping import Ping
from emodis.wire.v1.common_pb2 import Blame, End, Quality
from emodis.wire.v1.techniques_pb2 import PingObservations, PingParameters
from tests.support.driving import drive
from tests.support.fluid import MS, TARGET, Path, path

PING = Ping()


def measure(network: Path, **options: str) -> Measured:
    call = PING.call(options)
    return drive(PING.conversation(call, Context(address=TARGET, seed=1)), network)


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


@pytest.mark.parametrize(
    ("options", "v4_bytes", "v6_bytes"),
    [
        ({}, 84, 104),
        ({"proto": "udp", "payload_bytes": "100"}, 128, 148),
        # A SYN with its options and nothing else.
        ({"proto": "tcp", "payload_bytes": "100"}, 60, 80),
        ({"payload_bytes": "1452"}, 1480, 1500),
    ],
)
def test_sizes_are_those_of_whole_packets(
    options: dict[str, str], v4_bytes: int, v6_bytes: int
) -> None:
    for address, size_bytes in ((TARGET, v4_bytes), (IPv6Address("2001:db8::1"), v6_bytes)):
        talk = PING.conversation(PING.call(options), Context(address=address, seed=3))
        assert next(talk).probes[0].size_bytes == size_bytes


def test_a_payload_that_ipv6_has_no_room_for_is_refused_before_anything_is_sent() -> None:
    call = PING.call({"payload_bytes": "1472"})
    talk = PING.conversation(call, Context(address=IPv6Address("2001:db8::1"), seed=3))
    with pytest.raises(StopIteration) as end:
        next(talk)
    ending = end.value.value.ending
    assert (ending.reason, ending.blame) == ("bad_params", Blame.BLAME_US)
    assert "payload_bytes may be at most 1452 over IPv6" in ending.hint


@pytest.mark.parametrize(
    ("options", "kind", "port", "dscp"),
    [
        ({"proto": "udp"}, Kind.UDP, 33434, 0),
        ({"proto": "udp", "port": "53", "dscp": "46"}, Kind.UDP, 53, 46),
        ({"proto": "tcp"}, Kind.TCP_SYN, 443, 0),
        ({"dscp": "8"}, Kind.ICMP_ECHO, 33434, 8),
    ],
)
def test_protocol_port_and_service_class_reach_the_packets(
    options: dict[str, str], kind: Kind, port: int, dscp: int
) -> None:
    train = next(PING.conversation(PING.call(options), Context(address=TARGET, seed=3)))
    assert (train.kind, train.port, train.dscp) == (kind, port, dscp)


def test_routers_may_cut_probes_up_only_where_that_is_wished() -> None:
    for options, df in (({}, True), ({"df": "off"}, False)):
        talk = PING.conversation(PING.call(options), Context(address=TARGET, seed=3))
        assert next(talk).df is df
    # A call from before there was a choice.
    old = PingParameters.FromString(PING.call({}).body)
    old.ClearField("df")
    body = PING.call({})
    body.body = old.SerializeToString()
    assert next(PING.conversation(body, Context(address=TARGET, seed=3))).df is True


def test_fast_probes_are_for_managers() -> None:
    assert PING.for_managers(PING.call({"interval_s": "0.1"})) == ""
    assert "0.1 s" in PING.for_managers(PING.call({"interval_s": "0.099"}))


def test_poisson_intervals_are_exponential_and_never_outlast_the_deadline() -> None:
    call = PING.call({"spacing": "poisson", "count": "200", "interval_s": "0.1"})
    longest_ns = round(1.1 * 199 * 0.1e9) + 200
    squares = []
    for seed in range(20):
        train = next(PING.conversation(call, Context(address=TARGET, seed=seed)))
        gaps = [probe.after_ns for probe in train.probes[1:]]
        assert min(gaps) > 0
        assert sum(gaps) <= longest_ns
        mean = sum(gaps) / len(gaps)
        squares.append(sum((gap / mean - 1) ** 2 for gap in gaps) / len(gaps))
    # Exponential times have a coefficient of variation of 1, periodic ones of 0.06.
    assert 0.8 < sum(squares) / len(squares) < 1.2


@pytest.mark.parametrize(
    ("proto", "port_open", "state"),
    [
        ("udp", False, "closed"),
        ("udp", True, "open"),
        ("tcp", False, "closed"),
        ("tcp", True, "open"),
    ],
)
def test_udp_and_tcp_are_answered_and_say_whether_the_port_is_open(
    proto: str, port_open: bool, state: str
) -> None:
    network = path([100.0, 100.0])
    network.nodes[-1].port_open = port_open
    measured = measure(network, proto=proto)
    result: Any = measured.result
    assert (measured.ending.end, result.answered, result.port_state) == (End.END_DONE, 10, state)
    again = PING.estimate(PING.call({"proto": proto}), measured.observations.SerializeToString())
    assert again == measured


def test_answers_that_may_be_to_repeated_syns_are_no_times() -> None:
    network = path([100.0])
    network.connects = True
    network.links[0].delay_ns = 600 * MS
    measured = measure(network, proto="tcp")
    assert (measured.ending.reason, measured.ending.blame) == ("ambiguous", Blame.BLAME_AGENT)
    result: Any = measured.result
    assert (result.answered, result.ambiguous, result.loss_ratio) == (0, 10, 0)
    network = path([100.0])
    network.links[0].delay_ns = 600 * MS
    assert measure(network, proto="tcp").ending.end == End.END_DONE


def test_a_rationed_destination_is_poor_evidence_and_says_why() -> None:
    network = path([100.0])
    network.nodes[-1].tokens_per_s = 1.0
    measured = measure(network, proto="udp", interval_s="0.1", count="40")
    assert measured.quality.word == Quality.WORD_POOR
    assert "about once a second: no loss follows" in measured.quality.reasons[0]
    slow = path([100.0])
    slow.nodes[-1].tokens_per_s = 1.0
    result: Any = measure(slow, proto="udp", count="30").result
    assert (result.loss_ratio, result.rate_limited_suspected) == (0.0, False)


def test_a_firewall_that_rejects_is_no_answer() -> None:
    network = path([100.0, 100.0, 100.0])
    network.nodes[1].refuse_code = 3
    for proto in ("icmp", "udp", "tcp"):
        measured = measure(network, proto=proto)
        assert (measured.ending.reason, measured.ending.blame) == (
            "filtered",
            Blame.BLAME_NETWORK,
        )
        assert "; try another -o proto" in measured.ending.hint


def test_observations_of_the_first_version_can_still_be_estimated() -> None:
    measured = measure(path([100.0]))
    observations: Any = measured.observations
    old = PingObservations(trains=observations.trains)
    old_call = PING.call({})
    old_call.body = PingParameters(
        count=10, interval_s=0.2, payload_bytes=56, timeout_s=2.0, ttl=64
    ).SerializeToString()
    again = PING.estimate(old_call, old.SerializeToString())
    assert (again.ending, again.result) == (measured.ending, measured.result)


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
    ("code", "reason", "blame"),
    [
        (0, "unreachable(0)", Blame.BLAME_NETWORK),
        (1, "unreachable(1)", Blame.BLAME_TARGET),
        (4, "packet_too_big", Blame.BLAME_NETWORK),
        (13, "filtered", Blame.BLAME_NETWORK),
    ],
)
def test_a_router_that_says_no_is_named(code: int, reason: str, blame: Blame.ValueType) -> None:
    network = path([100.0, 100.0, 100.0])
    network.nodes[1].refuse_code = code
    measured = measure(network)
    assert (measured.ending.reason, measured.ending.blame) == (reason, blame)
    assert "10.0.2.1" in measured.ending.hint


def test_a_refusal_in_mid_run_is_told_from_a_loss() -> None:
    network = path([100.0, 100.0, 100.0])
    talk = PING.conversation(PING.call({}), Context(address=TARGET, seed=1))
    train = next(talk)
    outcome = network.carry(train)
    network.nodes[1].refuse_code = 0
    refused = network.carry(train).echoes[-1]
    assert refused.reply is not None
    with pytest.raises(StopIteration) as end:
        talk.send(attrs.evolve(outcome, echoes=(*outcome.echoes[:-1], refused)))
    measured = end.value.value
    assert measured.ending.end == End.END_DONE
    assert measured.quality.reasons == [
        "1 of the lost probes were refused: 10.0.2.1 has no route to the destination"
    ]


def test_a_small_ttl_ends_on_the_way() -> None:
    ending = measure(path([100.0] * 4), ttl="2").ending
    assert ending.reason == "ttl_exceeded"
    assert ending.hint.startswith("10.0.2.1 dropped the probes")


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


def test_answers_that_the_host_itself_lost_make_its_loss_poor_evidence() -> None:
    talk = PING.conversation(PING.call({}), Context(address=TARGET, seed=1))
    outcome = path([100.0]).carry(next(talk))
    unheard = (*outcome.echoes[:-1], attrs.evolve(outcome.echoes[-1], reply=None))
    with pytest.raises(StopIteration) as end:
        talk.send(attrs.evolve(outcome, echoes=unheard, receive_drops=1))
    measured = end.value.value
    assert (measured.ending.end, measured.result.loss_ratio) == (End.END_DONE, 0.1)
    assert measured.quality.word == Quality.WORD_POOR
    assert measured.quality.reasons == ["the measuring host lost answers for want of buffer space"]
    assert PING.estimate(PING.call({}), measured.observations.SerializeToString()) == measured


@pytest.mark.parametrize(("unmatched", "duplicates"), [(101, 0), (0, 101), (60, 41)])
def test_a_flood_of_answers_is_told(unmatched: int, duplicates: int) -> None:
    talk = PING.conversation(PING.call({}), Context(address=TARGET, seed=1))
    outcome = path([100.0]).carry(next(talk))
    with pytest.raises(StopIteration) as end:
        talk.send(attrs.evolve(outcome, unmatched=unmatched, duplicates=duplicates))
    quality = end.value.value.quality
    assert quality.word == Quality.WORD_FAIR
    assert quality.reasons == ["101 more packets came that looked like answers: forged, or copies"]


def test_no_foreign_address_in_the_result() -> None:
    measured = measure(path([100.0]))
    call = PING.call({})
    assert measured.result is not None
    call.body = measured.result.SerializeToString()
    assert PING.addresses(call) == ()
