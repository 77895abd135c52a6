"""What the scheduler promises, written down as plainly as possible: sets, loops, no speed at all.

It decides nothing. It hears the same events as the scheduler, is shown every decision, and
complains about the first that may not be or that is missing.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from emodis.scheduling.model import (
    Abort,
    AgentId,
    AgentJoined,
    AgentLost,
    Decision,
    DestinationKey,
    End,
    Event,
    MeasurementCancelled,
    MeasurementId,
    Policy,
    RoundAdmitted,
    RoundEnded,
    RunEnded,
    RunKey,
    Start,
    TimePassed,
    Why,
)

Pair = tuple[AgentId, int]


@attrs.define(eq=False)
class PlainRound:
    """A round as a set of pairs that have not ended."""

    event: RoundAdmitted
    rank: tuple[int, int]
    admitted_ns: int
    pairs: set[Pair] = attrs.field(init=False)
    retrying: bool = False
    over: bool = False
    begun: set[AgentId] = attrs.field(factory=set)
    # How often the agent was absent, counting from the admission.
    absences: dict[AgentId, int] = attrs.field(factory=dict)
    # Attempts so far, and the latest of them.
    starts: dict[Pair, int] = attrs.field(factory=dict)
    latest: dict[Pair, RunKey] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        event = self.event
        every = {(a, d) for a in event.agents for d in range(len(event.destinations))}
        self.pairs = every if event.pairs is None else set(event.pairs)

    def in_main_pass(self, agent: AgentId) -> bool:
        return not self.absences.get(agent) and not self.retrying

    def in_the_middle_of(self, agent: AgentId) -> bool:
        """A ring that holds the agent: begun, not finished, not lost."""
        return (
            self.event.policy is Policy.RING
            and self.in_main_pass(agent)
            and agent in self.begun
            and any(a == agent for a, _ in self.pairs)
        )

    def before(self, pair: Pair) -> Iterator[Pair]:
        """What the ring has done before this pair: TECHNIQUES.md section 6, word by word."""
        agent, destination = pair
        size = len(self.event.destinations)
        place = self.event.agents.index(agent)
        phase, i = divmod(place, size)
        visit = (destination - i) % size
        for other, a in enumerate(self.event.agents):
            if other // size < phase:
                yield from ((a, d) for d in range(size))
            elif other // size == phase:
                if (destination - other % size) % size < visit:
                    yield (a, destination)
                if a == agent:
                    yield from ((a, d) for d in range(size) if (d - i) % size < visit)

    def wants(self, pair: Pair) -> bool:
        """Whether the policy alone would let this pair begin now."""
        agent, _ = pair
        if self.retrying:
            return True
        if not self.in_main_pass(agent):
            return False
        if self.event.policy is Policy.LOCK:
            return True
        return not any(
            other in self.pairs and self.in_main_pass(other[0]) for other in self.before(pair)
        )

    def turn_over(self) -> None:
        if self.pairs and not any(self.in_main_pass(a) for a, _ in self.pairs):
            self.retrying = True


@attrs.define(eq=False)
class PlainScheduler:
    """The whole of it; times in whatever unit the test uses."""

    rtt_max: int
    lease: int
    now: int = 0
    present: set[AgentId] = attrs.field(factory=set)
    absent_since: dict[AgentId, int] = attrs.field(factory=dict)
    rounds: list[PlainRound] = attrs.field(factory=list)
    # Every assignment ever made; those whose agent may be sending; those whose pair is theirs.
    started: dict[RunKey, Start] = attrs.field(factory=dict)
    sending: set[RunKey] = attrs.field(factory=set)
    open: set[RunKey] = attrs.field(factory=set)

    def hear(self, event: Event, decisions: tuple[Decision, ...]) -> None:
        """Take the event in, then hold every decision against the promises."""
        self.now = max(self.now, event.at_ns)
        vanished = self._take_in(event)
        ended = [d for d in decisions if isinstance(d, RoundEnded)]
        assert len(ended) == len(set(ended)), "a round ended twice"
        for decision in decisions:
            if isinstance(decision, End):
                self._check_end(decision, event, vanished)
            elif isinstance(decision, Abort):
                assert decision.run in self.started, "aborted what was never started"
        if isinstance(event, TimePassed):
            self.sending = {r for r in self.sending if self.started[r].stop_by_ns > self.now}
        for round_ in self.rounds:
            gone = vanished if round_.retrying else set()
            assert not any(agent in gone for agent, _ in round_.pairs), "one retry only"
            told = RoundEnded(measurement=round_.event.measurement, round=round_.event.round)
            assert (told in ended) == (not round_.pairs and not round_.over), "when a round ends"
            round_.over = not round_.pairs
            round_.turn_over()
        self.rounds = [round_ for round_ in self.rounds if not round_.over]
        for decision in decisions:
            if isinstance(decision, Start):
                self._check_start(decision)
        assert not list(self.permitted()), "somebody idles who could measure"
        if isinstance(event, TimePassed):
            self._check_deadlines()

    def permitted(self) -> Iterator[tuple[PlainRound, Pair]]:
        """Every pair that could begin at this moment."""
        locked = {self.started[run].destination for run in self.sending}
        busy = {run.agent for run in self.sending | self.open}
        for round_ in self.rounds:
            for pair in round_.pairs:
                agent, destination = pair
                if agent not in self.present or agent in busy:
                    continue
                if round_.event.destinations[destination] in locked:
                    continue
                if any(r.rank < round_.rank and r.in_the_middle_of(agent) for r in self.rounds):
                    continue
                if round_.wants(pair):
                    yield round_, pair

    def _round(self, run: RunKey) -> PlainRound | None:
        for round_ in self.rounds:
            if (round_.event.measurement, round_.event.round) == (run.measurement, run.round):
                return round_
        return None

    def _take_in(self, event: Event) -> set[AgentId]:
        """Returns the agents that vanish with this event, even if they are back at once."""
        match event:
            case RoundAdmitted():
                rank = (-event.priority, max((r.rank[1] for r in self.rounds), default=0) + 1)
                round_ = PlainRound(event, rank, self.now)
                absent = (a for a in event.agents if a not in self.present)
                round_.absences = dict.fromkeys(absent, 1)
                self.rounds.append(round_)
            case RunEnded():
                self._take_result(event)
            case AgentJoined(agent=agent):
                again = agent in self.present
                vanished = again and any(r.agent == agent for r in self.sending | self.open)
                if vanished:
                    self._vanish(agent)
                self.present.add(agent)
                return {agent} if vanished else set()
            case AgentLost(agent=agent):
                if agent in self.present:
                    self._vanish(agent)
                    return {agent}
            case MeasurementCancelled() | TimePassed():
                pass
        return set()

    def _take_result(self, event: RunEnded) -> None:
        run = event.run
        pair = (run.agent, run.destination)
        round_ = self._round(run)
        ends = run in self.open or not event.unfinished
        if round_ is not None and pair in round_.pairs and round_.latest.get(pair) == run and ends:
            round_.pairs.remove(pair)
        self.sending.discard(run)
        self.open.discard(run)

    def _vanish(self, agent: AgentId) -> None:
        self.present.discard(agent)
        self.absent_since[agent] = self.now
        for round_ in self.rounds:
            if agent in round_.event.agents:
                round_.absences[agent] = round_.absences.get(agent, 0) + 1
        self.open = {run for run in self.open if run.agent != agent}

    def _check_end(self, end: End, event: Event, vanished: set[AgentId]) -> None:
        run, round_ = end.run, self._round(end.run)
        pair = (run.agent, run.destination)
        assert round_ is not None, "a pair of a round that is over"
        assert pair in round_.pairs, "a pair ends once"
        assert round_.latest.get(pair, attrs.evolve(run, attempt=0)) == run, "the latest attempt"
        assert end.reason
        match end.why:
            case Why.LOST:
                passed = isinstance(event, TimePassed)
                waited = passed and self.now >= self._lease_ends(round_, run.agent)
                again = run.agent in vanished and round_.retrying
                assert again or (run.agent not in self.present and waited)
            case Why.EXPIRED:
                assert run in self.open
                assert isinstance(event, TimePassed)
                assert self.now >= self.started[run].stop_by_ns + self.rtt_max
            case Why.CANCELLED:
                assert isinstance(event, MeasurementCancelled)
                assert event.measurement == run.measurement
        round_.pairs.remove(pair)
        self.open.discard(run)

    def _check_start(self, start: Start) -> None:
        run, round_ = start.run, self._round(start.run)
        pair = (run.agent, run.destination)
        assert round_ is not None
        assert start.destination == round_.event.destinations[run.destination]
        assert start.start_by_ns == self.now + self.rtt_max
        assert start.stop_by_ns == start.start_by_ns + round_.event.worst_case_ns
        possible = list(self.permitted())
        assert (round_, pair) in possible, "exclusive, in order, once"
        for other, (agent, destination) in possible:
            if other.rank < round_.rank:
                key = other.event.destinations[destination]
                assert agent != run.agent, "an older request of this agent goes first"
                assert key != start.destination, "an older request of this destination goes first"
        assert run.attempt == round_.starts.get(pair, 0) <= 1, "one retry"
        assert run not in self.started
        round_.starts[pair] = run.attempt + 1
        round_.latest[pair] = run
        round_.begun.add(run.agent)
        self.started[run] = start
        self.sending.add(run)
        self.open.add(run)

    def _lease_ends(self, round_: PlainRound, agent: AgentId) -> int:
        return max(self.absent_since.get(agent, 0), round_.admitted_ns) + self.lease

    def _check_deadlines(self) -> None:
        for run in self.open:
            end_ns = self.started[run].stop_by_ns + self.rtt_max
            assert end_ns > self.now or self.started[run].start_by_ns == self.now + self.rtt_max
        for round_ in self.rounds:
            for agent, _ in round_.pairs:
                if agent not in self.present:
                    assert self.now < self._lease_ends(round_, agent), "its lease has run out"


def cancelled(rounds: list[PlainRound], measurement: MeasurementId) -> bool:
    """Whether nothing of the measurement is left."""
    return not any(round_.event.measurement == measurement for round_ in rounds)


def keys(names: str) -> tuple[DestinationKey, ...]:
    return tuple(DestinationKey(name) for name in names)
