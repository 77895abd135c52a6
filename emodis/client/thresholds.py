"""`--fail-if EXPR`: which numbers of a result can be compared, and with what. Pure.

`loss_ratio>0.01` and `loss>1%`, `rtt_median_ns>50000000` and `rtt_median>50ms`,
`bottleneck<5Mbit/s`. A number that a run does not have (no bottleneck was found) holds nothing.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from emodis.client.exits import Exit, Trouble
from emodis.client.render.bandwidth import ways
from emodis.client.render.decoded import decoded
from emodis.client.report import Report
from emodis.techniques import registry

_SHAPE = re.compile(r"\s*([a-z0-9_]+)\s*(<=|>=|==|!=|<|>)\s*([-+0-9.eE]+)\s*(\S*)\s*")
_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
# By the suffix of the metric: what its units are worth in it.
_UNITS: Mapping[str, Mapping[str, float]] = {
    "_ns": {"ns": 1, "us": 1e3, "µs": 1e3, "ms": 1e6, "s": 1e9},
    "_bps": {
        "bps": 1,
        "bit/s": 1,
        "kbit/s": 1e3,
        "Mbit/s": 1e6,
        "Gbit/s": 1e9,
        "kbps": 1e3,
        "Mbps": 1e6,
        "Gbps": 1e9,
    },
    "_ratio": {"%": 0.01},
}

Number = Callable[[Any], float | None]


def _field(name: str) -> Number:
    def read(result: Any) -> float | None:
        field = result.DESCRIPTOR.fields_by_name[name]
        if field.has_presence and not result.HasField(name):
            return None
        return float(getattr(result, name))

    return read


def _of_bottleneck(name: str) -> Number:
    def read(result: Any) -> float | None:
        return float(getattr(result.bottleneck, name)) if result.HasField("bottleneck") else None

    return read


def _fields(*names: str) -> dict[str, Number]:
    return {name: _field(name) for name in names}


def _loss_field(name: str) -> Number:
    """None where the destination seems to ration its answers: that is no loss of the path."""

    def read(result: Any) -> float | None:
        return None if result.rate_limited_suspected else float(getattr(result, name))

    return read


def _least_upper(result: Any) -> float | None:
    """Of all branches: what the tightest edge has at most."""
    uppers = [branch.upper_bps for branch in result.branches if branch.HasField("upper_bps")]
    return float(min(uppers)) if uppers else None


METRICS: Mapping[str, Mapping[str, Number]] = {
    "ping": {
        "loss_ratio": _loss_field("loss_ratio"),
        **_fields(
            "loss_max_run",
            "loss_after_loss_ratio",
            "rtt_min_ns",
            "rtt_mean_ns",
            "rtt_median_ns",
            "rtt_p95_ns",
            "rtt_max_ns",
            "rtt_stddev_ns",
            "ipdv_ns",
            "jitter_rfc3550_ns",
            "answered",
            "late",
            "duplicates",
            "reordered",
            "reorder_extent_max",
            "ambiguous",
        ),
    },
    "traceroute": _fields("hop_count", "reached"),
    "loss": {
        **{name: _loss_field(name) for name in ("loss_ratio", "loss_low_ratio", "loss_high_ratio")},
        **_fields(
            "loss_max_run",
            "loss_after_loss_ratio",
            "answered",
            "late",
            "duplicates",
            "rtt_median_ns",
            "hop_count",
        ),
    },
    "igi": _fields(
        "ptr_bps",
        "precise_bps",
        "low_bps",
        "high_bps",
        "capacity_bps",
        "competing_bps",
        "loss_ratio",
    ),
    "pathneck": {
        "bottleneck_bps": _of_bottleneck("bound_bps"),
        "bottleneck_ttl": _of_bottleneck("ttl"),
        "confidence_ratio": _of_bottleneck("confidence"),
        **_fields("resolution_ratio", "trains_used", "noise_ns"),
    },
    "broute": {
        "upper_bps": _least_upper,
        **_fields("coverage_ratio", "routes", "routes_discarded", "unmapped_hops"),
    },
}


def metrics_of(technique: str) -> Mapping[str, Number]:
    """What there is to compare; of a technique not listed here, every number of its result."""
    if technique in METRICS:
        return METRICS[technique]
    try:
        result = getattr(registry.get(technique), "RESULT", None)
    except registry.UnknownTechnique:
        return {}
    return {} if result is None else _fields(*_numbers(result.DESCRIPTOR))


def _numbers(message: Descriptor) -> list[str]:
    others = (FieldDescriptor.CPPTYPE_STRING, FieldDescriptor.CPPTYPE_MESSAGE)
    return [f.name for f in message.fields if not f.is_repeated and f.cpp_type not in others]


@attrs.frozen(kw_only=True)
class Threshold:
    """One expression, understood; `limit` is in the metric's own unit."""

    text: str
    metric: str
    compare: str
    limit: float

    def holds(self, technique: str, result: Any) -> bool:
        """Whether this result, in any direction that it has, has the number and it compares so."""
        number = metrics_of(technique)[self.metric]
        values = [number(one) for one in (ways(result) if technique == "igi" else [result])]
        return any(v is not None and _COMPARE[self.compare](v, self.limit) for v in values)


def parse(text: str, technique: str) -> Threshold:
    """Understand one expression for a technique's results.

    Raises:
        Trouble: (usage) for anything else; the text lists the metrics or units that there are.
    """
    found = _SHAPE.fullmatch(text)
    if found is None:
        raise _usage(
            f"--fail-if {text!r} is not NAME OP NUMBER[UNIT], for example loss>1% "
            "or rtt_median>50ms"
        )
    name, compare, number, unit = found.groups()
    metric, suffix = _metric(name, technique)
    return Threshold(
        text=text.strip(),
        metric=metric,
        compare=compare,
        limit=_number(text, number) * _unit(text, metric, suffix, unit, bare=name != metric),
    )


def held(thresholds: Sequence[Threshold], reports: Sequence[Report]) -> list[str]:
    """One line for every threshold that came true somewhere: which, and where."""
    lines = []
    for threshold in thresholds:
        agents = [
            report.agent_name(run.run.run.agent_id)
            for report in reports
            for run in decoded(report, failed_too=True)
            if threshold.metric in metrics_of(report.call.technique)
            and threshold.holds(report.call.technique, run.value)
        ]
        if agents:
            where = ", ".join(dict.fromkeys(agents))
            lines.append(f"--fail-if {threshold.text} holds at {where}")
    return lines


def _metric(name: str, technique: str) -> tuple[str, str]:
    metrics = metrics_of(technique)
    for suffix in ("", *_UNITS):
        if name + suffix in metrics:
            full = name + suffix
            return full, next((known for known in _UNITS if full.endswith(known)), "")
    listed = ", ".join(metrics) or "none"
    raise _usage(f"--fail-if knows no {name!r} of {technique}; there are {listed}")


def _number(text: str, number: str) -> float:
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise _usage(f"--fail-if {text!r}: {number!r} is not a number")
    return value


def _unit(text: str, metric: str, suffix: str, unit: str, *, bare: bool) -> float:
    units = _UNITS.get(suffix, {})
    if unit in units:
        return units[unit]
    if not unit and not (bare and suffix in {"_ns", "_bps"}):
        return 1.0
    if not units:
        raise _usage(f"--fail-if {text!r}: {metric} has no unit")
    problem = f"{unit!r} is no unit of {metric}" if unit else f"{metric} needs a unit here"
    raise _usage(f"--fail-if {text!r}: {problem}; there are {', '.join(units)}")


def _usage(text: str) -> Trouble:
    return Trouble(text, Exit.USAGE)
