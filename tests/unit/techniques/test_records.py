from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emodis.packets.model import (
    Echo,
    Kind,
    Mark,
    MplsLabel,
    Probe,
    Reply,
    ReplyKind,
    Train,
    TrainOutcome,
)
from emodis.techniques import records
from emodis.wire.v1.techniques_pb2 import ProbeRecord, TrainRecord

T0 = 1_700_000_000_000_000_000
TYPES_V4 = {ReplyKind.ECHO_REPLY: 0, ReplyKind.TIME_EXCEEDED: 11, ReplyKind.UNREACHABLE: 3}
TYPES_V6 = {ReplyKind.ECHO_REPLY: 129, ReplyKind.TIME_EXCEEDED: 3, ReplyKind.UNREACHABLE: 1}
times = st.integers(T0, T0 + 10**11)


labels = st.builds(
    MplsLabel,
    label=st.integers(0, 2**20 - 1),
    traffic_class=st.integers(0, 7),
    bottom=st.booleans(),
    ttl=st.integers(0, 255),
)


@st.composite
def replies(draw: st.DrawFn) -> Reply:
    address = draw(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
    kind = draw(st.sampled_from(ReplyKind))
    types = TYPES_V4 if isinstance(address, IPv4Address) else TYPES_V6
    return Reply(
        received_ns=draw(times),
        address=address,
        kind=kind,
        # The target's own words are no ICMP messages.
        icmp_type=types.get(kind, 0),
        icmp_code=draw(st.integers(0, 15)),
        ttl=draw(st.integers(0, 255)),
        quoted_ttl=draw(st.none() | st.integers(0, 255)),
        marks=draw(st.frozensets(st.sampled_from(Mark))),
        mpls=tuple(draw(st.lists(labels, max_size=3))),
        far_ns=draw(st.none() | times),
    )


echoes = st.builds(
    Echo,
    sent_ns=st.none() | times,
    reply=st.none() | replies(),
    queued_ns=st.none() | times,
)
outcomes = st.builds(
    TrainOutcome,
    echoes=st.lists(echoes, max_size=6).map(tuple),
    kernel_tx=st.booleans(),
    by_connect=st.booleans(),
    kernel_rx=st.booleans(),
    duplicates=st.integers(0, 9),
    unmatched=st.integers(0, 9),
    receive_drops=st.integers(0, 9),
    cut_short=st.booleans(),
)


@given(outcomes)
def test_a_record_gives_back_the_outcome_it_was_made_of(outcome: TrainOutcome) -> None:
    probes = tuple(Probe(ttl=i + 1, size_bytes=60, muted=i % 2 == 1) for i in range(6))
    train = Train(kind=Kind.UDP, probes=probes[: len(outcome.echoes)], wait_ns=1, flow=7)
    record = TrainRecord.FromString(records.to_record(train, outcome).SerializeToString())
    assert records.to_outcome(record) == outcome
    assert record.flow == 7
    assert [(p.ttl, p.size_bytes, p.muted) for p in record.probes] == [
        (p.ttl, p.size_bytes, p.muted) for p in train.probes
    ]


def test_an_outcome_of_another_train_is_refused() -> None:
    train = Train(kind=Kind.UDP, probes=(Probe(ttl=1, size_bytes=60),), wait_ns=1)
    with pytest.raises(ValueError, match="zip"):
        records.to_record(train, TrainOutcome(echoes=(), kernel_tx=True, kernel_rx=True))


def test_only_the_hosts_own_unreachable_says_that_it_arrived() -> None:
    port = ProbeRecord(received_ns=1, address=bytes(4), icmp_type=3, icmp_code=3)
    host = ProbeRecord(received_ns=1, address=bytes(4), icmp_type=3, icmp_code=1)
    port_v6 = ProbeRecord(received_ns=1, address=bytes(16), icmp_type=1, icmp_code=4)
    too_big_v6 = ProbeRecord(received_ns=1, address=bytes(16), icmp_type=2)
    silent = ProbeRecord(address=bytes(4), icmp_type=3, icmp_code=3)
    assert records.is_port_unreachable(port)
    assert records.is_port_unreachable(port_v6)
    assert not records.is_port_unreachable(host)
    assert records.reply_kind(too_big_v6) is ReplyKind.UNREACHABLE
    assert not records.is_port_unreachable(too_big_v6)
    assert not records.is_port_unreachable(silent)


def test_a_stored_answer_of_an_unknown_kind_is_refused() -> None:
    record = TrainRecord(probes=[ProbeRecord(received_ns=1, address=bytes(4), icmp_type=42)])
    with pytest.raises(ValueError, match="ICMP type 42"):
        records.to_outcome(record)


def test_addresses_have_4_or_16_bytes() -> None:
    assert records.to_address(bytes([10, 0, 0, 1])) == IPv4Address("10.0.0.1")
    assert records.to_address(bytes(15) + b"\1") == IPv6Address("::1")
    assert records.to_address(b"abc") is None


def test_no_round_trip_without_both_ends() -> None:
    assert records.rtt_ns(ProbeRecord(sent_ns=5)) is None
    assert records.rtt_ns(ProbeRecord(received_ns=5)) is None
    assert records.rtt_ns(ProbeRecord(sent_ns=2, received_ns=5)) == 3
