"""All requests together: PM_SYN's one scheduler. Events in, decisions out; no clock, no I/O.

At most one agent may be sending to a destination at any moment, over all rounds, and one agent
has at most one run. The driver hands in events as they come, carries out the decisions in their
order, and sends `TimePassed` at `wake_at_ns` at the latest.
"""

from __future__ import annotations

from typing import assert_never

from emodis.scheduling.deadlines import Deadlines
from emodis.scheduling.model import (
    Abort,
    AgentId,
    AgentJoined,
    AgentLost,
    Decision,
    End,
    Event,
    MeasurementCancelled,
    MeasurementId,
    RoundAdmitted,
    RoundEnded,
    RunEnded,
    RunKey,
    TimePassed,
    Why,
)
from emodis.scheduling.offers import Offers
from emodis.scheduling.places import Lease, Run
from emodis.scheduling.register import Register
from emodis.scheduling.round import Round
from emodis.scheduling.runs import Runs

_LEASE_NS = 120 * 10**9
_REASONS = {
    Why.LOST: "agent_lost",
    Why.EXPIRED: "no_result_in_time",
    Why.CANCELLED: "cancelled",
}


class Scheduler:
    """One for all requests of a master (or of a client or a test that stands in for one)."""

    def __init__(self, *, rtt_max_ns: int, lease_ns: int = _LEASE_NS) -> None:
        """`rtt_max_ns` is the keepalive's; the pairs of an absent agent wait `lease_ns`."""
        self._lease_ns = lease_ns
        self._now_ns = 0
        self._register = Register()
        self._deadlines: Deadlines[Run[Round] | Lease[Round]] = Deadlines()
        self._offers = Offers()
        self._runs = Runs(rtt_max_ns, self._deadlines, self._offers)
        self._decisions: list[Decision] = []

    @property
    def wake_at_ns(self) -> int | None:
        """When the driver must send `TimePassed`, if nothing else happens before."""
        return self._deadlines.next_ns

    @property
    def remembered(self) -> int:
        """How many agents, destinations, rounds and runs are known: what a leak would show in."""
        return len(self._register) + len(self._runs)

    def load(self, agent: AgentId) -> int:
        """How many pairs of the agent have not ended, over all rounds."""
        known = self._register.known_agent(agent)
        return known.load if known else 0

    def overlapping(self, run: RunKey) -> tuple[RunKey, ...]:
        """Which other runs touched its destination or agent while it was possibly sending.

        The locks leave one case: a run that said nothing until its `stop_by`, and the run that
        was started in its place before it did. Known until about a thousand more such ended.
        """
        return self._runs.overlapping(run)

    def handle(self, event: Event) -> tuple[Decision, ...]:
        """Take one event in and say everything that follows from it, in order.

        A time before that of an earlier event counts as the earlier one's. Deadlines pass by
        `TimePassed` alone: after a standstill a driver can first hand in what arrived meanwhile,
        and all of it is in time, whatever the other events are dated.

        Raises:
            ValueError: for a round that is under way already, or whose `pairs` do not fit it;
                nothing has been changed then.
        """
        self._now_ns = max(self._now_ns, event.at_ns)
        self._take_in(event)
        self._offers.sweep(self._start)
        self._register.forget(self._offers.agents, self._offers.destinations)
        self._offers.clear()
        decisions, self._decisions = tuple(self._decisions), []
        return decisions

    def _take_in(self, event: Event) -> None:
        match event:
            case RoundAdmitted():
                self._admit(event)
            case RunEnded():
                self._end_run(event)
            case AgentJoined():
                self._join(event.agent)
            case AgentLost():
                self._lose(event.agent)
            case MeasurementCancelled():
                self._cancel(event.measurement)
            case TimePassed():
                self._pass_deadlines()
            case _:
                assert_never(event)

    def _admit(self, event: RoundAdmitted) -> None:
        round_ = self._register.enter(event)
        for member, agent in enumerate(round_.agents):
            if not agent.present:
                self._set_aside(round_, member, begun=None)
        self._settle(round_, moved=True)

    def _end_run(self, event: RunEnded) -> None:
        key = event.run
        run = self._runs.get(key)
        ends_its_pair = run is not None and run.open
        if run is not None:
            self._runs.release(run)
        round_ = self._register.round_of(key)
        if round_ is None:
            return
        if ends_its_pair or (round_.awaits(key) and not event.unfinished):
            self._end_pair(round_, round_.members[key.agent], key.destination)
            self._settle(round_, moved=False)

    def _join(self, agent_id: AgentId) -> None:
        agent = self._register.agent(agent_id)
        if agent.present and agent.run is not None:
            self._lose(agent_id)
        agent.present = True
        for _, member, round_ in agent.rounds:
            if (lease := round_.leases.pop(member, None)) is not None:
                self._deadlines.cancel(lease)
        self._offers.agents[agent] = None

    def _lose(self, agent_id: AgentId) -> None:
        agent = self._register.known_agent(agent_id)
        if agent is None or not agent.present:
            return
        agent.present = False
        self._offers.agents[agent] = None
        begun = agent.run if agent.run is not None and agent.run.open else None
        if begun is not None:
            self._runs.close(begun)
        for _, member, round_ in tuple(agent.rounds):
            mine = begun if begun is not None and begun.round is round_ else None
            if round_.retrying:
                if mine is not None:
                    self._end_begun(mine, Why.LOST)
                self._give_up(round_, member, Why.LOST)
            else:
                self._set_aside(round_, member, begun=mine)
            self._settle(round_, moved=True)

    def _cancel(self, measurement: MeasurementId) -> None:
        for round_ in self._register.rounds(measurement):
            for member, agent in enumerate(round_.agents):
                run = agent.run
                if run is not None and run.open and run.round is round_:
                    self._runs.close(run)
                    self._decisions.append(Abort(run=run.key))
                    self._end_begun(run, Why.CANCELLED)
                self._give_up(round_, member, Why.CANCELLED)
            self._settle(round_, moved=False)

    def _pass_deadlines(self) -> None:
        for subject in self._deadlines.due(self._now_ns):
            if isinstance(subject, Lease):
                del subject.round.leases[subject.member]
                self._give_up(subject.round, subject.member, Why.LOST)
                self._settle(subject.round, moved=True)
            elif self._runs.pass_deadline(subject):
                self._runs.release(subject)
                self._decisions.append(Abort(run=subject.key))
                self._end_begun(subject, Why.EXPIRED)
                self._settle(subject.round, moved=False)

    def _start(self, round_: Round, member: int, destination: int) -> None:
        self._decisions.append(self._runs.start(round_, member, destination, self._now_ns))

    def _set_aside(self, round_: Round, member: int, *, begun: Run[Round] | None) -> None:
        if round_.set_aside(member, begun.key.destination if begun else None):
            lease = Lease(round_, member)
            round_.leases[member] = self._deadlines.set(self._now_ns + self._lease_ns, lease)

    def _give_up(self, round_: Round, member: int, why: Why) -> None:
        # It may be standing idle for the sake of this round only.
        self._offers.agents[round_.agents[member]] = None
        for key in round_.give_up(member):
            self._decisions.append(End(run=key, why=why, reason=_REASONS[why]))

    def _end_begun(self, run: Run[Round], why: Why) -> None:
        self._decisions.append(End(run=run.key, why=why, reason=_REASONS[why]))
        self._end_pair(run.round, run.member, run.key.destination)

    def _end_pair(self, round_: Round, member: int, destination: int) -> None:
        if round_.end(member, destination):
            self._offers.rounds[round_] = None

    def _settle(self, round_: Round, *, moved: bool) -> None:
        """After any change to a round: over, second pass, or whom to ask again."""
        if not round_.left:
            self._finish(round_)
        elif round_.turn_over() or moved:
            self._offers.rounds[round_] = None

    def _finish(self, round_: Round) -> None:
        for lease in round_.leases.values():
            self._deadlines.cancel(lease)
        self._register.leave(round_)
        self._decisions.append(
            RoundEnded(measurement=round_.event.measurement, round=round_.event.round)
        )
