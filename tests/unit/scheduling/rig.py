"""A scheduler on a bench: short names in, what it decided out, in words one can compare."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from emodis.scheduling.core import Scheduler
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
)

RTT_MAX_NS = 5
LEASE_NS = 1000
WORST_NS = 100
# From a start: when the destination is free in any case, and when the pair has expired.
STOP_NS = RTT_MAX_NS + WORST_NS
EXPIRED_NS = STOP_NS + RTT_MAX_NS


def said(decision: Decision) -> str:
    """A decision in a few words; runs as measurement:agent>destination, ' for the retry."""
    match decision:
        case Start(run=run):
            return f"start {name(run)}"
        case Abort(run=run):
            return f"abort {name(run)}"
        case End(run=run, why=why):
            return f"{why.value} {name(run)}"
        case RoundEnded(measurement=measurement):
            return f"over {measurement}"


def name(run: RunKey) -> str:
    return f"{run.measurement}:{run.agent}>{run.destination + 1}" + "'" * run.attempt


def key(text: str) -> RunKey:
    """The run that `name` would call so."""
    measurement, _, rest = text.partition(":")
    agent, _, destination = rest.partition(">")
    return RunKey(
        measurement=MeasurementId(measurement),
        round=0,
        agent=AgentId(agent),
        destination=int(destination.rstrip("'")) - 1,
        attempt=destination.count("'"),
    )


@attrs.define
class Rig:
    """Every method tells the scheduler one thing and returns what it said to it."""

    scheduler: Scheduler = attrs.field(
        factory=lambda: Scheduler(rtt_max_ns=RTT_MAX_NS, lease_ns=LEASE_NS)
    )
    now_ns: int = 0
    starts: dict[str, Start] = attrs.field(factory=dict)

    def tell(self, event: Event) -> list[str]:
        decisions = self.scheduler.handle(event)
        self.starts |= {name(d.run): d for d in decisions if isinstance(d, Start)}
        return [said(decision) for decision in decisions]

    def join(self, *agents: str) -> list[str]:
        heard: list[str] = []
        for agent in agents:
            heard += self.tell(AgentJoined(at_ns=self.now_ns, agent=AgentId(agent)))
        return heard

    def lose(self, agent: str) -> list[str]:
        return self.tell(AgentLost(at_ns=self.now_ns, agent=AgentId(agent)))

    def admit(
        self,
        agents: str,
        destinations: str,
        *,
        measurement: str = "m",
        policy: Policy = Policy.LOCK,
        worst_case_ns: int = WORST_NS,
        pairs: Iterable[tuple[str, int]] | None = None,
        priority: int = 0,
    ) -> list[str]:
        """One letter per agent and per destination; pairs count destinations from 0."""
        chosen = None if pairs is None else frozenset((AgentId(a), d) for a, d in pairs)
        return self.tell(
            RoundAdmitted(
                at_ns=self.now_ns,
                measurement=MeasurementId(measurement),
                round=0,
                policy=policy,
                agents=tuple(AgentId(agent) for agent in agents),
                destinations=tuple(DestinationKey(letter) for letter in destinations),
                worst_case_ns=worst_case_ns,
                exclusive=True,
                pairs=chosen,
                priority=priority,
            )
        )

    def end(self, run: str, *, unfinished: bool = False) -> list[str]:
        return self.tell(RunEnded(at_ns=self.now_ns, run=key(run), unfinished=unfinished))

    def cancel(self, measurement: str) -> list[str]:
        return self.tell(
            MeasurementCancelled(at_ns=self.now_ns, measurement=MeasurementId(measurement))
        )

    def at(self, now_ns: int) -> list[str]:
        """Let it be this time."""
        self.now_ns = now_ns
        return self.tell(TimePassed(at_ns=now_ns))
