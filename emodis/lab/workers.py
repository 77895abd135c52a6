"""The processes without which the network of a lab is not what the truth says, forked by labd."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Sequence

from emodis.lab.plan import Plan
from emodis.lab.quoting import answer
from emodis.lab.traffic import generate
from emodis.lab.wire import carry


def start_workers(
    plan: Plan, networks: dict[str, int], not_for_them: Sequence[int]
) -> dict[int, str]:
    """Fork one process for each kind of work that there is.

    Args:
        plan: says which there is.
        networks: the descriptor that holds each node's namespace.
        not_for_them: descriptors that others wait to see closed.

    Returns:
        What each process is, by its pid.
    """
    workers = {}
    if plan.flows:
        workers[_fork(lambda: generate(plan.flows, networks), not_for_them)] = "cross traffic"
    if any(link.wired for link in plan.topology.links):
        workers[_fork(lambda: carry(plan.topology.links), not_for_them)] = "process of the wires"
    if any(node.quote_bytes is not None for node in plan.topology.nodes.values()):
        workers[_fork(lambda: answer(plan, networks), not_for_them)] = "process of short quotes"
    return workers


def _fork(work: Callable[[], None], not_for_it: Sequence[int]) -> int:
    if pid := os.fork():
        return pid
    for descriptor in not_for_it:
        os.close(descriptor)
    try:
        work()
    except BaseException:
        traceback.print_exc()  # into the lab's log: this process must not run its parent's exits
    finally:
        os._exit(1)
