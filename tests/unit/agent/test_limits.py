from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emodis.agent.assignment import key_of
from emodis.agent.limits import DAY_NS, HOUR_NS, Allowance, Limits, SlidingSum
from emodis.techniques.base import Spend
from emodis.topology.special import refusal
from emodis.wire.v1.agent_pb2 import Assignment
from emodis.wire.v1.common_pb2 import END_REFUSED, Ending, Target
from tests.support.agents import assignment, run_key, techniques


@attrs.define
class Rig:
    allow: frozenset[str] = frozenset({"light", "train"})
    bytes_per_day: int = 10_000
    bytes_per_run: int = 5_000
    runs_per_hour: int = 3
    limits: Limits = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        allowance = Allowance(
            techniques=self.allow,
            bytes_per_day=self.bytes_per_day,
            bytes_per_run=self.bytes_per_run,
            runs_per_hour=self.runs_per_hour,
        )
        self.limits = Limits(allowance, techniques(), refusal)

    def reason(self, asked: Assignment, now_ns: int = 0) -> str:
        """Why not, or an empty text."""
        verdict = self.limits.check(asked, now_ns)
        if isinstance(verdict, Spend):
            return ""
        assert verdict.end == END_REFUSED
        assert verdict.hint
        assert "\n" not in verdict.hint
        return verdict.reason

    def run(self, number: int, now_ns: int, sent_bytes: int | None = None) -> None:
        asked = assignment(run_key(number))
        spend = self.limits.check(asked, now_ns)
        assert isinstance(spend, Spend)
        self.limits.begin(asked, spend, now_ns)
        if sent_bytes is not None:
            self.limits.settle(key_of(asked.run), sent_bytes)


def test_what_is_enabled_and_local_and_affordable_may_run() -> None:
    verdict = Rig().limits.check(assignment(body=b"7.5 1200"), 0)
    assert verdict == Spend(duration_s=7.5, sent_bytes=1200)


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (assignment(technique="train"), "technique_not_enabled"),
        (assignment(technique="nmap"), "technique_not_enabled"),
        (assignment(schema=2), "schema_unknown"),
        (assignment(address="8.8.8.8"), "policy_refused"),
        (assignment(address="224.0.0.1"), "policy_refused"),
        (assignment(address="169.254.1.1"), "policy_refused"),
        (assignment(address="::ffff:8.8.8.8"), "policy_refused"),
        (assignment(body=b"nonsense"), "bad_params"),
        (assignment(body=b"1 5001"), "budget_exceeded"),
        (assignment(body=b"1 5000"), ""),
    ],
)
def test_refusals_have_stable_reasons(asked: Assignment, reason: str) -> None:
    assert Rig(allow=frozenset({"light"})).reason(asked) == reason


@pytest.mark.parametrize("length", [0, 3, 5, 15, 17])
def test_an_address_of_no_family_is_refused(length: int) -> None:
    asked = assignment()
    asked.target.CopyFrom(Target(address=bytes(length)))
    assert Rig().reason(asked) == "bad_target"


def test_a_running_run_holds_its_worst_case_and_pays_what_it_sent() -> None:
    rig = Rig(bytes_per_day=1500, runs_per_hour=0)
    rig.run(1, 0)
    assert rig.reason(assignment(run_key(2))) == "budget_exceeded"
    rig.limits.settle(key_of(run_key(1)), 400)
    assert rig.reason(assignment(run_key(2))) == ""


def test_yesterdays_bytes_no_longer_count() -> None:
    rig = Rig(bytes_per_day=1000, runs_per_hour=0)
    rig.run(1, 0, sent_bytes=1000)
    assert rig.reason(assignment(), DAY_NS - 1) == "budget_exceeded"
    assert rig.reason(assignment(), DAY_NS) == ""


def test_runs_are_counted_by_the_hour() -> None:
    rig = Rig(bytes_per_day=0)
    for number in range(3):
        rig.run(number, number, sent_bytes=0)
    verdict = rig.limits.check(assignment(), 10)
    assert isinstance(verdict, Ending)
    assert "60 min" in verdict.hint
    assert rig.reason(assignment(), HOUR_NS - 1) == "budget_exceeded"
    assert rig.reason(assignment(), HOUR_NS) == ""


def test_zero_means_no_limit() -> None:
    rig = Rig(bytes_per_day=0, bytes_per_run=0, runs_per_hour=0)
    for number in range(100):
        rig.run(number, 0)
    assert rig.reason(assignment(body=b"1 1000000000000")) == ""


@given(
    steps=st.lists(
        st.tuples(st.integers(0, 30), st.integers(0, 50), st.integers(0, 50)), max_size=40
    )
)
def test_a_sliding_sum_is_the_sum_of_what_is_young_enough(
    steps: list[tuple[int, int, int]],
) -> None:
    window, entries, now_ns = SlidingSum(60), list[tuple[int, int]](), 0
    for gap_ns, first, then in steps:
        now_ns += gap_ns
        window.at(now_ns)
        window.correct(window.add(now_ns, first), then)
        entries.append((now_ns, then))
        young = sum(amount for at_ns, amount in entries if now_ns - at_ns < 60)
        assert window.at(now_ns) == young
