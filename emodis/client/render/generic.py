"""Results of techniques that nothing here knows: a table from the message's own fields. Pure.

Field names carry their units (`rtt_median_ns`), so numbers get words without further help. A
technique that has a `sentence` puts each run into words; else the table has to speak for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from emodis.client.render.columns import Column, Grid
from emodis.client.render.decoded import Decoded
from emodis.client.render.plain import plain, word
from emodis.client.render.words import count, percent, printable, rate, size, time
from emodis.client.report import Report
from emodis.techniques import registry
from emodis.techniques.base import Speaking
from emodis.wire.v1.common_pb2 import Quality

# A sentence for each agent reads well up to so many.
_MOST_SENTENCES = 3
_MOST_LISTED = 8
_WORDS: Mapping[str, Callable[[float], str]] = {
    "_ns": time,
    "_bps": rate,
    "_ratio": percent,
    "_bytes": size,
}


def sentence(report: Report, whither: str, runs: Sequence[Decoded]) -> str:
    """What the runs of one destination say, without the full stop."""
    said = [(report.agent_name(run.run.run.agent_id), _in_words(report, run)) for run in runs]
    if not all(text for _, text in said) or len(said) > _MOST_SENTENCES:
        return f"{count(len(runs), 'run')} {whither} gave a result"
    start = f"{whither[0].upper()}{whither[1:]}"
    if len(said) == 1:
        return f"{start}: {said[0][1]}"
    return f"{start}: {'; '.join(f'{text} (seen from {agent})' for agent, text in said)}"


def grid(report: Report, place: Callable[[int], str], runs: Sequence[Decoded]) -> Grid:
    """One line a run: every field that is a single value, or a short list of such."""
    fields = _single_fields(runs[0].value.DESCRIPTOR)
    table = Grid(
        [
            Column("agent", gives=True),
            Column("destination", gives=True),
            *_columns(fields),
            Column("quality"),
        ]
    )
    several = len(report.targets) > 1
    for run in runs:
        key = run.run.run
        table.add(
            report.agent_name(key.agent_id),
            place(key.destination) if several else "",
            *_cells(fields, run.value),
            word(Quality.Word.DESCRIPTOR, run.run.outcome.quality.word),
        )
    return table


def lists(value: Message) -> Iterator[tuple[str, Grid]]:
    """Every list of messages in a result as a table of its own, with its name."""
    tables: list[Any] = [field for field in value.DESCRIPTOR.fields if _is_table(field)]
    for field in tables:
        rows = getattr(value, field.name)
        if not rows:
            continue
        fields = _single_fields(field.message_type)
        table = Grid(_columns(fields))
        for row in rows:
            table.add(*_cells(fields, row))
        yield field.name.replace("_", " "), table


def _in_words(report: Report, run: Decoded) -> str:
    technique = registry.get(report.call.technique)
    if not isinstance(technique, Speaking):
        return ""
    try:
        return printable(technique.sentence(run.value)).strip().rstrip(".")
    except ValueError:
        # A plug-in that fails at words still has its table.
        return ""


def _single_fields(message: Any) -> list[Any]:
    return [field for field in message.fields if not _is_table(field)]


def _is_table(field: Any) -> bool:
    return bool(field.is_repeated and field.type == FieldDescriptor.TYPE_MESSAGE)


def _columns(fields: Sequence[Any]) -> list[Column]:
    return [Column(_heading(field.name), right=_is_number(field)) for field in fields]


def _is_number(field: Any) -> bool:
    numbers = (FieldDescriptor.CPPTYPE_STRING, FieldDescriptor.CPPTYPE_MESSAGE)
    return not field.is_repeated and field.cpp_type not in numbers


def _heading(name: str) -> str:
    for unit in _WORDS:
        name = name.removesuffix(unit)
    return name.replace("_", " ")


def _cells(fields: Sequence[Any], value: Message) -> list[str]:
    values = plain(value)
    return [_cell(field.name, values[field.name]) for field in fields]


def _cell(name: str, value: Any) -> str:
    if value is None or value == "":
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        more = " …" if len(value) > _MOST_LISTED else ""
        return " ".join(_cell(name, one) for one in value[:_MOST_LISTED]) + more
    if isinstance(value, dict):
        return " ".join(f"{_heading(n)}={_cell(n, v)}" for n, v in value.items() if v is not None)
    if isinstance(value, int | float):
        unit = next((unit for unit in _WORDS if name.endswith(unit)), "")
        return _WORDS[unit](value) if unit else f"{value:g}" if value % 1 else f"{value:.0f}"
    return str(value)
