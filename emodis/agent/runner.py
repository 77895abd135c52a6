"""One run at a time: from an assignment to its result.

Every assignment taken ends in exactly one RunResult, whether it was done, refused or called off,
and that result means that nothing is being sent for it any more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import attrs
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from emodis.agent.assignment import Task, TaskKey, key_of
from emodis.agent.clock import MasterClock
from emodis.agent.limits import Limits, refused
from emodis.agent.queue import WaitingTasks
from emodis.agent.spool import Spool
from emodis.wire.framing import CAP_BYTES
from emodis.wire.protocol import describe
from emodis.wire.v1.agent_pb2 import Assignment, FromAgent, RunProgress, RunResult, RunStarted
from emodis.wire.v1.common_pb2 import (
    BLAME_AGENT,
    BLAME_US,
    END_CANCELLED,
    END_DONE,
    END_EXPIRED,
    END_FAILED,
    END_UNSPECIFIED,
    Ending,
    Outcome,
    Quality,
    Relay,
    RunKey,
)
from emodis.wire.v1.prober_pb2 import ProberProgress, ProberRun

NS = 1_000_000_000
PROGRESS_NS = NS
# Deadlines are looked at this often while anything is in work or waits; short, because the machine
# may have slept and timers do not know that (see `session`).
LOOK_S = 0.25
# No run may last longer (DESIGN.md 4), whatever a master says.
LONGEST_RUN_NS = 120 * NS
# The prober keeps `stop_by` itself; this is for one that is stuck.
GRACE_NS = 2 * NS
# Room for the envelope around an outcome.
LARGEST_RESULT_BYTES = CAP_BYTES - 1024


class ProberLike(Protocol):
    """What of `emodis.prober.driver.Prober` is used here."""

    @property
    def ready(self) -> object:
        """Falsy while its process is being started again."""

    def run(
        self,
        run: ProberRun,
        on_progress: Callable[[ProberProgress], None],
        on_relay: Callable[[Relay], None],
    ) -> Deferred[Outcome]: ...
    def relay(self, relay: Relay) -> None: ...
    def abort(self, run: RunKey) -> None: ...


def cancelled(reason: str, hint: str) -> Ending:
    """Somebody no longer wants it."""
    return Ending(end=END_CANCELLED, reason=reason, hint=hint, blame=BLAME_US)


@attrs.define
class InWork:
    """The run that has the agent now."""

    task: Task
    prober: ProberLike
    # Set when it was called off: how it ends if it does not end by itself first.
    called_off: Ending | None = None
    last_progress_ns: int = 0


@attrs.define
class Runner:
    """Queue, limits and the two probers.

    `say` sends to the master, or to nobody while there is none. `on_idle` is called whenever
    nothing is in work and nothing waits.
    """

    clock: IReactorTime
    boottime_ns: Callable[[], int]
    unix_ns: Callable[[], int]
    limits: Limits
    spool: Spool
    train_prober: ProberLike
    light_prober: ProberLike
    say: Callable[[FromAgent], None]
    complain: Callable[[str], None]
    on_idle: Callable[[], None] = lambda: None
    # The file that a run's packets go to; "" = nowhere.
    capture_for: Callable[[RunKey], str] = lambda run: ""
    _queue: WaitingTasks = attrs.field(factory=WaitingTasks, init=False)
    _in_work: InWork | None = attrs.field(default=None, init=False)
    _leaving: bool = attrs.field(default=False, init=False)
    _timer: IDelayedCall | None = attrs.field(default=None, init=False)

    @property
    def idle(self) -> bool:
        """Nothing is in work and nothing waits."""
        return self._in_work is None and not self._queue

    @property
    def queued(self) -> int:
        """Assignments waiting."""
        return len(self._queue)

    @property
    def busy(self) -> RunKey | None:
        """The run in work."""
        return None if self._in_work is None else self._in_work.task.assignment.run

    # -- what the master wants --------------------------------------------------------------

    def take(self, assignment: Assignment, master: MasterClock) -> None:
        """An assignment came; `master` is the clock that its deadlines are in."""
        key = key_of(assignment.run)
        if key in self._queue or key in self.spool or self._is_in_work(key):
            return
        now_ns = self.boottime_ns()
        start_by_ns = master.local_deadline_ns(assignment.start_by_clock_ns, now_ns)
        stop_by_ns = master.local_deadline_ns(assignment.stop_by_clock_ns, now_ns)
        if start_by_ns is None or stop_by_ns is None:
            self._refuse(assignment.run, _NO_CLOCK)
            return
        if self._leaving:
            self._refuse(assignment.run, _LEAVING)
            return
        if self._queue.full or self.spool.full:
            # Not kept: what there is no room for cannot be remembered either.
            ending = _SPOOL_FULL if self.spool.full else _QUEUE_FULL
            self.say(FromAgent(run_result=_result(assignment.run, ending)))
            return
        verdict = self.limits.check(assignment, now_ns)
        if isinstance(verdict, Ending):
            self._refuse(assignment.run, verdict)
            return
        self._queue.put(
            Task(assignment=assignment, key=key, start_by_ns=start_by_ns, stop_by_ns=stop_by_ns)
        )
        self._proceed()

    def cancel(self, run: RunKey) -> None:
        """The master no longer wants this run."""
        key = key_of(run)
        waiting = self._queue.remove(key)
        if waiting is not None:
            self._refuse(run, _CANCELLED)
        elif self._is_in_work(key):
            self._call_off(_CANCELLED)
        elif key not in self.spool:
            # From before a restart, perhaps: nothing is being sent for it in any case.
            self.say(FromAgent(run_result=_result(run, _NOT_HERE)))
        self._proceed()

    def relayed(self, relay: Relay) -> None:
        """What the partner of a run says to it, through the master."""
        if self._is_in_work(key_of(relay.run)):
            assert self._in_work is not None
            self._in_work.prober.relay(relay)

    def stop_client(self, measurement_ids: frozenset[str]) -> None:
        """The client of these measurements has gone."""
        for task in self._queue.take_belonging(measurement_ids):
            self._refuse(task.assignment.run, _CLIENT_GONE)
        if self._in_work is not None and self._in_work.task.belongs_to(measurement_ids):
            self._call_off(_CLIENT_GONE)
        self._proceed()

    def stop_all(self, reason: str, hint: str) -> None:
        """Abort what is in work, call off what waits."""
        ending = cancelled(reason, hint)
        for task in self._queue.take_all():
            self._refuse(task.assignment.run, ending)
        self._call_off(ending)
        self._proceed()

    def leave(self) -> None:
        """Take nothing any more, and stop everything."""
        self._leaving = True
        self.stop_all(_LEAVING.reason, _LEAVING.hint)

    def close(self) -> None:
        """Leave no timer behind."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    # -- one after the other ----------------------------------------------------------------

    def _proceed(self) -> None:
        """Do whatever is due now; called after every event and while something waits."""
        now_ns = self.boottime_ns()
        for overdue in self._queue.take_overdue(now_ns):
            self._refuse(overdue.assignment.run, _TOO_LATE)
        while self._in_work is None and (task := self._queue.first()) is not None:
            if not self._start(task, now_ns):
                break
        self._look_after_stuck(now_ns)
        self._sleep()
        if self.idle:
            self.on_idle()

    def _start(self, task: Task, now_ns: int) -> bool:
        """Begin this run or end it; false if it has to wait for its prober, or for room."""
        technique = self.limits.techniques[task.assignment.call.technique]
        trains = task.assignment.exclusive or technique.EXCLUSIVE
        prober = self.train_prober if trains else self.light_prober
        if not prober.ready or self.spool.full:
            return False
        self._queue.remove(task.key)
        # Asked again: the run before may have spent what was left.
        spend = self.limits.check(task.assignment, now_ns)
        if isinstance(spend, Ending):
            self._refuse(task.assignment.run, spend)
            return True
        self.limits.begin(task.assignment, spend, now_ns)
        run = task.assignment.run
        self._in_work = InWork(task=task, prober=prober, last_progress_ns=now_ns)
        self.say(FromAgent(run_started=RunStarted(run=run, started_unix_ns=self.unix_ns())))
        order = ProberRun(
            run=run,
            call=task.assignment.call,
            target=task.assignment.target,
            stop_by_boottime_ns=min(task.stop_by_ns, now_ns + LONGEST_RUN_NS),
            max_bytes=spend.sent_bytes,
            budget_s=spend.duration_s,
            peer=task.assignment.peer if task.assignment.HasField("peer") else None,
            pcap_path=self.capture_for(run),
        )
        outcome = maybeDeferred(prober.run, order, self._progressed, self._relay)
        _ = outcome.addErrback(self._failed).addCallback(self._ended, task.key)
        return True

    def _progressed(self, progress: ProberProgress) -> None:
        now_ns = self.boottime_ns()
        work = self._in_work
        if work is None or key_of(progress.run) != work.task.key:
            return
        if now_ns - work.last_progress_ns < PROGRESS_NS:
            return
        work.last_progress_ns = now_ns
        self.say(
            FromAgent(
                run_progress=RunProgress(
                    run=progress.run, done=progress.done, total=progress.total, cost=progress.cost
                )
            )
        )

    def _relay(self, relay: Relay) -> None:
        self.say(FromAgent(relay=relay))

    def _failed(self, failure: Failure) -> Outcome:
        """The prober broke its promise to answer every run."""
        text = f"the prober failed: {failure.getErrorMessage()}"
        self.complain(text)
        return Outcome(ending=_failure(text))

    def _ended(self, outcome: Outcome, key: TaskKey) -> None:
        work, self._in_work = self._in_work, None
        assert work is not None
        assert work.task.key == key
        self.limits.settle(key, outcome.cost.sent_bytes)
        kept = Outcome()
        kept.CopyFrom(outcome)
        if kept.ending.end == END_UNSPECIFIED:
            kept.ending.CopyFrom(_failure("the prober did not say how the run ended"))
        # What was finished before it was called off stays finished.
        if work.called_off is not None and kept.ending.end != END_DONE:
            kept.ending.CopyFrom(work.called_off)
        _fit(kept)
        self.spool.put(RunResult(run=work.task.assignment.run, outcome=kept))
        self._proceed()

    def _call_off(self, ending: Ending) -> None:
        work = self._in_work
        if work is not None and work.called_off is None:
            work.called_off = ending
            work.prober.abort(work.task.assignment.run)

    def _look_after_stuck(self, now_ns: int) -> None:
        work = self._in_work
        if work is not None and now_ns >= work.task.stop_by_ns + GRACE_NS:
            self._call_off(_OVERRUN)

    def _refuse(self, run: RunKey, ending: Ending) -> None:
        self.spool.put(_result(run, ending))

    def _is_in_work(self, key: TaskKey) -> bool:
        return self._in_work is not None and self._in_work.task.key == key

    def _sleep(self) -> None:
        self.close()
        if not self.idle:
            self._timer = self.clock.callLater(LOOK_S, self._look)

    def _look(self) -> None:
        try:
            self._proceed()
        except Exception as error:
            # Nobody but Twisted's log would hear of it, and nothing would ever start again.
            self.complain(f"an error of our own: {describe(error)}")
            self._sleep()


def _result(run: RunKey, ending: Ending) -> RunResult:
    """The end of a run that never began."""
    return RunResult(run=run, outcome=Outcome(ending=ending))


def _failure(hint: str) -> Ending:
    return Ending(end=END_FAILED, reason="prober_failed", hint=hint, blame=BLAME_AGENT)


def _fit(outcome: Outcome) -> None:
    """Leave the raw observations out where the whole would not fit into a frame."""
    if outcome.ByteSize() <= LARGEST_RESULT_BYTES:
        return
    size_bytes = len(outcome.observations)
    outcome.ClearField("observations")
    outcome.quality.word = outcome.quality.word or Quality.WORD_FAIR
    outcome.quality.reasons.append(
        f"the raw observations were left out: {size_bytes} bytes are too many for one message"
    )


_CANCELLED = cancelled("cancelled", "the master called it off")
_CLIENT_GONE = cancelled("client_gone", "the client that asked for it has left")
_NOT_HERE = cancelled("unknown_run", "this agent knows no such run and sends nothing for it")
_LEAVING = refused("agent_leaving", "this agent is shutting down; choose another agent")
_TOO_LATE = refused(
    "too_late", "its time to start had passed before the agent was free; ask again", BLAME_US
)
_QUEUE_FULL = refused("agent_busy", "too many assignments wait on this agent; assign fewer at once")
_SPOOL_FULL = refused(
    "spool_full", "too many results wait for the master's acknowledgement; it has to catch up first"
)
_NO_CLOCK = refused("no_clock", "the master's clock is not known yet", BLAME_US)
_OVERRUN = Ending(
    end=END_EXPIRED,
    reason="overrun",
    hint="the run went on after its time and was aborted",
    blame=BLAME_AGENT,
)
