from __future__ import annotations

from emodis.client.report import Report
from emodis.wire.v1.client_pb2 import Choice, ToClient
from emodis.wire.v1.common_pb2 import END_DONE, END_EXPIRED, END_LOST
from tests.unit.client.builders import (
    MS,
    accepted,
    call,
    ended,
    failure,
    ping,
    report,
    result,
    selected,
)


def test_of_several_results_for_one_run_the_done_one_is_kept() -> None:
    made = Report()
    for one in (failure("a", END_EXPIRED), result("a", ping()), failure("a", END_LOST)):
        made.add(one)
    (kept,) = made.ordered
    assert kept.outcome.ending.end == END_DONE


def test_of_several_failures_the_newest_is_kept() -> None:
    made = Report()
    made.add(failure("a", END_EXPIRED))
    made.add(failure("a", END_LOST))
    assert made.counts == {END_LOST: 1}


def test_the_masters_count_outweighs_what_has_arrived() -> None:
    made = Report()
    for message in (accepted(call("ping")), selected("a", "b", "c")):
        made.take(message)
    made.take(ToClient(result=result("a", ping())))
    assert (made.runs_total, made.counts.total()) == (3, 1)
    made.take(ended({END_DONE: 1, END_LOST: 2}))
    assert made.counts == {END_DONE: 1, END_LOST: 2}
    assert made.cost.sent_bytes == 1_008_000


def test_results_come_in_order_of_destination_and_agent() -> None:
    made = report("ping", result("b", ping()), result("a", ping(), destination=1), failure("a"))
    names = [(one.run.destination, one.run.agent_id) for one in made.ordered]
    assert names == [(0, "a"), (0, "b"), (1, "a")]


def test_agents_go_by_their_place_where_that_tells_them_apart() -> None:
    uuid = "3f2b8c1e-0d7a-4b55-9c1d-7a1f2e3d4c5b"
    choices = [("a", "Lyon"), ("b", "Bonn"), ("c", "Bonn"), (uuid, "")]
    made = Report()
    made.choices = {agent: Choice(agent_id=agent, place=place) for agent, place in choices}
    names = [made.agent_name(agent) for agent, _ in choices]
    assert names == ["Lyon", "b", "c", "3f2b8c1e"]
    assert made.agent_name("") == "this host"


def test_ids_in_what_a_master_writes_become_names() -> None:
    uuid = "3f2b8c1e-0d7a-4b55-9c1d-7a1f2e3d4c5b"
    made = Report()
    made.choices = {
        "a": Choice(agent_id="a", place="Lyon"),
        uuid: Choice(agent_id=uuid, place="Bonn"),
    }
    assert made.with_names(f"nothing came from {uuid}: a wall") == "nothing came from Bonn: a wall"


def test_a_destination_that_nobody_told_is_no_error() -> None:
    assert Report().target(7).name == ""


def test_the_sum_of_what_arrived_until_the_master_says() -> None:
    made = report("ping", result("a", ping(MS)), result("b", ping()), whole=False)
    assert made.cost.sent_bytes == 672_000
