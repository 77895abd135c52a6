"""Drives a plan: its children become measurements of their own, under the same scheduling."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from emodis.techniques.base import Child, Plan
from emodis.wire.v1.common_pb2 import Outcome

T = TypeVar("T")
# Does a child, and answers with what became of its pairs.
RunChild = Callable[[Child], Awaitable[Mapping[tuple[str, int], Outcome]]]


async def drive(plan: Plan[T], run_child: RunChild) -> T:
    """Give the plan what its children brought until it says what it makes of them.

    A cancellation closes the plan; `run_child` must take its child back then.
    """
    try:
        child = next(plan)
        while True:
            child = plan.send(await run_child(child))
    except StopIteration as end:
        found: T = end.value
        return found
    finally:
        plan.close()
