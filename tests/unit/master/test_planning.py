"""Techniques that are plans, through real sessions, service and scheduler."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address
from typing import Any, ClassVar

import pytest

from emodis.master.owners import Owners
from emodis.techniques.base import Child, Measured, Pair, Plan, Scene, Spend, Stored, Technique
from emodis.topology.asn import AsOwner
from emodis.wire.v1.client_pb2 import POLICY_LOCK, POLICY_RING, Agents, Cancel, FromClient, Ids
from emodis.wire.v1.client_pb2 import Any as AnyAgent
from emodis.wire.v1.common_pb2 import (
    BLAME_US,
    CODE_NO_AGENT,
    CODE_UNSPECIFIED,
    END_CANCELLED,
    END_DONE,
    END_EXPIRED,
    END_FAILED,
    Body,
    Ending,
    Quality,
)
from emodis.wire.v1.techniques_pb2 import PingObservations, PingResult
from tests.unit.master.house import TECHNIQUES, FarAgent, House, Tap
from tests.unit.master.test_requests import TAP, capability, counts, every, one, serve

TAP_CALL = Body(technique="tap", schema=1, body=b"ok")
CALL = Body(technique="survey", schema=1, body=b"ok")


class Survey(Tap):
    """Taps once with everybody, then once more with the first agent of each destination."""

    NAME: ClassVar[str] = "survey"
    EACH_AGENT: ClassVar[bool] = False
    NEEDS: ClassVar[tuple[Technique, ...]] = (Tap(),)

    def __init__(self) -> None:
        self.scenes: list[Scene] = []
        self.answers: list[dict[Pair, int]] = []
        self.closed = 0

    def expected(self, call: Body) -> Spend:
        return Spend(duration_s=2.0, sent_bytes=200)

    def reuses(self, call: Body) -> Mapping[str, float]:
        return {"tap": 60.0}

    def plan(self, call: Body, scene: Scene) -> Plan[Mapping[Pair, Measured]]:
        self.scenes.append(scene)
        agents = tuple(agent.id for agent in scene.agents)
        everywhere = tuple(range(len(scene.targets)))
        try:
            for pairs in (scene.pairs, frozenset((agents[0], d) for d in everywhere)):
                found = yield Child(
                    call=TAP_CALL,
                    agents=agents,
                    destinations=everywhere,
                    policy=scene.policy,
                    pairs=pairs,
                )
                self.answers.append({pair: o.ending.end for pair, o in found.items()})
        finally:
            self.closed += 1
        return self.results(scene)

    def results(self, scene: Scene) -> Mapping[Pair, Measured]:
        return {("", d): measured(d + 1) for d in range(len(scene.targets))}


class Roll(Survey):
    """Says of each agent how it went, but for the second destination."""

    EACH_AGENT: ClassVar[bool] = True

    def results(self, scene: Scene) -> Mapping[Pair, Measured]:
        return {pair: measured(7) for pair in scene.pairs if pair[1] != 1}


def measured(number: int) -> Measured:
    return Measured(
        ending=Ending(end=END_DONE),
        result=PingResult(sent=number),
        observations=PingObservations(),
        quality=Quality(word=Quality.WORD_GOOD),
    )


@pytest.fixture
def survey(monkeypatch: pytest.MonkeyPatch) -> Survey:
    plan = Survey()
    monkeypatch.setitem(TECHNIQUES, "survey", plan)
    return plan


def ask(house: House, *agents: str, **fields: Any) -> tuple[Any, list[FarAgent]]:
    far = [house.agent(agent) for agent in agents]
    client = house.client()
    client.ask(call=CALL, **fields)
    return client, far


def test_the_whole_way_of_a_plan(survey: Survey) -> None:
    house = House()
    client, agents = ask(house, "a1", "a2", destinations=["10.0.0.1", "10.0.0.2"])
    messages = client.heard()
    measurement_id = one(messages, "accepted").measurement_id
    selected = one(messages, "selected")
    assert [choice.agent_id for choice in selected.agents] == ["a1", "a2"]
    # One result for each destination; the price is that of all agents.
    assert (selected.runs_total, selected.estimate_s, selected.estimate_bytes) == (2, 4.0, 800)
    progress = every(messages, "progress")
    assert progress
    assert not any(p.discovery for p in progress)
    serve(house, *agents)
    results = every(messages := client.heard(), "result")
    assert [(r.run.agent_id, r.run.destination, r.run.measurement_id) for r in results] == [
        ("", 0, measurement_id),
        ("", 1, measurement_id),
    ]
    found = [r.outcome for r in results]
    assert [PingResult.FromString(o.result.body).sent for o in found] == [1, 2]
    assert {(o.result.technique, o.result.schema) for o in found} == {("survey", 1)}
    assert [o.quality.word for o in found] == [Quality.WORD_GOOD] * 2
    # Two agents and one of them again, 100 bytes each.
    assert [o.cost.sent_bytes for o in found] == [300, 300]
    ended = one(messages, "ended")
    assert (counts(ended), ended.code, ended.cost.sent_bytes) == (
        {END_DONE: 2},
        CODE_UNSPECIFIED,
        600,
    )
    assert survey.answers == [
        {("a1", 0): END_DONE, ("a1", 1): END_DONE, ("a2", 0): END_DONE, ("a2", 1): END_DONE},
        {("a1", 0): END_DONE, ("a1", 1): END_DONE},
    ]
    assert house.service.live == {}
    records = house.ledger.records
    assert [r.call.technique for r in records.values()] == ["survey", "tap", "tap"]
    assert [r.parent_id for r in records.values()] == ["", measurement_id, measurement_id]
    assert all(record.ended is not None for record in records.values())


def test_what_the_plan_is_told(survey: Survey) -> None:
    class Map:
        def owner(self, address: object) -> AsOwner | None:
            return AsOwner(64500, "Test")

    house = House(owners=Owners(Map()))
    client, agents = ask(house, "a1", "a2", agents=Agents(any=AnyAgent()))
    serve(house, *agents)
    client.heard()
    client.ask(call=CALL, call_id=8)
    first, second = survey.scenes
    assert len(first.pairs) == 1
    assert first.known == {"tap": {}}
    assert first.policy == POLICY_RING
    assert first.owner is not None
    assert first.owner(IPv4Address("10.0.0.1")) == 64500
    assert {agent.id for agent in second.agents} == {"a1", "a2"}
    assert set(second.known["tap"]) == first.pairs
    assert isinstance(next(iter(second.known["tap"].values())), Stored)
    # What is older than the plan wants is not offered.
    house.clock.advance(61)
    client.ask(call=CALL, call_id=9)
    assert survey.scenes[2].known == {"tap": {}}


def test_without_a_map_there_is_no_owner_and_the_request_may_choose_the_policy(
    survey: Survey,
) -> None:
    house = House()
    ask(house, "a1")
    assert survey.scenes[0].owner is None
    house.client("c2").ask(call=CALL, schedule={"policy": POLICY_LOCK})
    assert survey.scenes[1].policy == POLICY_LOCK


def test_results_for_each_agent_and_what_the_plan_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TECHNIQUES, "survey", Roll())
    house = House()
    client, agents = ask(house, "a1", "a2", destinations=["10.0.0.1", "10.0.0.2"])
    serve(house, *agents)
    messages = client.heard()
    assert one(messages, "selected").runs_total == 4
    found = {(r.run.agent_id, r.run.destination): r.outcome for r in every(messages, "result")}
    assert {pair: o.ending.end for pair, o in found.items()} == {
        ("a1", 0): END_DONE,
        ("a2", 0): END_DONE,
        ("a1", 1): END_FAILED,
        ("a2", 1): END_FAILED,
    }
    assert found["a1", 1].ending.reason == "no_result"
    assert found["a1", 1].ending.blame == BLAME_US
    assert found["a1", 0].cost.sent_bytes == 200
    assert found["a2", 0].cost.sent_bytes == 100


def test_cancelling_a_plan_takes_its_child_back(survey: Survey) -> None:
    house = House()
    client, (agent,) = ask(house, "a1", destinations=["10.0.0.1", "10.0.0.2"])
    measurement_id = one(client.heard(), "accepted").measurement_id
    (assignment,) = agent.assignments()
    agent.finish(assignment.run)
    house.settle()
    running = agent.assignments()[0].run
    client.say(FromClient(cancel=Cancel(call_id=9, measurement_id=measurement_id)))
    house.settle()
    stops = [m.client_stop.measurement_ids for m in agent.heard()]
    assert [list(ids) for ids in stops] == [[running.measurement_id]]
    ended = one(client.heard(), "ended")
    assert counts(ended) == {END_CANCELLED: 2}
    assert ended.text == "cancelled on request"
    assert survey.closed == 1
    assert house.service.live == {}
    assert house.ledger.runs[measurement_id, "", 1].outcome.ending.reason == "cancelled"
    assert all(record.ended is not None for record in house.ledger.records.values())


def test_a_client_that_leaves_takes_its_plan_along(survey: Survey) -> None:
    house = House()
    client, (agent,) = ask(house, "a1")
    agent.assignments()
    client.cut()
    house.settle()
    assert "client_stop" in agent.names()
    assert survey.closed == 1
    assert house.service.live == {}
    assert len(house.ledger.discarded) == 2


def test_the_time_limit_holds_for_plans(survey: Survey) -> None:
    house = House()
    client, _ = ask(house, "a1", timeout_s=2.0)
    house.clock.advance(2.0)
    house.settle()
    ended = one(client.heard(), "ended")
    assert counts(ended) == {END_EXPIRED: 1}
    assert house.service.live == {}


def test_a_drained_master_ends_its_plans(survey: Survey) -> None:
    house = House()
    client, _ = ask(house, "a1")
    draining = house.drain()
    house.settle()
    assert draining.called
    assert house.service.live == {}
    assert counts(one(client.heard(), "ended")) == {END_CANCELLED: 1}


def test_agents_need_what_the_plan_is_made_of(survey: Survey) -> None:
    house = House()
    house.agent("a1", capabilities=[capability("traceroute")])
    client = house.client()
    client.ask(call=CALL)
    refused = one(client.heard(), "refused")
    assert (refused.code, refused.text) == (
        CODE_NO_AGENT,
        "none of the 1 connected agents offers survey over IPv4",
    )
    house.agent("a2", capabilities=[TAP])
    client.ask(call=CALL, agents=Agents(ids=Ids(ids=["a2"])))
    assert one(client.heard(), "accepted").call == CALL


def test_a_dry_run_measures_nothing(survey: Survey) -> None:
    house = House()
    client, (agent,) = ask(house, "a1", dry_run=True)
    assert client.names() == ["accepted", "selected"]
    assert agent.assignments() == []
    assert survey.scenes == []


def test_an_error_in_a_plan_ends_its_measurement(
    survey: Survey, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(scene: Scene) -> Mapping[Pair, Measured]:
        raise RuntimeError("a bug")

    monkeypatch.setattr(survey, "results", broken)
    house = House()
    client, (agent,) = ask(house, "a1")
    serve(house, agent)
    assert one(client.heard(), "ended").text == "internal error: a bug"
    assert house.service.live == {}
