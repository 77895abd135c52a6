"""A request from the client's frame to its Ended, through real sessions, service and scheduler."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import pytest

from emodis.master.config import Limits
from emodis.master.owners import Owners
from emodis.master.store.errors import StoreError
from emodis.topology.asn import AsOwner
from emodis.wire.v1.agent_pb2 import FromAgent, RunProgress, RunStarted
from emodis.wire.v1.client_pb2 import (
    DIRECTION_BOTH,
    DIRECTION_UPSTREAM,
    DISCIPLINE_RAN,
    POLICY_WAVE,
    RUN_STATE_ASSIGNED,
    RUN_STATE_RUNNING,
    Agents,
    All,
    Auto,
    Cancel,
    Ended,
    FromClient,
    GetResults,
    GetStatus,
    Ids,
    ListAgents,
    Period,
    Schedule,
    ToClient,
)
from emodis.wire.v1.client_pb2 import (
    Any as AnyAgent,
)
from emodis.wire.v1.common_pb2 import (
    CODE_BAD_REQUEST,
    CODE_BUDGET,
    CODE_FULL,
    CODE_NO_AGENT,
    CODE_POLICY,
    CODE_SHUTDOWN,
    CODE_UNKNOWN_ID,
    END_CANCELLED,
    END_DONE,
    END_EXPIRED,
    END_LOST,
    Body,
    Capability,
)
from emodis.wire.v1.techniques_pb2 import HopAnswer, TracerouteHop, TracerouteResult
from tests.unit.master.house import TECHNIQUES, FarAgent, House, keepalive_agent

SLOW = Body(technique="tap", schema=1, body=b"slow")


def capability(technique: str, *, schema: int = 1, families: int = 1) -> Capability:
    return Capability(technique=technique, schema=schema, raw=True, families=families)


TAP = capability("tap")


def one(messages: list[ToClient], name: str) -> Any:
    found = [getattr(m, name) for m in messages if m.WhichOneof("body") == name]
    assert len(found) == 1, [m.WhichOneof("body") for m in messages]
    return found[0]


def every(messages: list[ToClient], name: str) -> list[Any]:
    return [getattr(m, name) for m in messages if m.WhichOneof("body") == name]


def counts(ended: Ended) -> dict[int, int]:
    return {count.end: count.runs for count in ended.counts}


def serve(house: House, *agents: FarAgent) -> None:
    """Let every agent finish what it has, until nothing comes any more."""
    for _ in range(200):
        work = [(agent, a) for agent in agents for a in agent.assignments()]
        if not work:
            return
        for agent, assignment in work:
            agent.finish(assignment.run)
        house.settle()
    raise AssertionError("the agents are never done")


def test_the_whole_way_of_a_request() -> None:
    house = House()
    agents = [house.agent(f"a{i}", place=f"place {i}", asn=65000 + i) for i in range(3)]
    client = house.client()
    client.ask(destinations=["10.0.0.1", "10.0.0.2"])
    messages = client.heard()
    accepted, selected = one(messages, "accepted"), one(messages, "selected")
    assert [m.WhichOneof("body") for m in messages][:2] == ["accepted", "selected"]
    assert accepted.call_id == 7
    assert [t.name for t in accepted.targets] == ["10.0.0.1", "10.0.0.2"]
    assert accepted.discovery_s == 0
    assert [(c.agent_id, c.place, c.asn) for c in selected.agents] == [
        (f"a{i}", f"place {i}", 65000 + i) for i in range(3)
    ]
    # Three agents, two destinations: max(3, 2) runs of a second one after the other.
    assert (selected.runs_total, selected.estimate_s, selected.estimate_bytes) == (6, 3.0, 600)
    assert {p.state for p in every(messages, "progress")} == {RUN_STATE_ASSIGNED}
    serve(house, *agents)
    messages = client.heard()
    results = every(messages, "result")
    assert {(r.run.agent_id, r.run.destination) for r in results} == {
        (f"a{i}", d) for i in range(3) for d in range(2)
    }
    assert [r.cursor for r in results] == sorted(r.cursor for r in results)
    assert not any(r.late for r in results)
    assert all(r.outcome.result.body == b"result" for r in results)
    assert not any(r.outcome.observations for r in results)
    ended = one(messages, "ended")
    assert messages[-1].WhichOneof("body") == "ended"
    assert counts(ended) == {END_DONE: 6}
    assert ended.cost.sent_bytes == 600
    assert (ended.code, ended.text) == (0, "")
    assert house.service.live == {}
    (record,) = house.ledger.records.values()
    assert record.ended == ended
    assert record.selected is not None


def test_an_assignment_says_all_that_an_agent_needs() -> None:
    house = House()
    agent, client = house.agent(), house.client()
    client.ask()
    (assignment,) = agent.assignments()
    assert assignment.call.technique == "tap"
    assert assignment.target.address == b"\x0a\x00\x00\x01"
    assert assignment.exclusive
    assert assignment.start_by_clock_ns == house.now_ns() + 5 * 10**9
    assert assignment.stop_by_clock_ns == assignment.start_by_clock_ns + 3 * 10**9
    assert assignment.budget_s == 3.0
    assert len(assignment.nonce) == 16
    assert assignment.parent_id == ""


def test_without_destinations_the_client_itself_is_measured() -> None:
    house = House()
    agent, client = house.agent(), house.client(host="10.2.0.77")
    client.ask(destinations=[])
    assert one(client.heard(), "accepted").targets[0].name == "10.2.0.77"
    assert agent.assignments()[0].target.address == b"\x0a\x02\x00\x4d"


REFUSED: dict[str, tuple[dict[str, Any], int, str]] = {
    "technique": ({"call": Body(technique="tarot", schema=1)}, CODE_BAD_REQUEST, "tarot"),
    "schema": ({"call": Body(technique="tap", schema=9)}, CODE_BAD_REQUEST, "schema 9"),
    "parameter": ({"call": Body(technique="tap", schema=1)}, CODE_BAD_REQUEST, "must be ok"),
    "upstream": ({"direction": DIRECTION_UPSTREAM}, CODE_BAD_REQUEST, "downstream"),
    "both": ({"direction": DIRECTION_BOTH}, CODE_BAD_REQUEST, "downstream"),
    "ran": ({"schedule": Schedule(discipline=DISCIPLINE_RAN)}, CODE_BAD_REQUEST, "RAN"),
    "wave": ({"schedule": Schedule(policy=POLICY_WAVE)}, CODE_BAD_REQUEST, "WAVE"),
    "period": ({"period": Period(period_s=300)}, CODE_BAD_REQUEST, "periodic"),
    "rounds": ({"period": Period(rounds=2)}, CODE_BAD_REQUEST, "periodic"),
    "family 6": ({"family": 6}, CODE_BAD_REQUEST, "is no IPv6 address"),
    "family 4": ({"family": 4, "destinations": ["::1"]}, CODE_BAD_REQUEST, "is no IPv4 address"),
    "no such address": (
        {"family": 6, "destinations": ["public.test"]},
        CODE_BAD_REQUEST,
        "'public.test': it has no IPv6 address",
    ),
    "family 5": ({"family": 5}, CODE_BAD_REQUEST, "family 5"),
    "timeout": ({"timeout_s": -1.0}, CODE_BAD_REQUEST, "timeout"),
    "idempotency": ({"idempotency": b"short"}, CODE_BAD_REQUEST, "16 bytes"),
    "coverage": (
        {"agents": Agents(auto=Auto(coverage_ratio=1.5))},
        CODE_BAD_REQUEST,
        "coverage_ratio",
    ),
    "host": ({"destinations": ["nowhere.test"]}, CODE_BAD_REQUEST, "nowhere.test"),
    "no host": ({"destinations": [" "]}, CODE_BAD_REQUEST, "not a host name"),
    "IPv6": ({"destinations": ["2001:db8::1"]}, CODE_NO_AGENT, "offers tap over IPv6"),
    "link-local": ({"destinations": ["fe80::1"]}, CODE_POLICY, "fe80::1"),
    "zone": ({"destinations": ["fe80::1%eth0"]}, CODE_BAD_REQUEST, "fe80::1%eth0"),
    "public": ({"destinations": ["8.8.8.8"]}, CODE_POLICY, "8.8.8.8"),
    "public name": ({"destinations": ["public.test"]}, CODE_POLICY, "public.test: 9.9.9.9 is"),
    "multicast": ({"destinations": ["224.0.0.1"]}, CODE_POLICY, "multicast"),
    "agent": ({"agents": Agents(ids=Ids(ids=["zz"]))}, CODE_NO_AGENT, "zz"),
    "no name": ({"agents": Agents(ids=Ids())}, CODE_BAD_REQUEST, "empty"),
    "min agents": ({"min_agents": 4}, CODE_NO_AGENT, "at least 4"),
    "min agents, auto": (
        {"agents": Agents(auto=Auto()), "min_agents": 4},
        CODE_NO_AGENT,
        "at least 4",
    ),
    "more than at most": (
        {"agents": Agents(auto=Auto(max_agents=1)), "min_agents": 2},
        CODE_BAD_REQUEST,
        "at least 2 agents and at most 1",
    ),
    "destinations": (
        {"destinations": [f"10.0.1.{i}" for i in range(11)]},
        CODE_BAD_REQUEST,
        "11 destinations",
    ),
    "runs": ({"destinations": [f"10.0.1.{i}" for i in range(9)]}, CODE_BUDGET, "18 runs"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_cannot_be_done_is_refused_in_one_line(why: str) -> None:
    fields, code, words = REFUSED[why]
    house = House(
        names={"public.test": ["9.9.9.9"]},
        limits=Limits(destinations_per_request=10, runs_per_request=10),
    )
    agents = [house.agent("a1"), house.agent("a2")]
    client = house.client()
    client.ask(**fields)
    refused = one(client.heard(), "refused")
    assert refused.call_id == 7
    assert refused.code == code
    assert words in refused.text
    assert "\n" not in refused.text + refused.hint
    assert house.ledger.records == {}
    assert house.service.live == {}
    assert all(agent.assignments() == [] for agent in agents)
    assert house.clock.getDelayedCalls() == []


def test_a_resolver_that_hangs_does_not_hang_the_request() -> None:
    house = House()
    house.agent()
    client = house.client()
    client.ask(destinations=["hangs.test"])
    house.clock.advance(10)
    assert "no answer within 10 s" in one(client.heard(), "refused").text


def test_names_of_one_address_are_one_target() -> None:
    house = House(names={"www.test": ["10.0.0.1"]})
    house.agent()
    client = house.client()
    client.ask(destinations=["www.test", "10.0.0.1", "10.0.0.2"])
    assert [t.name for t in one(client.heard(), "accepted").targets] == ["www.test", "10.0.0.2"]


@pytest.mark.parametrize("how", [Agents(all=All()), Agents(any=AnyAgent()), Agents(auto=Auto())])
def test_without_agents_there_is_a_hint(how: Agents) -> None:
    client = House().client()
    client.ask(agents=how)
    refused = one(client.heard(), "refused")
    assert (refused.code, refused.text) == (CODE_NO_AGENT, "no agent is connected")
    assert "emodis-agent" in refused.hint


def test_agents_without_the_technique_or_raw_sockets_are_not_eligible() -> None:
    house = House()
    house.agent("a1", capabilities=[Capability(technique="tap", schema=1, families=1)])
    house.agent("a2", capabilities=[Capability(technique="tap", schema=2, raw=True, families=1)])
    house.agent("a3", capabilities=[Capability(technique="tap", schema=1, raw=True, families=2)])
    client = house.client()
    client.ask()
    assert "none of the 3 connected agents offers tap" in one(client.heard(), "refused").text


BOTH = {"both.test": ["2001:db8::7", "10.0.0.7"], "six.test": ["2001:db8::7"]}


@pytest.mark.parametrize(
    ("name", "family", "address"),
    [
        ("both.test", 0, "10.0.0.7"),
        ("both.test", 6, "2001:db8::7"),
        ("six.test", 0, "2001:db8::7"),
    ],
)
def test_ipv4_is_measured_unless_ipv6_is_wanted(name: str, family: int, address: str) -> None:
    house = House(names=BOTH)
    house.agent("a1")
    six = house.agent(
        "a2", capabilities=[Capability(technique="tap", schema=1, raw=True, families=3)]
    )
    client = house.client()
    client.ask(destinations=[name], family=family, agents=Agents(ids=Ids(ids=["a2"])))
    (assignment,) = six.assignments()
    assert assignment.target.address == ip_address(address).packed


def test_agents_need_every_family_that_is_asked_for() -> None:
    house = House(names=BOTH)
    house.agent("a1")
    six = Capability(technique="tap", schema=1, raw=True, families=2)
    house.agent("a2", capabilities=[six])
    client = house.client()
    client.ask(destinations=["10.0.0.1", "2001:db8::1"], agents=Agents(all=All()))
    refused = one(client.heard(), "refused")
    assert refused.code == CODE_NO_AGENT
    assert refused.text == "none of the 2 connected agents offers tap over IPv4 and IPv6"
    assert "without -6" in refused.hint


def test_any_divides_the_destinations() -> None:
    house = House()
    agents = [house.agent(f"a{i}") for i in range(3)]
    client = house.client()
    client.ask(agents=Agents(any=AnyAgent()), destinations=[f"10.0.0.{i}" for i in range(6)])
    selected = one(client.heard(), "selected")
    assert (selected.runs_total, selected.estimate_s) == (6, 2.0)
    serve(house, *agents)
    results = every(client.heard(), "result")
    assert sorted(r.run.destination for r in results) == list(range(6))
    assert sorted(r.run.agent_id for r in results) == ["a0", "a0", "a1", "a1", "a2", "a2"]


def test_the_same_request_twice_is_one_measurement() -> None:
    house = House()
    agent, client = house.agent(), house.client()
    client.ask(idempotency=b"i" * 16)
    first = one(client.heard(), "accepted")
    client.ask(idempotency=b"i" * 16, call_id=8)
    second = one(client.heard(), "accepted")
    assert second.call_id == 8
    assert second.measurement_id == first.measurement_id
    assert len(agent.assignments()) == 1
    assert len(house.ledger.records) == 1


def test_a_request_sent_again_after_its_end_gets_the_results_again() -> None:
    house = House()
    agent, client = house.agent(), house.client()
    client.ask(idempotency=b"i" * 16)
    serve(house, agent)
    client.heard()
    client.ask(idempotency=b"i" * 16)
    messages = client.heard()
    assert [m.WhichOneof("body") for m in messages] == ["accepted", "selected", "result", "ended"]


def test_a_dry_run_ends_with_selected() -> None:
    house = House()
    agent, client = house.agent(), house.client()
    client.ask(dry_run=True)
    assert client.names() == ["accepted", "selected"]
    assert agent.assignments() == []
    (record,) = house.ledger.records.values()
    assert record.ended is not None
    assert house.service.live == {}


def test_progress_is_relayed() -> None:
    house = House()
    agent, client = house.agent(), house.client()
    client.ask()
    run = agent.assignments()[0].run
    client.heard()
    agent.say(FromAgent(run_started=RunStarted(run=run)))
    agent.say(FromAgent(run_progress=RunProgress(run=run, done=3, total=10)))
    progress = every(client.heard(), "progress")
    assert [(p.state, p.done, p.total, p.discovery) for p in progress] == [
        (RUN_STATE_RUNNING, 0, 0, False),
        (RUN_STATE_RUNNING, 3, 10, False),
    ]


def test_cancel_stops_the_agents_and_keeps_what_has_come() -> None:
    house = House()
    agents = [house.agent(f"a{i}") for i in range(2)]
    client = house.client()
    client.ask(destinations=["10.0.0.1", "10.0.0.2"])
    measurement_id = one(client.heard(), "accepted").measurement_id
    first, second = (agent.assignments()[0].run for agent in agents)
    agents[0].finish(first)
    house.settle()
    other = house.client("c2")
    other.say(FromClient(cancel=Cancel(call_id=9, measurement_id=measurement_id)))
    house.settle()
    assert other.names() == ["cancelled"]
    heard = agents[1].heard()
    assert [list(m.client_stop.measurement_ids) for m in heard] == [[measurement_id]]
    messages = client.heard()
    ended = one(messages, "ended")
    assert counts(ended) == {END_DONE: 1, END_CANCELLED: 3}
    assert ended.text == "cancelled on request"
    assert house.ledger.discarded == []
    # The confirmation of the abort comes after the end: stored, acknowledged, told to nobody.
    agents[1].finish(second, END_CANCELLED)
    house.settle()
    assert agents[1].names() == ["ack"]
    assert client.heard() == []


@pytest.mark.parametrize("how", ["killed", "silent"])
def test_the_work_of_a_client_that_leaves_is_cancelled_and_its_payload_discarded(how: str) -> None:
    house = House()
    agent, client = house.agent(), house.client()
    client.ask(call=SLOW)
    run = agent.assignments()[0].run
    if how == "killed":
        client.cut()
    else:
        for _ in range(6):
            house.advance(10)
            agent.say(keepalive_agent())
    house.settle()
    assert [m.WhichOneof("body") for m in agent.heard()].count("client_stop") == 1
    assert house.service.live == {}
    assert house.ledger.discarded == [run.measurement_id]
    (record,) = house.ledger.records.values()
    assert record.ended is not None
    assert counts(record.ended) == {END_CANCELLED: 1}
    agent.finish(run, END_DONE)
    house.settle()
    kept = house.ledger.runs[run.measurement_id, "a1", 0]
    assert kept.late
    assert kept.outcome.cost.sent_bytes == 100
    assert not kept.outcome.HasField("result")
    assert not kept.outcome.observations


def test_a_detached_measurement_outlives_its_client_and_can_be_attached_to() -> None:
    house = House()
    agent, client = house.agent(), house.client()
    client.ask(detach=True, destinations=["10.0.0.1", "10.0.0.2"])
    measurement_id = one(client.heard(), "accepted").measurement_id
    client.cut()
    agent.finish(agent.assignments()[0].run)
    house.settle()
    again = house.client()
    again.say(
        FromClient(
            get_results=GetResults(call_id=3, measurement_id=measurement_id[:5], follow=True)
        )
    )
    assert again.names() == ["results_begin", "result"]
    agent.finish(agent.assignments()[0].run)
    house.settle()
    messages = again.heard()
    assert len(every(messages, "result")) == 1
    assert counts(one(messages, "ended")) == {END_DONE: 2}


def test_results_of_a_measurement_that_goes_on_end_with_where_it_stands() -> None:
    house = House()
    agent, client = house.agent(), house.client()
    client.ask(destinations=["10.0.0.1", "10.0.0.2"])
    measurement_id = one(client.heard(), "accepted").measurement_id
    agent.finish(agent.assignments()[0].run)
    house.settle()
    client.heard()
    client.say(FromClient(get_results=GetResults(call_id=3, measurement_id=measurement_id)))
    messages = client.heard()
    assert one(messages, "results_begin").call_id == 3
    assert one(messages, "ended").text == "it has not ended: 1 run not over yet"
    assert every(messages, "result")[0].outcome.observations == b""


def test_the_time_limit_of_a_request_holds() -> None:
    house = House()
    agent, client = house.agent(), house.client()
    client.ask(timeout_s=2.0)
    house.clock.advance(2.0)
    house.settle()
    assert agent.names()[-1] == "client_stop"
    ended = one(client.heard(), "ended")
    assert counts(ended) == {END_EXPIRED: 1}
    assert "time limit of 2 s" in ended.text


def test_a_run_that_never_ends_is_expired_and_cancelled_at_the_agent() -> None:
    house = House()
    agent, client = house.agent(), house.client()
    client.ask()
    agent.assignments()
    for _ in range(10):
        house.advance(10)
        agent.say(keepalive_agent())
        client.say(FromClient(get_status=GetStatus(call_id=1)))
        house.settle()
        if not house.service.live:
            break
    assert "run_cancel" in agent.names()
    ended = one([m for m in client.heard() if m.WhichOneof("body") != "status"], "ended")
    assert counts(ended) == {END_EXPIRED: 1}


def test_an_agent_lost_mid_run_tries_again_when_it_is_back() -> None:
    house = House()
    agent, client = house.agent(), house.client()
    client.ask()
    run = agent.assignments()[0].run
    agent.cut()
    house.settle()
    assert client.names()[-1] != "ended"
    back = house.agent()
    # What it gave up when it lost us is kept, but is not the end of the pair.
    back.finish(run, END_CANCELLED, respooled=True)
    house.advance(10)
    messages = back.heard()
    assert "ack" in [m.WhichOneof("body") for m in messages]
    (again,) = [m.assignment.run for m in messages if m.WhichOneof("body") == "assignment"]
    assert again.attempt == 1
    back.finish(again)
    house.settle()
    messages_to_client = client.heard()
    assert len(every(messages_to_client, "result")) == 1
    assert counts(one(messages_to_client, "ended")) == {END_DONE: 1}


def test_an_agent_that_stays_away_is_lost() -> None:
    house = House()
    agent, client = house.agent(), house.client()
    client.ask()
    agent.cut()
    house.pass_time(121)
    messages = client.heard()
    assert one(messages, "result").outcome.ending.reason
    assert counts(one(messages, "ended")) == {END_LOST: 1}


def route(*hops: str) -> Body:
    """A traceroute's result."""
    technique = TECHNIQUES["traceroute"]
    result = TracerouteResult(reached=True, hop_count=len(hops), end_reason="reached")
    for ttl, hop in enumerate(hops, start=1):
        address = bytes(int(part) for part in hop.split("."))
        result.hops.append(TracerouteHop(ttl=ttl, answers=[HopAnswer(address=address)]))
    return Body(technique="traceroute", schema=technique.SCHEMA, body=result.SerializeToString())


def test_auto_looks_at_the_routes_and_covers_them() -> None:
    house = House()
    far = {
        "a1": (house.agent("a1"), route("10.11.0.1", "10.5.0.1", "10.0.0.9", "10.0.0.1")),
        "a2": (house.agent("a2"), route("10.12.0.1", "10.5.0.1", "10.0.0.9", "10.0.0.1")),
        "a3": (house.agent("a3"), route("10.13.0.1", "10.6.0.1", "10.0.0.8", "10.0.0.1")),
    }
    client = house.client()
    client.ask(agents=Agents(auto=Auto()))
    messages = client.heard()
    assert one(messages, "accepted").discovery_s > 0
    assert every(messages, "selected") == []
    # One at a time on the destination: the lock of PM_SYN holds for discovery as well.
    assert len(every(messages, "progress")) == 1
    assert every(messages, "progress")[0].discovery
    one_by_one(house, far)
    messages = client.heard()
    selected = one(messages, "selected")
    assert 2 <= len(selected.agents) <= 3
    assert "a3" in {choice.agent_id for choice in selected.agents}
    assert selected.branches_known == selected.branches_covered > 0
    assert every(messages, "result") == []
    serve(house, *(agent for agent, _ in far.values()))
    messages = client.heard()
    assert counts(one(messages, "ended")) == {END_DONE: len(selected.agents)}
    # Next time the routes are known.
    client.ask(agents=Agents(auto=Auto()), call_id=8)
    messages = client.heard()
    assert one(messages, "accepted").discovery_s == 0
    assert one(messages, "selected").agents == selected.agents


def one_by_one(house: House, far: dict[str, tuple[FarAgent, Body]]) -> None:
    """Answer every traceroute of a discovery; the runs that follow stay unanswered."""
    for _ in range(20):
        for agent, body in far.values():
            for assignment in agent.traces():
                assert assignment.parent_id
                agent.finish(assignment.run, result=body)
        house.settle()


@pytest.mark.parametrize(
    "capabilities",
    [
        pytest.param([TAP], id="no traceroute"),
        pytest.param([TAP, capability("traceroute", families=2)], id="IPv6 only"),
        pytest.param([TAP, capability("traceroute", schema=99)], id="another version"),
    ],
)
def test_discovery_asks_only_agents_that_can_trace(capabilities: list[Capability]) -> None:
    house = House()
    deaf = house.agent("a1", capabilities=capabilities)
    client = house.client()
    client.ask(agents=Agents(auto=Auto()))
    messages = client.heard()
    # Nobody can look, so there is nothing to wait for.
    assert one(messages, "accepted").discovery_s == 0
    assert [choice.agent_id for choice in one(messages, "selected").agents] == ["a1"]
    assert [a.call.technique for a in deaf.assignments()] == ["tap"]


def test_cancelling_a_discovery_cancels_its_children() -> None:
    house = House()
    agent, _other, client = house.agent("a1"), house.agent("a2"), house.client()
    client.ask(agents=Agents(auto=Auto()))
    measurement_id = one(client.heard(), "accepted").measurement_id
    assert len(agent.assignments()) == 1
    client.say(FromClient(cancel=Cancel(call_id=9, measurement_id=measurement_id)))
    house.settle()
    assert "client_stop" in agent.names()
    messages = client.heard()
    assert one(messages, "ended").text == "cancelled on request"
    assert house.service.live == {}
    assert all(record.ended is not None for record in house.ledger.records.values())


def test_a_client_that_leaves_during_discovery_takes_it_along() -> None:
    house = House()
    agent, _other, client = house.agent("a1"), house.agent("a2"), house.client()
    client.ask(agents=Agents(auto=Auto()))
    agent.assignments()
    client.cut()
    house.settle()
    assert "client_stop" in agent.names()
    assert house.service.live == {}


def test_a_master_that_cannot_remember_does_not_promise() -> None:
    house = House()
    house.ledger.broken = StoreError("the disk is full; free some space")
    house.agent()
    client = house.client()
    client.ask()
    refused = one(client.heard(), "refused")
    assert refused.code == CODE_FULL
    assert "disk is full" in refused.text
    assert house.service.live == {}


def test_status_and_agents() -> None:
    house = House()
    agent, client = house.agent("a1", place="Paris", tags=["lab"]), house.client()
    house.agent("a2")
    client.ask()
    accepted = one(client.heard(), "accepted")
    client.say(FromClient(get_status=GetStatus(call_id=1)))
    status = one(client.heard(), "status")
    assert (status.call_id, status.agents_online, status.clients_online) == (1, 2, 1)
    assert [(m.measurement_id, m.state, m.runs_total) for m in status.measurements] == [
        (accepted.measurement_id, "measuring", 2)
    ]
    client.say(FromClient(list_agents=ListAgents(call_id=2, tags=["lab"])))
    listed = one(client.heard(), "agents")
    assert (listed.call_id, [(a.id, a.load) for a in listed.agents]) == (2, [("a1", 1)])
    assert agent.assignments()


@pytest.mark.parametrize("what", ["get_status", "get_results", "cancel"])
def test_an_unknown_measurement_is_said_to_be_so(what: str) -> None:
    house = House()
    client = house.client()
    call: dict[str, Any] = {
        "get_status": GetStatus(call_id=4, measurement_id="zz"),
        "get_results": GetResults(call_id=4, measurement_id="zz"),
        "cancel": Cancel(call_id=4, measurement_id="zz"),
    }
    client.say(FromClient(**{what: call[what]}))
    refused = one(client.heard(), "refused")
    assert (refused.call_id, refused.code) == (4, CODE_UNKNOWN_ID)


def test_shutdown_ends_everything_with_a_reason() -> None:
    house = House()
    agent, client = house.agent(), house.client()
    client.ask()
    client.heard()
    draining = house.drain()
    house.settle()
    house.settle()
    assert draining.called
    ended = one(client.heard(), "ended")
    assert ended.code == CODE_SHUTDOWN
    assert counts(ended) == {END_CANCELLED: 1}
    assert "client_stop" in agent.names()
    assert house.clock.getDelayedCalls() == []


class Ours:
    """10.0, 10.2 and 10.9 belong to one AS; each other network of this size to one of its own."""

    def owner(self, address: IPv4Address | IPv6Address) -> AsOwner | None:
        network = address.packed[1]
        return AsOwner(65001 if network in {0, 2, 9} else 65100 + network)


def traced(house: House, host: str) -> None:
    """Two agents have looked at a host, and their routes are in the store."""
    hops = ("10.11.0.1", "10.5.0.1", "10.0.0.9", host)
    far = {name: (house.agent(name), route(*hops)) for name in ("a1", "a2")}
    client = house.client()
    client.ask(agents=Agents(auto=Auto()), call_id=20, destinations=[host])
    one_by_one(house, far)
    serve(house, *(agent for agent, _ in far.values()))
    assert every(client.heard(), "ended")


def test_routes_to_a_neighbour_spare_the_look_at_a_new_target() -> None:
    house = House()
    traced(house, "10.2.0.1")
    near = house.client("c2")
    near.ask(agents=Agents(auto=Auto()), call_id=8, destinations=["10.2.0.2"])
    messages = near.heard()
    assert one(messages, "accepted").discovery_s == 0
    assert "others in its prefix" in one(messages, "selected").agents[0].why
    # Another prefix, of nobody knows which AS.
    far = house.client("c3")
    far.ask(agents=Agents(auto=Auto()), call_id=9, destinations=["10.9.0.2"])
    assert one(far.heard(), "accepted").discovery_s > 0


def test_routes_to_a_host_of_the_same_as_do_where_its_prefix_has_none() -> None:
    house = House(owners=Owners(map=Ours()))
    traced(house, "10.2.0.1")
    client = house.client("c2")
    client.ask(agents=Agents(auto=Auto()), call_id=9, destinations=["10.9.0.2"])
    messages = client.heard()
    assert one(messages, "accepted").discovery_s == 0
    assert "others in its AS" in one(messages, "selected").agents[0].why


def test_routes_of_a_day_ago_are_nobodys_neighbours() -> None:
    house = House()
    traced(house, "10.2.0.1")
    day_s = 24 * 3600 + 60
    house.clock.rightNow += day_s
    client = house.client("c2")
    client.ask(agents=Agents(auto=Auto()), call_id=9, destinations=["10.2.0.2"])
    assert one(client.heard(), "accepted").discovery_s > 0
