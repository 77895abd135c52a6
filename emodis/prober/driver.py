"""The reactor's side of a prober: start it, give it runs, call them off, bury and replace it.

What a caller would get wrong: `run` always fires with an Outcome, also when the process dies, and
when it has fired nothing of that run is being sent any more.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from emodis.packets.clocks import boottime_ns
from emodis.prober.outcomes import cancelled, crashed, ended, stuck, unavailable
from emodis.prober.process import WorkerProcess
from emodis.wire.v1.common_pb2 import BLAME_US, END_FAILED, Cost, Outcome, Relay, RunKey
from emodis.wire.v1.prober_pb2 import (
    FromProber,
    ProberAbort,
    ProberProgress,
    ProberReady,
    ProberRun,
    ToProber,
)

COMMAND = (sys.executable, "-P", "-m", "emodis.prober.worker")
START_DEADLINE_S = 15.0
# After stop_by, until a silent prober is killed.
STUCK_GRACE_S = 5.0
# Longer than the largest train takes to leave the slowest first link: it waits for that.
ABORT_DEADLINE_S = 6.0
STOP_DEADLINE_S = 2.0
# A prober that died young is replaced after a pause that doubles up to the longest one.
HEALTHY_S = 10.0
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0

log = Logger()


class ProberUnavailable(Exception):
    """There is no prober on this host; the text is one line that says what to do."""


@attrs.define(eq=False)
class _Job:
    """The run in work."""

    run: ProberRun
    on_progress: Callable[[ProberProgress], None] | None
    done: Deferred[Outcome]
    on_relay: Callable[[Relay], None] | None = None
    cost: Cost = attrs.field(factory=Cost)
    sent: bool = False
    # What its end is if the process dies now; None = it crashed.
    verdict: Callable[[Cost], Outcome] | None = None
    timers: list[IDelayedCall] = attrs.field(factory=list)

    def end(self, outcome: Outcome) -> None:
        """Fire, and leave no timer behind."""
        for timer in self.timers:
            if timer.active():
                timer.cancel()
        self.done.callback(outcome)


class Prober:
    """One prober process and its successors. `label` names it in the log.

    `on_remark` hears what is wrong with captures; without it, that is logged.
    """

    def __init__(
        self,
        reactor: object,
        *,
        label: str,
        command: Sequence[str] = COMMAND,
        boottime_ns: Callable[[], int] = boottime_ns,
        on_remark: Callable[[str], None] | None = None,
    ) -> None:
        self._reactor = reactor
        self._clock = IReactorTime(reactor)
        self._label = label
        self._command = command
        self._boottime_ns = boottime_ns
        self._on_remark = on_remark or self._log_remark
        self._remarked = ""
        self._process: WorkerProcess | None = None
        self._job: _Job | None = None
        self._starting: Deferred[ProberReady] | None = None
        self._stopping: list[Deferred[None]] = []
        self._stopped = True
        self._timer: IDelayedCall | None = None
        self._ready_at_s: float | None = None
        self._pause_s = 0.0
        self.ready: ProberReady | None = None

    @property
    def busy(self) -> RunKey | None:
        """The run in work."""
        return self._job.run.run if self._job is not None else None

    @property
    def pid(self) -> int | None:
        """The process, while there is one."""
        return self._process.pid if self._process is not None else None

    def start(self) -> Deferred[ProberReady]:
        """Start the process; fires when it holds its sockets. To be called once, or after `stop`.

        Errback: ProberUnavailable, if this host does not let it, or within 15 s nothing happened.
        """
        if not self._stopped or self._process is not None:
            raise RuntimeError(f"the {self._label} prober is started already")
        self._stopped = False
        self._starting = waiting = Deferred[ProberReady]()
        self._spawn()
        return waiting

    def run(
        self,
        run: ProberRun,
        on_progress: Callable[[ProberProgress], None] | None = None,
        on_relay: Callable[[Relay], None] | None = None,
    ) -> Deferred[Outcome]:
        """Measure. Fires with an Outcome in every case, never with a Failure.

        `on_relay` hears what the run has to say to its partner, where it cannot do so itself.
        """
        if self._stopped:
            return succeed(unavailable(f"The {self._label} prober is not running."))
        if self._job is not None:
            hint = f"The {self._label} prober was given a second run; please report this."
            return succeed(ended(END_FAILED, "prober_busy", hint, BLAME_US))
        job = _Job(run, on_progress, Deferred(), on_relay)
        self._job = job
        self._watch(job)
        self._submit()
        return job.done

    def abort(self, run: RunKey) -> None:
        """Call a run off; how it ended comes through its Deferred. Another run is not touched."""
        job = self._job
        if job is None or job.run.run != run:
            return
        if not job.sent:
            self._end_job(cancelled())
            return
        if self._process is not None and job.verdict is None:
            job.verdict = cancelled
            self._process.send(ToProber(abort=ProberAbort(run=run)))
            timer = self._clock.callLater(ABORT_DEADLINE_S, self._kill, "it did not stop in time")
            job.timers.append(timer)

    def relay(self, relay: Relay) -> None:
        """Tell the run in work what its partner says; another run is not touched."""
        job = self._job
        if self._process is not None and job is not None and job.sent and job.run.run == relay.run:
            self._process.send(ToProber(relay=relay))

    def stop(self) -> Deferred[None]:
        """End the process, and with it the run in work; fires when it is gone."""
        self._stopped = True
        self._cancel_timer()
        if self._process is None:
            self._wind_up()
            return succeed(None)
        if self._job is not None:
            self._job.verdict = cancelled
        self._process.hang_up()
        self._timer = self._clock.callLater(STOP_DEADLINE_S, self._kill, "it did not stop in time")
        waiting = Deferred[None]()
        self._stopping.append(waiting)
        return waiting

    def _spawn(self) -> None:
        self._timer = None
        try:
            self._process = WorkerProcess(
                self._reactor, self._command, on_message=self._heard, on_gone=self._gone
            )
        except OSError as error:
            self._gone(f"this host does not start it: {error}")
            return
        self._timer = self._clock.callLater(
            START_DEADLINE_S, self._kill, f"it was not ready within {START_DEADLINE_S:.0f} s"
        )

    def _heard(self, message: FromProber) -> None:
        match message.WhichOneof("body"):
            case "ready":
                self._is_ready(message.ready)
            case "progress":
                self._progressed(message.progress)
            case "done":
                if self._job is not None and self._job.run.run == message.done.run:
                    self._remark(message.done.capture_remark)
                    self._end_job(message.done.outcome)
            case "relay":
                self._relayed(message.relay)
            case None:
                self._kill("it sent garbage")

    def _is_ready(self, ready: ProberReady) -> None:
        if self._stopped:
            return
        self._cancel_timer()
        self.ready = ready
        self._ready_at_s = self._clock.seconds()
        starting, self._starting = self._starting, None
        if starting is not None:
            starting.callback(ready)
        self._submit()

    def _progressed(self, progress: ProberProgress) -> None:
        job = self._job
        if job is None or job.run.run != progress.run:
            return
        job.cost.CopyFrom(progress.cost)
        if job.on_progress is not None:
            try:
                job.on_progress(progress)
            except Exception:
                log.failure("showing the progress of a run failed")

    def _remark(self, text: str) -> None:
        """Say it to whoever runs this host, not after every run again."""
        if text and text != self._remarked:
            self._on_remark(text)
        self._remarked = text

    def _log_remark(self, text: str) -> None:
        log.warn("the {label} prober: {text}", label=self._label, text=text)

    def _relayed(self, relay: Relay) -> None:
        job = self._job
        if job is not None and job.run.run == relay.run and job.on_relay is not None:
            job.on_relay(relay)

    def _submit(self) -> None:
        """Hand the waiting run over, once there is somebody to take it."""
        job = self._job
        if job is None or job.sent or self.ready is None or self._process is None:
            return
        job.sent = True
        self._process.send(ToProber(run=job.run))

    def _watch(self, job: _Job) -> None:
        """See to it that the run ends: kill what is silent past stop_by."""
        left_s = (job.run.stop_by_boottime_ns - self._boottime_ns()) / 1e9 + STUCK_GRACE_S
        if left_s > 0:
            job.timers[:] = [timer for timer in job.timers if timer.active()]
            job.timers.append(self._clock.callLater(left_s, self._watch, job))
        elif job.sent:
            job.verdict = job.verdict or stuck
            self._kill("it was silent past its deadline")
        else:
            self._end_job(unavailable(f"The {self._label} prober did not come back in time."))

    def _kill(self, why: str) -> None:
        if self._process is not None:
            self._process.kill(why)

    def _gone(self, why: str) -> None:
        """The process is dead and buried."""
        lived_s = self._clock.seconds() - self._ready_at_s if self._ready_at_s is not None else 0.0
        self._process = self.ready = self._ready_at_s = None
        self._cancel_timer()
        starting, self._starting = self._starting, None
        if starting is not None:
            self._stopped = True
        if not self._stopped:
            self._replace(why, lived_s)
        job = self._job
        if job is not None and (job.sent or self._stopped):
            verdict = job.verdict or (lambda cost: crashed(why, cost))
            self._end_job(verdict(job.cost))
        if starting is not None:
            starting.errback(ProberUnavailable(why.removeprefix("prober: ")))
        if self._stopped:
            self._wind_up()

    def _replace(self, why: str, lived_s: float) -> None:
        if lived_s >= HEALTHY_S:
            self._pause_s = 0.0
        log.warn(
            "the {label} prober is gone ({why}); starting another in {pause:.0f} s",
            label=self._label,
            why=why,
            pause=self._pause_s,
        )
        self._timer = self._clock.callLater(self._pause_s, self._spawn)
        self._pause_s = min(LONGEST_PAUSE_S, max(FIRST_PAUSE_S, 2 * self._pause_s))

    def _wind_up(self) -> None:
        if self._job is not None:
            self._end_job(cancelled())
        waiting, self._stopping = self._stopping, []
        for deferred in waiting:
            deferred.callback(None)

    def _end_job(self, outcome: Outcome) -> None:
        job, self._job = self._job, None
        if job is not None:
            job.end(outcome)

    def _cancel_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
