"""What the volunteer allows, asked anew for every run; no master can exceed it (DESIGN.md 7).

A run reserves its worst case of bytes when it starts and is charged what it really sent when it
ends. The windows slide: a day is the last 24 hours, an hour the last 60 minutes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address

import attrs

from emodis.agent.assignment import TaskKey, key_of
from emodis.techniques.base import BadParameters, Spend, Technique
from emodis.wire.v1.agent_pb2 import Assignment
from emodis.wire.v1.common_pb2 import (
    BLAME_AGENT,
    BLAME_TARGET,
    BLAME_US,
    END_REFUSED,
    Blame,
    Ending,
)

NS = 1_000_000_000
HOUR_NS = 3600 * NS
DAY_NS = 24 * HOUR_NS

Address = IPv4Address | IPv6Address


def refused(reason: str, hint: str, blame: Blame.ValueType = BLAME_AGENT) -> Ending:
    """An end without a single packet."""
    return Ending(end=END_REFUSED, reason=reason, hint=hint, blame=blame)


@attrs.define
class SlidingSum:
    """The sum of amounts that are not older than `span_ns`; entries may be corrected."""

    span_ns: int
    _entries: deque[list[int]] = attrs.field(factory=deque, init=False)
    _sum: int = attrs.field(default=0, init=False)

    def at(self, now_ns: int) -> int:
        """The sum now."""
        while self._entries and now_ns - self._entries[0][0] >= self.span_ns:
            self._sum -= self._entries.popleft()[1]
        return self._sum

    def add(self, now_ns: int, amount: int) -> list[int]:
        """Enter an amount; the returned entry is for `correct`."""
        entry = [now_ns, amount]
        self._entries.append(entry)
        self._sum += amount
        return entry

    def correct(self, entry: list[int], amount: int) -> None:
        """Replace an amount; without effect once it is too old to count."""
        if any(kept is entry for kept in self._entries):
            self._sum += amount - entry[1]
        entry[1] = amount

    def freed_after_ns(self, now_ns: int) -> int:
        """How long until the oldest entry no longer counts."""
        return max(0, self._entries[0][0] + self.span_ns - now_ns) if self._entries else 0


@attrs.frozen(kw_only=True)
class Allowance:
    """The volunteer's numbers; 0 means no limit of that kind."""

    techniques: frozenset[str]
    bytes_per_day: int
    bytes_per_run: int
    runs_per_hour: int


@attrs.define
class Limits:
    """Says yes or no to each run, and remembers what was spent.

    `techniques` is the registry, `refusal` is `special.refusal`: why an address may not be probed.
    """

    allowance: Allowance
    techniques: Mapping[str, Technique]
    refusal: Callable[[Address], str | None]
    _bytes: SlidingSum = attrs.field(factory=lambda: SlidingSum(DAY_NS), init=False)
    _runs: SlidingSum = attrs.field(factory=lambda: SlidingSum(HOUR_NS), init=False)
    _reserved: dict[TaskKey, list[int]] = attrs.field(factory=dict, init=False)

    def check(self, assignment: Assignment, now_ns: int) -> Ending | Spend:
        """The worst case that the run may take, or why it may not be."""
        technique = self.techniques.get(assignment.call.technique)
        if technique is None or technique.NAME not in self.allowance.techniques:
            return refused(
                "technique_not_enabled",
                f"{assignment.call.technique!r} is not enabled on this agent; choose another agent",
            )
        if assignment.call.schema != technique.SCHEMA:
            return refused(
                "schema_unknown",
                f"this agent speaks version {technique.SCHEMA} of {technique.NAME}, not "
                f"{assignment.call.schema}; update the older of the two programs",
            )
        forbidden = self._forbidden(assignment.target.address)
        if forbidden is not None:
            return forbidden
        try:
            spend = technique.worst_case(assignment.call)
        except BadParameters as error:
            return refused("bad_params", str(error), BLAME_US)
        return self._unaffordable(spend, now_ns) or spend

    def begin(self, assignment: Assignment, spend: Spend, now_ns: int) -> None:
        """A run starts: count it, and reserve its worst case."""
        self._runs.add(now_ns, 1)
        self._reserved[key_of(assignment.run)] = self._bytes.add(now_ns, spend.sent_bytes)

    def settle(self, key: TaskKey, sent_bytes: int) -> None:
        """A run ended: charge what it sent."""
        entry = self._reserved.pop(key, None)
        if entry is not None:
            self._bytes.correct(entry, sent_bytes)

    def _forbidden(self, packed: bytes) -> Ending | None:
        try:
            address = ip_address(packed)
        except ValueError:
            return refused("bad_target", f"{len(packed)} bytes are not an IP address", BLAME_US)
        why = self.refusal(address)
        return None if why is None else refused("policy_refused", why, BLAME_TARGET)

    def _unaffordable(self, spend: Spend, now_ns: int) -> Ending | None:
        caps = self.allowance
        if caps.bytes_per_run and spend.sent_bytes > caps.bytes_per_run:
            return refused(
                "budget_exceeded",
                f"one run may send {caps.bytes_per_run} bytes here, this one could send "
                f"{spend.sent_bytes}; ask for fewer or smaller packets",
            )
        spent = self._bytes.at(now_ns)
        if caps.bytes_per_day and spent + spend.sent_bytes > caps.bytes_per_day:
            return refused(
                "budget_exceeded",
                f"{spent} of {caps.bytes_per_day} bytes of the last 24 hours are spent and this "
                f"run could send {spend.sent_bytes}; {_when(self._bytes, now_ns)}",
            )
        if caps.runs_per_hour and self._runs.at(now_ns) >= caps.runs_per_hour:
            return refused(
                "budget_exceeded",
                f"{caps.runs_per_hour} runs an hour are allowed here and spent; "
                f"{_when(self._runs, now_ns)}",
            )
        return None


def _when(window: SlidingSum, now_ns: int) -> str:
    minutes = -(-window.freed_after_ns(now_ns) // (60 * NS))
    return f"try again in {max(1, minutes)} min, or choose another agent"
