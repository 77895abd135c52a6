"""A long life of chance under the eyes of `PlainScheduler`: what fifty steps do not reach."""

from __future__ import annotations

import random

import attrs
import pytest

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
    TimePassed,
)
from tests.model.plain_scheduler import PlainScheduler, keys

RTT_MAX_NS = 3
LEASE_NS = 40
AGENTS = [AgentId(name) for name in "abcde"]
MEASUREMENTS = [MeasurementId(f"m{number}") for number in range(6)]


class Story:
    """Up to three rounds at any time; agents end runs, stay silent, vanish and come back."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.scheduler = Scheduler(rtt_max_ns=RTT_MAX_NS, lease_ns=LEASE_NS)
        self.plain = PlainScheduler(rtt_max=RTT_MAX_NS, lease=LEASE_NS)
        self.round = 0

    def live(self, steps: int) -> None:
        happenings = [self.end] * 8 + [self.wait, self.report_again, self.join, self.lose]
        for _ in range(steps):
            if len(self.plain.rounds) < 3:
                self.tell(self.another_round())
            event = self.chance.choice(happenings)()
            if event is not None:
                self.tell(event)
            if self.chance.random() < 0.01:
                measurement = self.chance.choice(MEASUREMENTS)
                self.tell(MeasurementCancelled(at_ns=self.plain.now, measurement=measurement))

    def tell(self, event: Event) -> None:
        self.plain.hear(event, self.scheduler.handle(event))

    def another_round(self) -> RoundAdmitted:
        self.round += 1
        return RoundAdmitted(
            at_ns=self.plain.now,
            measurement=self.chance.choice(MEASUREMENTS),
            round=self.round,
            policy=self.chance.choice([Policy.RING, Policy.RING, Policy.LOCK]),
            agents=tuple(self.chance.sample(AGENTS, self.chance.randint(1, 5))),
            destinations=keys("".join(self.chance.choices("wxyz", k=self.chance.randint(1, 5)))),
            worst_case_ns=self.chance.choice([0, 4, 10, 25]),
            exclusive=True,
            priority=int(self.chance.random() < 0.2),
        )

    def end(self) -> Event | None:
        running = sorted(self.plain.open)
        return RunEnded(at_ns=self.plain.now, run=self.chance.choice(running)) if running else None

    def report_again(self) -> Event | None:
        """A run that is not in work: lost, ended, or one there never was."""
        known = [run for round_ in self.plain.rounds for run in round_.latest.values()]
        past = [run for run in known if run not in self.plain.open]
        if not past:
            return None
        run = self.chance.choice(past)
        if self.chance.random() < 0.2:
            run = attrs.evolve(run, attempt=1 - run.attempt)
        unfinished = self.chance.random() < 0.3
        return RunEnded(at_ns=self.plain.now, run=run, unfinished=unfinished)

    def wait(self) -> Event:
        wait_ns = self.chance.choice([0, 1, 2, 5, 11, LEASE_NS])
        wake_at_ns = self.scheduler.wake_at_ns
        if wake_at_ns is not None and self.chance.random() < 0.7:
            return TimePassed(at_ns=wake_at_ns)
        return TimePassed(at_ns=self.plain.now + wait_ns)

    def join(self) -> Event:
        return AgentJoined(at_ns=self.plain.now, agent=self.chance.choice(AGENTS))

    def lose(self) -> Event | None:
        """Half as often as they join."""
        if self.chance.random() < 0.5:
            return None
        return AgentLost(at_ns=self.plain.now, agent=self.chance.choice(AGENTS))


@pytest.mark.parametrize("seed", range(6))
def test_a_long_story(seed: int) -> None:
    Story(seed).live(steps=1500)
