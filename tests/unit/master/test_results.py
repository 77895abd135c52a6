from __future__ import annotations

from typing import Any

from emodis.master.owners import Owners
from emodis.master.store.errors import StoreError
from emodis.topology.asn import AsOwner
from emodis.wire.v1.client_pb2 import Agents, Ids
from emodis.wire.v1.common_pb2 import END_CANCELLED, END_DONE, END_FAILED, RunKey
from tests.unit.master.house import House, keepalive_agent


def kinds(messages: list[Any]) -> list[str]:
    return [str(message.WhichOneof("body")) for message in messages]


def test_committed_then_acknowledged_then_relayed() -> None:
    house = House()
    agent, client = house.agent(), house.client()
    client.ask()
    run = agent.assignments()[0].run
    client.heard()
    house.ledger.hold = True
    order = house.ledger.journal
    agent.line.written = lambda: order.append("ack")
    client.line.written = lambda: order.append("relay")
    agent.finish(run)
    house.settle()
    # Nothing is promised, and nothing shown, before it is on the disk.
    assert order == []
    house.ledger.commit()
    house.settle()
    assert order == ["commit", "ack", "relay", "relay"]
    assert [list(m.ack.runs) for m in agent.heard()] == [[run]]
    assert kinds(client.heard()) == ["result", "ended"]


def test_one_ack_per_agent_and_batch() -> None:
    house = House()
    agents = [house.agent("a1"), house.agent("a2")]
    house.ledger.hold = True
    for agent in agents:
        for number in range(5):
            agent.finish(RunKey(measurement_id="gone", agent_id=agent.id, destination=number))
    house.ledger.commit()
    house.settle()
    for agent in agents:
        (message,) = agent.heard()
        assert [run.destination for run in message.ack.runs] == list(range(5))


def test_a_result_of_an_unknown_measurement_is_kept_and_acknowledged() -> None:
    house = House()
    agent = house.agent()
    agent.finish(RunKey(measurement_id="from before", agent_id="a1"), respooled=True)
    house.settle()
    assert kinds(agent.heard()) == ["ack"]
    assert house.ledger.runs["from before", "a1", 0].late


def test_what_could_not_be_stored_is_not_acknowledged_and_the_measurement_ends_all_the_same() -> (
    None
):
    house = House()
    agent, client = house.agent(), house.client()
    client.ask()
    run = agent.assignments()[0].run
    client.heard()
    house.ledger.broken = StoreError("the disk is full")
    agent.finish(run)
    house.settle()
    assert agent.heard() == []
    (message,) = client.heard()
    assert message.ended.text == "1 result could not be stored"
    house.ledger.broken = None
    agent.finish(run, respooled=True)
    house.settle()
    assert kinds(agent.heard()) == ["ack"]


def test_a_result_sent_twice_is_acknowledged_twice_and_shown_once() -> None:
    house = House()
    agent, client = house.agent(), house.client()
    client.ask(destinations=["10.0.0.1", "10.0.0.2"])
    run = agent.assignments()[0].run
    for _ in range(2):
        agent.finish(run)
        house.settle()
    assert kinds(agent.heard()).count("ack") == 2
    assert kinds(client.heard()).count("result") == 1


def test_a_late_result_is_kept_and_marked() -> None:
    house = House()
    agent, client = house.agent(), house.client()
    client.ask(destinations=["10.0.0.1", "10.0.0.2"])
    run = agent.assignments()[0].run
    for _ in range(20):
        house.pass_time(1)
        agent.say(keepalive_agent())
        if "result" in kinds(client.heard()):
            break
    else:
        raise AssertionError("the run is never given up")
    agent.finish(run)
    house.settle()
    (message,) = client.heard()
    assert message.result.late
    assert message.result.outcome.ending.end == END_DONE
    assert house.ledger.runs[run.measurement_id, "a1", run.destination].late


def test_a_result_nobody_asked_for_ends_no_pair() -> None:
    house = House()
    agent, client = house.agent(), house.client()
    client.ask(destinations=["10.0.0.1", "10.0.0.2"])
    run = agent.assignments()[0].run
    invented = RunKey(
        measurement_id=run.measurement_id, agent_id="a1", destination=1 - run.destination
    )
    agent.finish(invented)
    agent.finish(RunKey(measurement_id=run.measurement_id, agent_id="a1", destination=99))
    house.settle()
    assert not {"result", "ended"} & set(kinds(client.heard()))
    assert kinds(agent.heard()) == ["ack", "ack"]
    assert house.ledger.runs == {}


def test_an_agent_that_gives_up_while_it_is_here_ends_its_pair() -> None:
    house = House()
    agent, client = house.agent(), house.client()
    client.ask()
    agent.finish(agent.assignments()[0].run, END_CANCELLED)
    house.settle()
    assert kinds(client.heard())[-2:] == ["result", "ended"]


def test_a_failure_is_a_result_too() -> None:
    house = House()
    agent, client = house.agent(), house.client()
    client.ask()
    agent.finish(agent.assignments()[0].run, END_FAILED, reason="no_reply")
    house.settle()
    result, ended = client.heard()[-2:]
    assert result.result.outcome.ending.reason == "no_reply"
    assert {c.end: c.runs for c in ended.ended.counts} == {END_FAILED: 1}


def test_under_pressure_agents_are_not_read_and_not_blamed() -> None:
    house = House()
    agent = house.agent("a1")
    house.ledger.on_pressure(True)
    late = house.agent("a2")
    assert agent.line.producerState == "paused"
    assert late.line.producerState == "paused"
    house.advance(200)
    assert not agent.gone
    house.ledger.on_pressure(False)
    assert agent.line.producerState == "producing"
    assert late.line.producerState == "producing"
    house.advance(60)
    assert agent.gone


class Neighbours:
    """A map that knows one network."""

    def owner(self, address: Any) -> AsOwner | None:
        return AsOwner(65001, "Example Net") if str(address).startswith("10.9.") else None


def test_results_say_whose_addresses_appear_in_them() -> None:
    for owners in (Owners(), Owners(Neighbours())):
        house = House(owners=owners)
        agent, client = house.agent(), house.client()
        client.ask(destinations=["10.9.0.1"], agents=Agents(ids=Ids(ids=["a"])))
        agent.finish(agent.assignments()[0].run)
        house.settle()
        result = next(m.result for m in client.heard() if m.WhichOneof("body") == "result")
        assert result.as_map == (owners.map is not None)
        found = [(o.address, o.asn, o.as_name) for o in result.owners]
        assert found == (
            [
                (b"\x0a\x09\x00\x01", 65001, "Example Net"),
                (b"\x0a\x09\x09\x09", 65001, "Example Net"),
            ]
            if owners.map
            else []
        )
