"""`emodis-lab bench accuracy`: is what the techniques say true, on seeded random paths?

Each path is a lab of its own; the commands run in it as a user would run them, and their answers
are compared with the lab's truth. What was measured is kept after each path, so that a long run can
be broken off and continued.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

import attrs

from emodis.lab.bench.document import SCHEMA
from emodis.lab.bench.measure import Task, measure
from emodis.lab.bench.paths import Seeds
from emodis.lab.bench.subjects import SUBJECTS, tally
from emodis.lab.bench.tally import table
from emodis.lab.bench.trial import Access, Trial


@attrs.frozen(kw_only=True)
class Plan:
    """What was asked for: so many paths of each kind from number `first` on."""

    counts: Mapping[str, int]
    techniques: Sequence[str]
    seeds: Seeds
    first: int = 0
    access: Access = Access.FULL

    def tasks(self, known: Sequence[Trial]) -> Iterator[Task]:
        """All that is not known yet, path by path."""
        done = {(trial.TECHNIQUE, trial.kind, trial.number) for trial in known}
        for kind, count in self.counts.items():
            wanted = [name for name in self.techniques if kind in SUBJECTS[name].kinds]
            for number in range(self.first, self.first + count):
                missing = [name for name in wanted if (name, kind, number) not in done]
                if missing:
                    yield Task(
                        kind=kind,
                        seeds=self.seeds,
                        number=number,
                        techniques=missing,
                        access=self.access,
                    )

    def __str__(self) -> str:
        rights = ", without capabilities" if self.access is Access.UNPRIVILEGED else ""
        return f"{self.seeds.value} seeds from {self.first}{rights}"

    def as_json(self) -> dict[str, Any]:
        return {
            "techniques": list(self.techniques),
            "seeds": self.seeds.value,
            "first_seed": self.first,
            "access": self.access.value,
            "paths": dict(self.counts),
        }


def run(
    plan: Plan,
    *,
    known: Sequence[Trial] = (),
    jobs: int = 1,
    say: Callable[[str], None],
    keep: Callable[[Sequence[Trial]], None],
) -> list[Trial]:
    """Measure what the plan asks for and is not `known`: a line for each, then the table.

    `keep` is given all trials after each path, so that a run that is broken off leaves its own.
    """
    trials = list(known)
    tasks = list(plan.tasks(known))
    together = [task for task in tasks if not task.alone]
    apart = [task for task in tasks if task.alone]
    for group, workers in ((together, jobs), (apart, 1)):
        for found in _measured(group, workers):
            trials += found
            for trial in found:
                say(line(trial))
            keep(trials)
    say("")
    say(str(plan))
    for row in table(tally(trials)):
        say(row)
    return trials


def _measured(tasks: Sequence[Task], workers: int) -> Iterator[list[Trial]]:
    """As they come; an error of one ends all, once those under way have ended."""
    if workers == 1:
        yield from map(measure, tasks)
        return
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(measure, task) for task in tasks]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def line(trial: Trial) -> str:
    """One trial in words."""
    return (
        f"{trial.TECHNIQUE} {trial.name}: {trial.links} links, {trial.line()} in "
        f"{trial.duration_s:.1f} s, {trial.sent_bytes / 1e3:.0f} kB: {trial.verdict}"
        + (f" [{trial.note}]" if trial.note else "")
    )


def content(plan: Plan, trials: Sequence[Trial]) -> dict[str, Any]:
    """Everything, for machines; `paths` is what was asked for, also where less was measured."""
    return {
        "schema": SCHEMA,
        **plan.as_json(),
        "shares": [share.as_json() for share in tally(trials)],
        "trials": [trial.as_json() for trial in trials],
    }


def trials_of(document: Mapping[str, Any]) -> list[Trial]:
    """The trials that a document keeps.

    Raises:
        KeyError: if it is none of this version.
    """
    return [SUBJECTS[row["technique"]].trial.from_json(row) for row in document["trials"]]
