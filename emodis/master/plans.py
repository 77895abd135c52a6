"""Drives a plan: its children become measurements of their own, under the same scheduling."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeVar

from emodis.techniques.base import Child, Plan
from emodis.wire.v1.common_pb2 import Outcome

T = TypeVar("T")
# Does a child, and answers with what became of its pairs.
RunChild = Callable[[Child], Awaitable[Mapping[tuple[str, int], Outcome]]]


class Drive(Generic[T]):
    """A plan that has been asked for its first child, so that what it will take can be said."""

    def __init__(self, plan: Plan[T]) -> None:
        self._plan = plan
        self._value: list[T] = []
        self.first: Child | None = self._next(lambda: next(plan))

    async def finish(self, run_child: RunChild) -> T:
        """Give the plan what its children brought until it says what it makes of them.

        A cancellation closes the plan; `run_child` must take its child back then.
        """
        child = self.first
        try:
            while child is not None:
                answer = await run_child(child)
                child = self._next(lambda answer=answer: self._plan.send(answer))  # type: ignore[misc]
        finally:
            self._plan.close()
        return self._value[0]

    def _next(self, step: Callable[[], Child]) -> Child | None:
        try:
            return step()
        except StopIteration as end:
            self._value.append(end.value)
            return None
