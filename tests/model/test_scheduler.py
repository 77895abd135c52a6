"""Whatever joins, leaves, refuses, stalls or is cancelled, the scheduler keeps its promises."""

from __future__ import annotations

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from emodis.scheduling.core import Scheduler
from emodis.scheduling.model import (
    AgentId,
    AgentJoined,
    AgentLost,
    Event,
    MeasurementCancelled,
    MeasurementId,
    Policy,
    RoundAdmitted,
    RunEnded,
    RunKey,
    TimePassed,
)
from tests.model.plain_scheduler import PlainScheduler, cancelled, keys

RTT_MAX_NS = 3
LEASE_NS = 40
AGENTS = [AgentId(name) for name in "abcde"]
MEASUREMENTS = [MeasurementId(f"m{number}") for number in range(6)]
# Mostly at the same moment, sometimes a little later, now and then long after; also backwards.
WAITS = st.sampled_from([0, 0, 0, 0, 0, 0, 1, 2, 5, 11, 60, -7])


@st.composite
def rounds(draw: st.DrawFn, at_ns: int, number: int) -> RoundAdmitted:
    """Any round, mostly of several agents and several destinations, some of them the same."""
    fewest = draw(st.sampled_from([0, 2, 3]))
    agents = draw(st.lists(st.sampled_from(AGENTS), min_size=fewest, unique=True))
    destinations = draw(st.text("wxyz", min_size=fewest, max_size=4))
    pairs = None
    if agents and destinations and draw(st.integers(0, 4)) == 0:
        pair = st.tuples(st.sampled_from(agents), st.integers(0, len(destinations) - 1))
        pairs = draw(st.frozensets(pair))
    return RoundAdmitted(
        at_ns=at_ns,
        measurement=draw(st.sampled_from(MEASUREMENTS)),
        round=number,
        policy=draw(st.sampled_from(Policy)),
        agents=tuple(agents),
        destinations=keys(destinations),
        worst_case_ns=draw(st.sampled_from([0, 4, 10, 25])),
        exclusive=draw(st.booleans()),
        pairs=pairs,
        priority=draw(st.sampled_from([0, 0, 0, 1])),
    )


class SchedulerMachine(RuleBasedStateMachine):
    """Drives the scheduler; `PlainScheduler` judges."""

    def __init__(self) -> None:
        super().__init__()
        self.scheduler = Scheduler(rtt_max_ns=RTT_MAX_NS, lease_ns=LEASE_NS)
        self.plain = PlainScheduler(rtt_max=RTT_MAX_NS, lease=LEASE_NS)
        self.admitted = 0

    def tell(self, event: Event) -> None:
        self.plain.hear(event, self.scheduler.handle(event))

    @initialize(agents=st.sets(st.sampled_from(AGENTS)), data=st.data())
    def begin_with(self, agents: set[AgentId], data: st.DataObject) -> None:
        for agent in sorted(agents):
            self.tell(AgentJoined(at_ns=0, agent=agent))
        for _ in range(2):
            self.tell(data.draw(rounds(1, self.next_round())))

    def next_round(self) -> int:
        self.admitted += 1
        return self.admitted

    @rule(wait=WAITS, data=st.data())
    def admit(self, wait: int, data: st.DataObject) -> None:
        self.tell(data.draw(rounds(self.plain.now + wait, self.next_round())))

    @precondition(lambda self: self.plain.open)
    @rule(wait=WAITS, several=st.integers(1, 3), data=st.data())
    def end_runs(self, wait: int, several: int, data: st.DataObject) -> None:
        for _ in range(several):
            if self.plain.open:
                self.end_a_run(wait, data)

    def end_a_run(self, wait: int, data: st.DataObject) -> None:
        run = data.draw(st.sampled_from(sorted(self.plain.open)))
        self.tell(RunEnded(at_ns=self.plain.now + wait, run=run))

    @precondition(lambda self: self.plain.started)
    @rule(wait=WAITS, unfinished=st.booleans(), data=st.data())
    def hear_of_any_run_again(self, wait: int, unfinished: bool, data: st.DataObject) -> None:
        run = data.draw(st.sampled_from(sorted(self.plain.started)))
        self.tell(RunEnded(at_ns=self.plain.now + wait, run=run, unfinished=unfinished))

    @rule(agent=st.sampled_from(AGENTS), measurement=st.sampled_from(MEASUREMENTS))
    def hear_of_an_unknown_run(self, agent: AgentId, measurement: MeasurementId) -> None:
        for round_ in (self.admitted, self.admitted + 1):
            run = RunKey(measurement, round_, agent, destination=0, attempt=7)
            self.tell(RunEnded(at_ns=self.plain.now, run=run))

    @rule(wait=WAITS, agent=st.sampled_from(AGENTS))
    def join(self, wait: int, agent: AgentId) -> None:
        self.tell(AgentJoined(at_ns=self.plain.now + wait, agent=agent))

    @rule(wait=WAITS, agent=st.sampled_from(AGENTS))
    def lose(self, wait: int, agent: AgentId) -> None:
        self.tell(AgentLost(at_ns=self.plain.now + wait, agent=agent))

    @rule(wait=WAITS, measurement=st.sampled_from(MEASUREMENTS))
    def cancel(self, wait: int, measurement: MeasurementId) -> None:
        self.tell(MeasurementCancelled(at_ns=self.plain.now + wait, measurement=measurement))
        assert cancelled(self.plain.rounds, measurement)

    @rule(wait=WAITS)
    def let_time_pass(self, wait: int) -> None:
        self.tell(TimePassed(at_ns=self.plain.now + wait))

    @precondition(lambda self: self.scheduler.wake_at_ns is not None)
    @rule()
    def wake(self) -> None:
        assert self.scheduler.wake_at_ns is not None
        self.tell(TimePassed(at_ns=self.scheduler.wake_at_ns))

    @invariant()
    def never_two_on_a_destination_nor_two_runs_on_an_agent(self) -> None:
        sending = self.plain.sending
        assert len({self.plain.started[run].destination for run in sending}) == len(sending)
        assert len({run.agent for run in sending}) == len(sending)

    @invariant()
    def load_is_what_is_left(self) -> None:
        for agent in AGENTS:
            left = sum(a == agent for round_ in self.plain.rounds for a, _ in round_.pairs)
            assert self.scheduler.load(agent) == left

    def teardown(self) -> None:
        """Nobody says anything any more: time alone ends all, and nothing is remembered."""
        pairs = sum(len(round_.pairs) for round_ in self.plain.rounds)
        for _ in range(4 * (pairs + 5 + len(AGENTS) * len(self.plain.rounds))):
            if self.scheduler.wake_at_ns is None:
                break
            self.tell(TimePassed(at_ns=self.scheduler.wake_at_ns))
        assert self.scheduler.wake_at_ns is None
        assert not self.plain.rounds, "every round ends"
        for agent in AGENTS:
            self.tell(AgentLost(at_ns=self.plain.now, agent=agent))
        assert self.scheduler.remembered == 0


# Shrinking takes minutes here: add Phase.shrink when a failure is too long to understand.
SchedulerMachine.TestCase.settings = settings(
    stateful_step_count=50,
    report_multiple_bugs=False,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)
TestScheduler = SchedulerMachine.TestCase
