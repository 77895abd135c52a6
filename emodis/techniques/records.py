"""Train outcomes as stored observations: nothing an estimator needs is lost.

A record's times are relative to its own `t0_unix_ns`, the earliest time in it.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import attrs

from emodis.packets.model import (
    Address,
    Echo,
    InterfaceInfo,
    Mark,
    MplsLabel,
    Probe,
    ReplyKind,
    Train,
    TrainOutcome,
)
from emodis.wire.v1.techniques_pb2 import (
    ANSWER_MARK_NAT,
    ANSWER_MARK_QUOTE_ALTERED,
    INTERFACE_ROLE_INCOMING,
    INTERFACE_ROLE_NEXT_HOP,
    INTERFACE_ROLE_OUTGOING,
    INTERFACE_ROLE_SUB_IP,
    WORD_DATAGRAM,
    WORD_RESET,
    WORD_SYN_ACK,
    FlowKey,
    InterfaceEntry,
    MplsEntry,
    ProbeRecord,
    TrainRecord,
)

# ICMP types by the length of the address that sent them. That a packet is too big for a link IPv6
# says by a type of its own, IPv4 by a code of unreachable.
_KINDS = {
    4: {0: ReplyKind.ECHO_REPLY, 11: ReplyKind.TIME_EXCEEDED, 3: ReplyKind.UNREACHABLE},
    16: {
        129: ReplyKind.ECHO_REPLY,
        3: ReplyKind.TIME_EXCEEDED,
        1: ReplyKind.UNREACHABLE,
        2: ReplyKind.UNREACHABLE,
    },
}
_PORT_UNREACHABLE = {4: 3, 16: 4}
# What is no ICMP message has a word of its own.
_WORDS = {
    ReplyKind.DATAGRAM: WORD_DATAGRAM,
    ReplyKind.SYN_ACK: WORD_SYN_ACK,
    ReplyKind.RESET: WORD_RESET,
}
_KINDS_OF_WORDS = {word: kind for kind, word in _WORDS.items()}
_MARKS = {Mark.NAT: ANSWER_MARK_NAT, Mark.QUOTE_ALTERED: ANSWER_MARK_QUOTE_ALTERED}
# By RFC 5837's number of each.
_ROLES = (
    INTERFACE_ROLE_INCOMING,
    INTERFACE_ROLE_SUB_IP,
    INTERFACE_ROLE_OUTGOING,
    INTERFACE_ROLE_NEXT_HOP,
)


def to_record(train: Train, outcome: TrainOutcome) -> TrainRecord:
    """Keep everything about one train.

    Raises:
        ValueError: if the outcome does not have one echo per probe.
    """
    t0_ns = _earliest_ns(outcome)
    key = outcome.flow_key
    return TrainRecord(
        t0_unix_ns=t0_ns,
        probes=[
            _probe_record(probe, echo, t0_ns)
            for probe, echo in zip(train.probes, outcome.echoes, strict=True)
        ],
        kernel_tx=outcome.kernel_tx,
        kernel_rx=outcome.kernel_rx,
        duplicates=outcome.duplicates,
        unmatched=outcome.unmatched,
        receive_drops=outcome.receive_drops,
        cut_short=outcome.cut_short,
        flow=train.flow,
        by_connect=outcome.by_connect,
        flow_key=None if key is None else FlowKey(**attrs.asdict(key)),
    )


def reply_kind(record: ProbeRecord) -> ReplyKind | None:
    """What sort of answer it got; None without one, or when the type is none of ours."""
    if not record.HasField("received_ns"):
        return None
    if record.word:
        return _KINDS_OF_WORDS.get(record.word)
    return _KINDS.get(len(record.address), {}).get(record.icmp_type)


def is_port_unreachable(record: ProbeRecord) -> bool:
    """True for the answer of a host that the probe reached and that has no such port."""
    if reply_kind(record) is not ReplyKind.UNREACHABLE:
        return False
    return _PORT_UNREACHABLE[len(record.address)] == record.icmp_code


def rtt_ns(record: ProbeRecord) -> int | None:
    """From departure to answer; None without an answer."""
    if not record.HasField("received_ns") or not record.HasField("sent_ns"):
        return None
    return record.received_ns - record.sent_ns


def to_address(packed: bytes) -> Address | None:
    """An address from 4 or 16 bytes; None for anything else."""
    if len(packed) == 4:
        return IPv4Address(packed)
    if len(packed) == 16:
        return IPv6Address(packed)
    return None


def _earliest_ns(outcome: TrainOutcome) -> int:
    times_ns = [
        time_ns
        for echo in outcome.echoes
        for time_ns in (
            echo.sent_ns,
            echo.queued_ns,
            echo.reply.received_ns if echo.reply else None,
        )
        if time_ns is not None
    ]
    return min(times_ns, default=0)


def _probe_record(probe: Probe, echo: Echo, t0_ns: int) -> ProbeRecord:
    record = ProbeRecord(ttl=probe.ttl, size_bytes=probe.size_bytes, muted=probe.muted)
    if echo.sent_ns is not None:
        record.sent_ns = echo.sent_ns - t0_ns
    if echo.queued_ns is not None:
        record.queued_ns = echo.queued_ns - t0_ns
    if echo.reply is not None:
        reply = echo.reply
        record.received_ns = reply.received_ns - t0_ns
        record.address = reply.address.packed
        record.icmp_type = reply.icmp_type
        record.icmp_code = reply.icmp_code
        record.reply_ttl = reply.ttl
        if reply.quoted_ttl is not None:
            record.quoted_ttl = reply.quoted_ttl
        if reply.quoted_tos is not None:
            record.quoted_tos = reply.quoted_tos
        if reply.far_ns is not None:
            record.far_ns = reply.far_ns
        if reply.kind in _WORDS:
            record.word = _WORDS[reply.kind]
        record.marks.extend(sorted(_MARKS[mark] for mark in reply.marks))
        record.mpls.extend(_entry(label) for label in reply.mpls)
        record.interfaces.extend(_interface_entry(one) for one in reply.interfaces)
    return record


def _entry(label: MplsLabel) -> MplsEntry:
    return MplsEntry(
        label=label.label, traffic_class=label.traffic_class, bottom=label.bottom, ttl=label.ttl
    )


def _interface_entry(info: InterfaceInfo) -> InterfaceEntry:
    return InterfaceEntry(
        role=_ROLES[info.role],
        index=info.index,
        address=b"" if info.address is None else info.address.packed,
        name=info.name,
        mtu_bytes=info.mtu_bytes,
    )
