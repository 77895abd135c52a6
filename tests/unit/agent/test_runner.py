from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from emodis.agent.assignment import key_of
from emodis.agent.clock import MasterClock
from emodis.agent.limits import Allowance, Limits
from emodis.agent.runner import LARGEST_RESULT_BYTES, Runner
from emodis.agent.spool import Spool
from emodis.topology.special import refusal
from emodis.wire.v1.agent_pb2 import FromAgent, RunResult
from emodis.wire.v1.common_pb2 import (
    END_CANCELLED,
    END_DONE,
    END_EXPIRED,
    END_FAILED,
    END_REFUSED,
    END_UNSPECIFIED,
    Ending,
    Outcome,
    Relay,
    RunKey,
)
from emodis.wire.v1.prober_pb2 import ProberProgress, ProberRun
from tests.support.agents import NS, FakeProber, HostClock, assignment, run_key, techniques

MASTER_AHEAD_NS = 1_000 * NS


@attrs.define
class Rig:
    """A runner that is online; master's time is our time and 1000 s."""

    spool: Spool = attrs.field(factory=Spool)
    runs_per_hour: int = 0
    clock: Clock = attrs.field(factory=Clock)
    said: list[FromAgent] = attrs.field(factory=list)
    complaints: list[str] = attrs.field(factory=list)
    idled: list[bool] = attrs.field(factory=list)
    trains: FakeProber = attrs.field(factory=FakeProber)
    light: FakeProber = attrs.field(factory=FakeProber)
    master: MasterClock = attrs.field(factory=MasterClock)
    host: HostClock = attrs.field(init=False)
    runner: Runner = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.host = HostClock(self.clock)
        self.master.heard(sent_ns=0, received_ns=0, master_clock_ns=MASTER_AHEAD_NS)
        allowance = Allowance(
            techniques=frozenset({"light", "train"}),
            bytes_per_day=0,
            bytes_per_run=0,
            runs_per_hour=self.runs_per_hour,
        )
        self.runner = Runner(
            clock=self.clock,
            boottime_ns=self.host.ns,
            unix_ns=lambda: 77,
            limits=Limits(allowance, techniques(), refusal),
            spool=self.spool,
            train_prober=self.trains,
            light_prober=self.light,
            say=self.said.append,
            complain=self.complaints.append,
            on_idle=lambda: self.idled.append(True),
        )
        self.spool.open(lambda result: self.said.append(FromAgent(run_result=result)))

    def take(
        self,
        run: RunKey,
        technique: str = "light",
        *,
        start_by_s: float = 5,
        stop_by_s: float = 15,
        parent: str = "",
        exclusive: bool = False,
    ) -> None:
        """Deadlines in seconds of the test's clock."""
        made = assignment(
            run,
            technique=technique,
            start_by_ns=MASTER_AHEAD_NS + round(start_by_s * NS),
            stop_by_ns=MASTER_AHEAD_NS + round(stop_by_s * NS),
            parent=parent,
        )
        made.exclusive = exclusive
        self.runner.take(made, self.master)

    def news(self) -> list[str]:
        """What was said since the last look, shortly: "started 1", "result 1 refused too_late"."""
        lines = [_short(message) for message in self.said]
        self.said.clear()
        return lines


def _short(message: FromAgent) -> str:
    match message.WhichOneof("body"):
        case "run_started":
            return f"started {message.run_started.run.destination}"
        case "run_progress":
            progress = message.run_progress
            return f"progress {progress.run.destination} {progress.done}/{progress.total}"
        case "run_result":
            result = message.run_result
            ending = result.outcome.ending
            word = {
                END_DONE: "done",
                END_FAILED: "failed",
                END_REFUSED: "refused",
                END_CANCELLED: "cancelled",
                END_EXPIRED: "expired",
            }[ending.end]
            return f"result {result.run.destination} {word} {ending.reason}".strip()
        case other:
            raise AssertionError(other)


def test_a_run_is_announced_then_measured_then_reported() -> None:
    rig = Rig()
    rig.take(run_key(1))
    assert rig.news() == ["started 1"]
    assert rig.light.runs[0].call.technique == "light"
    rig.light.end()
    assert rig.news() == ["result 1 done"]
    assert rig.runner.idle


def test_a_run_is_captured_where_the_operator_wants_it() -> None:
    rig = Rig()
    rig.runner.capture_for = lambda run: f"/captures/{run.destination}"
    rig.take(run_key(1))
    assert rig.light.runs[0].pcap_path == "/captures/1"


def test_trains_and_light_techniques_have_a_prober_each_and_never_work_at_once() -> None:
    rig = Rig()
    rig.take(run_key(1), "train")
    rig.take(run_key(2), "light")
    assert (len(rig.trains.runs), len(rig.light.runs)) == (1, 0)
    assert rig.runner.queued == 1
    rig.trains.end()
    assert (len(rig.trains.runs), len(rig.light.runs)) == (1, 1)


def test_an_exclusive_run_uses_the_prober_for_trains_whatever_its_technique() -> None:
    rig = Rig()
    rig.take(run_key(1), "light", exclusive=True)
    assert len(rig.trains.runs) == 1


def test_the_prober_gets_deadlines_of_our_own_clock_and_the_worst_case() -> None:
    rig = Rig()
    rig.take(run_key(1), stop_by_s=15)
    order = rig.light.runs[0]
    # Drawn in by the drift that 15 s may bring.
    assert order.stop_by_boottime_ns == 15 * NS - 15 * NS // 1000
    assert (order.max_bytes, order.budget_s) == (1000, 10.0)


def test_no_master_can_make_a_run_last_longer_than_two_minutes() -> None:
    rig = Rig()
    rig.take(run_key(1), stop_by_s=100_000)
    assert rig.light.runs[0].stop_by_boottime_ns == 120 * NS


def test_what_waits_beyond_its_start_by_is_too_late() -> None:
    rig = Rig()
    rig.take(run_key(1), stop_by_s=60)
    rig.take(run_key(2), start_by_s=5)
    rig.news()
    rig.clock.pump([0.25] * 19)
    assert rig.news() == []
    rig.clock.advance(0.25)
    assert rig.news() == ["result 2 refused too_late"]
    rig.light.end()
    assert len(rig.light.runs) == 1


def test_a_process_that_was_stopped_starts_nothing_that_was_given_away() -> None:
    rig = Rig()
    rig.take(run_key(1), stop_by_s=60)
    rig.take(run_key(2), start_by_s=5)
    rig.news()
    rig.host.sleep(60)
    # Of all that may come first after the pause: the end of the run before.
    rig.light.end()
    assert rig.news() == ["result 1 done", "result 2 refused too_late"]


def test_an_assignment_that_was_held_up_in_tcp_is_not_begun() -> None:
    rig = Rig()
    rig.host.sleep(6)
    rig.take(run_key(1), start_by_s=5)
    assert rig.news() == ["result 1 refused too_late"]
    assert rig.light.runs == []


def test_a_run_that_goes_on_after_its_time_is_aborted() -> None:
    rig = Rig()
    rig.take(run_key(1), stop_by_s=15)
    rig.news()
    rig.host.sleep(60)
    rig.clock.advance(0.25)
    assert rig.news() == ["result 1 expired overrun"]


def test_a_cancelled_run_is_answered_when_nothing_is_sent_any_more() -> None:
    rig = Rig()
    rig.light.deaf = True
    rig.take(run_key(1))
    rig.take(run_key(2))
    rig.runner.cancel(run_key(2))
    rig.runner.cancel(run_key(1))
    rig.runner.cancel(run_key(1))
    assert rig.news() == ["started 1", "result 2 cancelled cancelled"]
    assert rig.light.aborted == [key_of(run_key(1))]
    rig.light.end(END_CANCELLED)
    assert rig.news() == ["result 1 cancelled cancelled"]


def test_what_was_done_before_the_abort_reached_it_stays_done() -> None:
    rig = Rig()
    rig.light.deaf = True
    rig.take(run_key(1))
    rig.runner.cancel(run_key(1))
    rig.light.end(END_DONE)
    assert rig.news() == ["started 1", "result 1 done"]


def test_cancelling_what_is_not_here_is_answered_and_cancelling_what_has_ended_is_not() -> None:
    rig = Rig()
    rig.runner.cancel(run_key(9))
    assert rig.news() == ["result 9 cancelled unknown_run"]
    assert len(rig.spool) == 0
    rig.take(run_key(1))
    rig.light.end()
    rig.news()
    rig.runner.cancel(run_key(1))
    assert rig.news() == []


def test_when_a_client_leaves_all_of_its_runs_go() -> None:
    rig = Rig()
    rig.take(run_key(1, measurement="a"))
    rig.take(run_key(2, measurement="child"), parent="a")
    rig.take(run_key(3, measurement="b"))
    rig.news()
    rig.runner.stop_client(frozenset({"a"}))
    assert rig.news() == [
        "result 2 cancelled client_gone",
        "result 1 cancelled client_gone",
        "started 3",
    ]


def test_one_assignment_twice_is_one_run() -> None:
    rig = Rig()
    rig.take(run_key(1))
    rig.take(run_key(1))
    rig.take(run_key(2))
    rig.take(run_key(2))
    rig.light.end()
    rig.light.end()
    # Its result is not acknowledged yet: it is here, it will not be measured again.
    rig.take(run_key(1))
    assert [run.run.destination for run in rig.light.runs] == [1, 2]


def test_progress_goes_out_once_a_second_at_most() -> None:
    rig = Rig()
    rig.take(run_key(1))
    rig.news()
    for done in range(1, 31):
        rig.clock.advance(0.1)
        rig.light.progress(done, 30)
    assert len(rig.news()) in {2, 3}


def test_a_prober_that_restarts_is_waited_for_until_start_by() -> None:
    rig = Rig()
    rig.light.ready = False
    rig.take(run_key(1))
    rig.take(run_key(2), start_by_s=0.1)
    assert rig.news() == []
    rig.light.ready = True
    rig.clock.advance(0.25)
    assert rig.news() == ["result 2 refused too_late", "started 1"]


def test_a_full_spool_starts_nothing_and_keeps_nothing() -> None:
    rig = Rig(spool=Spool(max_results=1))
    rig.take(run_key(1))
    rig.take(run_key(2))
    rig.light.end()
    rig.take(run_key(3))
    assert rig.news() == ["started 1", "result 1 done", "result 3 refused spool_full"]
    assert len(rig.spool) == 1
    # Acknowledged: there is room again, and what waited goes on.
    rig.spool.acknowledged([run_key(1)])
    rig.clock.advance(0.25)
    assert rig.news() == ["started 2"]


def test_a_master_that_assigns_without_end_is_refused() -> None:
    rig = Rig()
    for number in range(100):
        rig.take(run_key(number))
    assert rig.runner.queued == 64
    assert rig.news()[-1] == "result 99 refused agent_busy"
    assert len(rig.spool) == 0


def test_limits_are_asked_again_when_the_turn_comes() -> None:
    rig = Rig(runs_per_hour=1)
    rig.take(run_key(1))
    rig.light.end()
    rig.news()
    rig.take(run_key(2))
    assert rig.news() == ["result 2 refused budget_exceeded"]
    other = Rig(runs_per_hour=1)
    other.light.ready = False
    other.take(run_key(1))
    other.take(run_key(2))
    other.light.ready = True
    other.clock.advance(0.25)
    other.light.end()
    assert other.news() == ["started 1", "result 1 done", "result 2 refused budget_exceeded"]


@attrs.define(eq=False)
class BrokenProber(FakeProber):
    how: str = ""

    def run(
        self,
        run: ProberRun,
        on_progress: Callable[[ProberProgress], None],
        on_relay: Callable[[Relay], None],
    ) -> Deferred[Outcome]:
        match self.how:
            case "raises":
                raise RuntimeError("no pipe")
            case "fails":
                return fail(RuntimeError("no pipe"))
            case _:
                return succeed(Outcome(ending=Ending(end=END_UNSPECIFIED)))


@pytest.mark.parametrize("broken", ["raises", "fails", "says nothing"])
def test_a_prober_that_breaks_its_promise_fails_the_run_and_no_more(broken: str) -> None:
    rig = Rig()
    rig.runner.light_prober = BrokenProber(how=broken)
    rig.take(run_key(1))
    assert rig.news() == ["started 1", "result 1 failed prober_failed"]
    assert rig.runner.idle
    assert len(rig.complaints) == (0 if broken == "says nothing" else 1)


def test_a_result_that_does_not_fit_loses_its_observations_and_says_so() -> None:
    rig = Rig()
    rig.take(run_key(1))
    waiting = rig.light.in_work.pop(key_of(run_key(1)))
    waiting.callback(
        Outcome(ending=Ending(end=END_DONE), observations=bytes(LARGEST_RESULT_BYTES + 1))
    )
    result: RunResult = rig.said[-1].run_result
    assert result.ByteSize() < LARGEST_RESULT_BYTES
    assert "left out" in result.outcome.quality.reasons[0]


def test_a_run_that_ended_is_charged_what_it_sent() -> None:
    rig = Rig()
    rig.runner.limits.allowance = attrs.evolve(rig.runner.limits.allowance, bytes_per_day=1500)
    rig.take(run_key(1))
    rig.light.end(sent=400)
    rig.take(run_key(2))
    rig.light.end(sent=600)
    rig.take(run_key(3))
    assert rig.news()[-1] == "result 3 refused budget_exceeded"
    assert len(rig.light.runs) == 2


def test_leaving_calls_everything_off_and_refuses_the_rest() -> None:
    rig = Rig()
    rig.take(run_key(1))
    rig.take(run_key(2))
    rig.news()
    rig.idled.clear()
    rig.runner.leave()
    assert rig.idled
    rig.take(run_key(3))
    assert rig.news() == [
        "result 2 cancelled agent_leaving",
        "result 1 cancelled agent_leaving",
        "result 3 refused agent_leaving",
    ]


def test_no_timer_runs_while_there_is_nothing_to_do() -> None:
    rig = Rig()
    rig.take(run_key(1))
    rig.light.end()
    assert rig.clock.getDelayedCalls() == []


def test_a_mistake_of_ours_in_the_timer_is_one_line_and_the_timer_goes_on() -> None:
    rig = Rig()
    rig.take(run_key(1))
    broken = [True]

    def boottime_ns() -> int:
        if broken:
            broken.clear()
            raise RuntimeError("no clock")
        return rig.host.ns()

    rig.runner.boottime_ns = boottime_ns
    rig.clock.advance(0.25)
    assert len(rig.complaints) == 1
    assert "RuntimeError: no clock" in rig.complaints[0]
    rig.host.sleep(60)
    rig.clock.advance(0.25)
    assert rig.news() == ["started 1", "result 1 expired overrun"]


def test_a_run_and_its_partner_talk_through_the_master() -> None:
    rig = Rig()
    rig.take(run_key(1))
    assert rig.light.say is not None
    rig.light.say(Relay(run=run_key(1), words=b"hello"))
    assert rig.said[-1].relay == Relay(run=run_key(1), words=b"hello")
    for key in (run_key(2), run_key(1)):
        rig.runner.relayed(Relay(run=key, words=b"ready"))
    assert rig.light.relayed == [Relay(run=run_key(1), words=b"ready")]
    rig.light.end()
    rig.runner.relayed(Relay(run=run_key(1), words=b"late"))
    assert len(rig.light.relayed) == 1
