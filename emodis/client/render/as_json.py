"""A report for programs: one versioned JSON object, published in docs/schema/results-1.json.

Names carry their units. Fields are only ever added; what would change or remove one makes a new
schema number.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import attrs
from google.protobuf.message import DecodeError, Message

from emodis.client.finish import Way
from emodis.client.render.answers import answers
from emodis.client.render.as_paths import as_path_of
from emodis.client.render.decoded import decode
from emodis.client.render.plain import plain, word
from emodis.client.report import Report
from emodis.techniques import registry
from emodis.wire.v1.client_pb2 import AgentEntry, Result, Status
from emodis.wire.v1.common_pb2 import Blame, Code, End, Quality, Target, Transport

if TYPE_CHECKING:
    from emodis.client.reestimate import Comparison

RESULTS = "emodis.results/1"
# Marks messages of plug-ins.
PLUGIN = "plugin"
AGENTS = "emodis.agents/1"
STATUS = "emodis.status/1"
RE_ESTIMATES = "emodis.re-estimates/1"


def results(reports: Sequence[Report], *, observations: bool = False) -> str:
    """All measurements of one command."""
    return _dump(
        {
            "schema": RESULTS,
            "measurements": [_measurement(report, observations) for report in reports],
        }
    )


def agents(found: Sequence[AgentEntry]) -> str:
    """The directory."""
    return _dump({"schema": AGENTS, "agents": [plain(entry) for entry in found]})


def status(found: Status) -> str:
    """A master's status, or one measurement's."""
    fields = plain(found)
    del fields["call_id"]
    for row in fields["measurements"]:
        row["destinations"] = row.pop("targets")
    return _dump({"schema": STATUS, **fields})


def re_estimates(compared: Sequence[Comparison]) -> str:
    """Runs that were estimated again."""
    return _dump({"schema": RE_ESTIMATES, "runs": [_re_estimate(one) for one in compared]})


def _re_estimate(one: Comparison) -> dict[str, Any]:
    return {
        "run": one.run.label,
        "technique": one.run.technique.NAME,
        "skipped": one.skipped or None,
        "same": None if one.skipped else not one.differences,
        "differences": [attrs.asdict(difference) for difference in one.differences],
        "result": one.result,
    }


def _measurement(report: Report, observations: bool) -> dict[str, Any]:
    selected = report.selected
    ended = report.ended
    return {
        "measurement_id": report.measurement_id or None,
        "technique": report.call.technique,
        "direction": "upstream" if report.upstream else "downstream",
        "parameters": _message(report.call.technique, "CALL", report.call.body),
        "destinations": [_destination(target) for target in report.targets],
        "agents": [plain(choice) for choice in report.choices.values()],
        "selection": None
        if selected is None
        else {
            "branches_known": selected.branches_known,
            "branches_covered": selected.branches_covered,
            "uncovered": list(selected.uncovered),
            "estimate_s": selected.estimate_s,
            "estimate_bytes": selected.estimate_bytes,
        },
        "answers": answers(report),
        "runs_total": report.runs_total,
        "counts": {word(End.DESCRIPTOR, end): runs for end, runs in report.counts.items()},
        "cost": plain(report.cost),
        "complete": ended is not None or (report.upstream and report.finish.way is Way.COMPLETE),
        "error": _error(report),
        "as_map": report.as_map,
        "owners": _owners(report),
        "runs": [_run(result, report.call.technique, observations) for result in report.ordered],
    }


def _owners(report: Report) -> list[dict[str, Any]]:
    """Addresses of which anything is known; AS 0 = unknown, name null = none."""
    owners = report.owners
    return [
        {
            "address": str(place),
            "asn": owners[place].asn if place in owners else 0,
            "as_name": owners[place].as_name if place in owners else "",
            "name": report.names.get(place),
        }
        for place in dict.fromkeys((*owners, *report.names))
    ]


def _run(result: Result, technique: str, observations: bool) -> dict[str, Any]:
    outcome = result.outcome
    ending = outcome.ending
    value = decode(result)
    row: dict[str, Any] = {
        "agent_id": result.run.agent_id or None,
        "destination": result.run.destination,
        "round": result.run.round,
        "attempt": result.run.attempt,
        "end": word(End.DESCRIPTOR, ending.end),
        "reason": ending.reason,
        "hint": ending.hint,
        "blame": word(Blame.DESCRIPTOR, ending.blame),
        "quality": {
            "word": word(Quality.Word.DESCRIPTOR, outcome.quality.word),
            "reasons": list(outcome.quality.reasons),
        },
        "started_unix_ns": outcome.started_unix_ns,
        "duration_ns": outcome.duration_ns,
        "cost": plain(outcome.cost),
        "transport": word(Transport.DESCRIPTOR, outcome.transport),
        "late": result.late,
        "overlapped": [plain(run) for run in result.overlapped],
        "as_path": _as_path(result),
        "result": None if value is None else _body(outcome.result.technique, value),
    }
    if observations:
        # A run without a result has observations all the same.
        technique, data = outcome.result.technique or technique, outcome.observations
        row["observations"] = _message(technique, "OBSERVATIONS", data) if data else None
    return row


def _as_path(result: Result) -> dict[str, Any] | None:
    """Of a route, where somebody could look its addresses up."""
    path = as_path_of(result)
    if path is None:
        return None
    return {"asns": list(path.asns), "unmapped_hops": path.unmapped, "path_hash": path.hash}


def _message(technique: str, kind: str, data: bytes) -> dict[str, Any] | None:
    """Parameters or observations: the technique names its own message types."""
    try:
        message = getattr(registry.get(technique), kind, None)
        return None if message is None else _body(technique, message.FromString(data))
    except (registry.UnknownTechnique, DecodeError):
        return None


def _body(technique: str, message: Message) -> dict[str, Any]:
    """A technique's own message; that of a plug-in says so, for it is in no schema of ours."""
    fields = plain(message)
    return {**fields, PLUGIN: technique} if technique in registry.PLUGINS.installed else fields


def _destination(target: Target) -> dict[str, Any]:
    return {"name": target.name, "address": _address(target.address)}


def _error(report: Report) -> dict[str, Any] | None:
    """Why not everything came; null when all went its way."""
    finish, ended = report.finish, report.ended
    if finish.way is not Way.COMPLETE:
        return {"code": finish.way.name.lower(), "text": finish.text}
    if ended is not None and ended.text:
        return {"code": word(Code.DESCRIPTOR, ended.code), "text": ended.text}
    return None


def _address(packed: bytes) -> str | None:
    return str(ip_address(packed)) if len(packed) in {4, 16} else None


def _dump(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
