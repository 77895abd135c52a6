"""Assignments that wait for the run before them; none outlives its `start_by`."""

from __future__ import annotations

import attrs

from emodis.agent.assignment import Task, TaskKey


@attrs.define
class WaitingTasks:
    """First come, first served; bounded, because the master is not us."""

    bound: int = 64
    _tasks: dict[TaskKey, Task] = attrs.field(factory=dict, init=False)

    def __len__(self) -> int:
        return len(self._tasks)

    def __contains__(self, key: object) -> bool:
        return key in self._tasks

    @property
    def full(self) -> bool:
        """No further one fits."""
        return len(self._tasks) >= self.bound

    def put(self, task: Task) -> None:
        """Queue behind the others."""
        self._tasks[task.key] = task

    def first(self) -> Task | None:
        """The one whose turn it is; it stays."""
        return next(iter(self._tasks.values()), None)

    def remove(self, key: TaskKey) -> Task | None:
        """Forget one, and return it; None if it does not wait here."""
        return self._tasks.pop(key, None)

    def take_belonging(self, measurement_ids: frozenset[str]) -> list[Task]:
        """Remove every task of these measurements, or of a plan of theirs."""
        return self._take([t for t in self._tasks.values() if t.belongs_to(measurement_ids)])

    def take_overdue(self, now_ns: int) -> list[Task]:
        """Remove every task that may no longer start (CLOCK_BOOTTIME)."""
        return self._take([t for t in self._tasks.values() if now_ns >= t.start_by_ns])

    def take_all(self) -> list[Task]:
        """Empty the queue."""
        return self._take(list(self._tasks.values()))

    def _take(self, tasks: list[Task]) -> list[Task]:
        for task in tasks:
            del self._tasks[task.key]
        return tasks
