from __future__ import annotations

from emodis.agent.assignment import Task, key_of
from emodis.agent.queue import WaitingTasks
from tests.support.agents import assignment, run_key


def task(number: int, start_by_ns: int = 100, *, measurement: str = "m1", parent: str = "") -> Task:
    made = assignment(run_key(number, measurement=measurement), parent=parent)
    return Task(
        assignment=made, key=key_of(made.run), start_by_ns=start_by_ns, stop_by_ns=start_by_ns + 50
    )


def test_first_come_first_served() -> None:
    queue = WaitingTasks()
    for number in (3, 1, 2):
        queue.put(task(number))
    order = []
    while (head := queue.first()) is not None:
        order.append(head.key.destination)
        queue.remove(head.key)
    assert order == [3, 1, 2]


def test_what_may_no_longer_start_goes_and_the_moment_itself_is_too_late() -> None:
    queue = WaitingTasks()
    for number, start_by_ns in ((1, 10), (2, 11), (3, 9)):
        queue.put(task(number, start_by_ns))
    assert [t.key.destination for t in queue.take_overdue(10)] == [1, 3]
    assert len(queue) == 1


def test_a_clients_tasks_go_with_those_of_its_plans() -> None:
    queue = WaitingTasks()
    queue.put(task(1, measurement="mine"))
    queue.put(task(2, measurement="child", parent="mine"))
    queue.put(task(3, measurement="other"))
    assert [t.key.destination for t in queue.take_belonging(frozenset({"mine"}))] == [1, 2]
    assert [t.key.destination for t in queue.take_all()] == [3]


def test_it_is_bounded() -> None:
    queue = WaitingTasks(bound=1)
    empty = queue.full
    queue.put(task(1))
    assert [empty, queue.full] == [False, True]
    assert queue.remove(key_of(run_key(7))) is None
