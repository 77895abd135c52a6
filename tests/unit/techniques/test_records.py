from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emodis.packets.model import (
    Echo,
    FlowKey,
    InterfaceInfo,
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
from emodis.wire.v1.techniques_pb2 import (
    ANSWER_MARK_NAT,
    ANSWER_MARK_QUOTE_ALTERED,
    INTERFACE_ROLE_INCOMING,
    INTERFACE_ROLE_NEXT_HOP,
    INTERFACE_ROLE_OUTGOING,
    INTERFACE_ROLE_SUB_IP,
    InterfaceEntry,
    ProbeRecord,
    TrainRecord,
)

T0 = 1_700_000_000_000_000_000
TYPES_V4 = {ReplyKind.ECHO_REPLY: 0, ReplyKind.TIME_EXCEEDED: 11, ReplyKind.UNREACHABLE: 3}
TYPES_V6 = {ReplyKind.ECHO_REPLY: 129, ReplyKind.TIME_EXCEEDED: 3, ReplyKind.UNREACHABLE: 1}
MARKS = {ANSWER_MARK_NAT: Mark.NAT, ANSWER_MARK_QUOTE_ALTERED: Mark.QUOTE_ALTERED}
# By RFC 5837's number of each.
ROLES = (
    INTERFACE_ROLE_INCOMING,
    INTERFACE_ROLE_SUB_IP,
    INTERFACE_ROLE_OUTGOING,
    INTERFACE_ROLE_NEXT_HOP,
)
times = st.integers(T0, T0 + 10**11)


interfaces = st.builds(
    InterfaceInfo,
    role=st.integers(0, 3),
    index=st.none() | st.integers(0, 2**32 - 1),
    address=st.none() | st.ip_addresses(),
    name=st.text(max_size=9),
    mtu_bytes=st.none() | st.integers(0, 2**32 - 1),
)
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
        quoted_tos=draw(st.none() | st.integers(0, 255)),
        marks=draw(st.frozensets(st.sampled_from(Mark))),
        mpls=tuple(draw(st.lists(labels, max_size=3))),
        interfaces=tuple(draw(st.lists(interfaces, max_size=2))),
        far_ns=draw(st.none() | times),
    )


echoes = st.builds(
    Echo,
    sent_ns=st.none() | times,
    reply=st.none() | replies(),
    queued_ns=st.none() | times,
)
ports = st.none() | st.integers(0, 0xFFFF)
flow_keys = st.builds(
    FlowKey,
    source_port=ports,
    destination_port=ports,
    icmp_ident=ports,
    icmp_checksum=ports,
    flow_label=st.none() | st.integers(0, 0xFFFFF),
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
    flow_key=st.none() | flow_keys,
)


def outcome_of(record: TrainRecord) -> TrainOutcome:
    """The way back, field by field."""
    return TrainOutcome(
        echoes=tuple(echo_of(probe, record.t0_unix_ns) for probe in record.probes),
        kernel_tx=record.kernel_tx,
        kernel_rx=record.kernel_rx,
        duplicates=record.duplicates,
        unmatched=record.unmatched,
        receive_drops=record.receive_drops,
        cut_short=record.cut_short,
        by_connect=record.by_connect,
        flow_key=flow_key_of(record) if record.HasField("flow_key") else None,
    )


def flow_key_of(record: TrainRecord) -> FlowKey:
    return FlowKey(**{field.name: value for field, value in record.flow_key.ListFields()})


def echo_of(record: ProbeRecord, t0_ns: int) -> Echo:
    return Echo(
        sent_ns=record.sent_ns + t0_ns if record.HasField("sent_ns") else None,
        reply=reply_of(record, t0_ns) if record.HasField("received_ns") else None,
        queued_ns=record.queued_ns + t0_ns if record.HasField("queued_ns") else None,
    )


def reply_of(record: ProbeRecord, t0_ns: int) -> Reply:
    kind = records.reply_kind(record)
    assert kind is not None
    return Reply(
        received_ns=record.received_ns + t0_ns,
        address=ip_address(record.address),
        kind=kind,
        icmp_type=record.icmp_type,
        icmp_code=record.icmp_code,
        ttl=record.reply_ttl,
        quoted_ttl=record.quoted_ttl if record.HasField("quoted_ttl") else None,
        quoted_tos=record.quoted_tos if record.HasField("quoted_tos") else None,
        marks=frozenset(MARKS[mark] for mark in record.marks),
        mpls=tuple(
            MplsLabel(
                label=entry.label,
                traffic_class=entry.traffic_class,
                bottom=entry.bottom,
                ttl=entry.ttl,
            )
            for entry in record.mpls
        ),
        interfaces=tuple(interface_of(entry) for entry in record.interfaces),
        far_ns=record.far_ns if record.HasField("far_ns") else None,
    )


def interface_of(entry: InterfaceEntry) -> InterfaceInfo:
    return InterfaceInfo(
        role=ROLES.index(entry.role),
        index=entry.index if entry.HasField("index") else None,
        address=records.to_address(entry.address),
        name=entry.name,
        mtu_bytes=entry.mtu_bytes if entry.HasField("mtu_bytes") else None,
    )


@given(outcomes)
def test_a_record_gives_back_the_outcome_it_was_made_of(outcome: TrainOutcome) -> None:
    probes = tuple(Probe(ttl=i + 1, size_bytes=60, muted=i % 2 == 1) for i in range(6))
    train = Train(kind=Kind.UDP, probes=probes[: len(outcome.echoes)], wait_ns=1, flow=7)
    record = TrainRecord.FromString(records.to_record(train, outcome).SerializeToString())
    assert outcome_of(record) == outcome
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


def test_a_stored_answer_of_an_unknown_kind_is_of_none() -> None:
    record = ProbeRecord(received_ns=1, address=bytes(4), icmp_type=42)
    assert records.reply_kind(record) is None


def test_addresses_have_4_or_16_bytes() -> None:
    assert records.to_address(bytes([10, 0, 0, 1])) == IPv4Address("10.0.0.1")
    assert records.to_address(bytes(15) + b"\1") == IPv6Address("::1")
    assert records.to_address(b"abc") is None


def test_no_round_trip_without_both_ends() -> None:
    assert records.rtt_ns(ProbeRecord(sent_ns=5)) is None
    assert records.rtt_ns(ProbeRecord(received_ns=5)) is None
    assert records.rtt_ns(ProbeRecord(sent_ns=2, received_ns=5)) == 3
