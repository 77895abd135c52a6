"""One run in full: everything about it that the result itself does not say."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from statistics import median
from typing import Any

import attrs
from google.protobuf.message import DecodeError, Message

from emodis.client.render.answers import place
from emodis.client.render.columns import Column, Grid
from emodis.client.render.plain import plain, word
from emodis.client.render.words import address, count, milliseconds, size
from emodis.client.report import Report
from emodis.client.runname import name_of
from emodis.techniques import registry
from emodis.techniques.records import rtt_ns
from emodis.wire.v1.client_pb2 import Result
from emodis.wire.v1.common_pb2 import END_DONE, Blame, End, Quality, Transport
from emodis.wire.v1.techniques_pb2 import TrainRecord

# Whose side an end was, in words.
_SIDES = {"target": "the destination's", "agent": "the agent's", "network": "the network's"}


@attrs.frozen
class Train:
    """A train of the observations, and why the estimator did not use it, if it did not."""

    record: TrainRecord
    discarded: str = ""


def facts(report: Report, result: Result) -> list[tuple[str, str]]:
    """Name and words of everything known about a run."""
    outcome, run = result.outcome, result.run
    cost = outcome.cost
    found = [
        ("run", name_of(report, result)),
        ("technique", f"{report.call.technique} {_parameters(report)}".rstrip()),
        ("agent", _agent(report, run.agent_id)),
        ("destination", place(report, run.destination)),
        ("started", _when(outcome.started_unix_ns, outcome.duration_ns)),
        ("ended", _ending(result)),
        ("quality", _quality(outcome.quality)),
        (
            "packets",
            f"{cost.sent_packets} sent ({size(cost.sent_bytes)}), "
            f"{cost.recv_packets} received ({size(cost.recv_bytes)})",
        ),
        ("sockets", word(Transport.DESCRIPTOR, outcome.transport)),
        ("attempt", str(run.attempt + 1) if run.attempt else ""),
        ("beside", ", ".join(_other(report, other) for other in result.overlapped)),
    ]
    return [(name, words) for name, words in found if words]


def trains(report: Report, result: Result) -> list[Train]:
    """Every train in the observations, in their order; none where there are none to be read."""
    technique = result.outcome.result.technique or report.call.technique
    try:
        kind = getattr(registry.get(technique), "OBSERVATIONS", None)
        observed = None if kind is None else kind.FromString(result.outcome.observations)
    except (registry.UnknownTechnique, DecodeError):
        return []
    return [] if observed is None else list(_trains(observed))


def trains_grid(found: list[Train]) -> Grid:
    """One line a train; times in ms, `at` after the first one."""
    names = ("train", "at ms", "probes", "unsent", "answered", "RTT ms")
    grid = Grid([*(Column(name, right=True) for name in names), Column("stamps"), Column("")])
    start_ns = min((train.record.t0_unix_ns for train in found), default=0)
    for number, train in enumerate(found, start=1):
        record = train.record
        unsent = sum(1 for probe in record.probes if not probe.HasField("sent_ns"))
        rtts = [took for probe in record.probes if (took := rtt_ns(probe)) is not None]
        grid.add(
            str(number),
            milliseconds(record.t0_unix_ns - start_ns),
            str(len(record.probes)),
            str(unsent) if unsent else "",
            str(sum(1 for probe in record.probes if probe.HasField("received_ns"))),
            milliseconds(median(rtts)) if rtts else "",
            "kernel" if record.kernel_tx and record.kernel_rx else "process",
            ", ".join(_remarks(train)),
        )
    return grid


def probes_grid(found: list[Train]) -> Grid:
    """One line a probe; times in ms, `left` after the train's first packet."""
    names = ("train", "probe", "TTL", "bytes", "left ms", "RTT ms")
    grid = Grid([*(Column(name, right=True) for name in names), Column("from"), Column("answer")])
    for number, train in enumerate(found, start=1):
        for index, probe in enumerate(train.record.probes, start=1):
            took = rtt_ns(probe)
            answered = probe.HasField("received_ns")
            grid.add(
                str(number),
                str(index),
                str(probe.ttl),
                f"{probe.size_bytes}{' muted' if probe.muted else ''}",
                milliseconds(probe.sent_ns) if probe.HasField("sent_ns") else "unsent",
                "" if took is None else milliseconds(took),
                address(probe.address) if answered else "",
                f"type {probe.icmp_type} code {probe.icmp_code}" if answered else "",
            )
    return grid


def _trains(message: Message, discarded: str = "") -> Iterator[Train]:
    """Also of techniques that this module has never heard of, as long as they keep records."""
    if isinstance(message, TrainRecord):
        yield Train(message, discarded)
        return
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        why = str(getattr(message, "discarded", ""))
        for one in value if field.is_repeated else [value]:
            yield from _trains(one, why)


def _remarks(train: Train) -> Iterator[str]:
    record = train.record
    if train.discarded:
        yield f"not used: {train.discarded}"
    if record.cut_short:
        yield "cut short"
    if record.duplicates:
        yield count(record.duplicates, "duplicate")
    if record.unmatched:
        yield f"{record.unmatched} unmatched"
    if record.receive_drops:
        yield f"{record.receive_drops} dropped here"


def _parameters(report: Report) -> str:
    try:
        kind: Any = getattr(registry.get(report.call.technique), "CALL", None)
        chosen = {} if kind is None else plain(kind.FromString(report.call.body))
    except (registry.UnknownTechnique, DecodeError):
        return ""
    return " ".join(f"{name}={_value(value)}" for name, value in chosen.items())


def _value(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value).lower()


def _agent(report: Report, agent_id: str) -> str:
    if not agent_id:
        return "this host"
    choice = report.choices.get(agent_id)
    where = f" in {choice.place}" if choice is not None and choice.place else ""
    return f"{agent_id}{where}"


def _when(started_unix_ns: int, duration_ns: int) -> str:
    if not started_unix_ns:
        return "never: nothing was sent"
    moment = datetime.fromtimestamp(started_unix_ns / 1e9, UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S.%f}"[:-3] + f" UTC, took {duration_ns / 1e9:.2f} s"


def _ending(result: Result) -> str:
    ending = result.outcome.ending
    words = word(End.DESCRIPTOR, ending.end) + (", after it had been given up" * result.late)
    if ending.end == END_DONE:
        return words
    side = _SIDES.get(word(Blame.DESCRIPTOR, ending.blame), "")
    return (
        f"{words}: {ending.reason or 'no reason given'}"
        f"{f' ({side} side)' if side else ''}{f'. {ending.hint}' if ending.hint else ''}"
    )


def _quality(quality: Quality) -> str:
    grade = word(Quality.Word.DESCRIPTOR, quality.word)
    return f"{grade} ({'; '.join(quality.reasons)})" if quality.reasons else grade


def _other(report: Report, other: Any) -> str:
    own = other.measurement_id in {"", report.measurement_id}
    name = "" if own else f"{other.measurement_id}/"
    return f"{name}{report.agent_name(other.agent_id)} → destination {other.destination}"
