"""Who is in the directory, and how much of it who may see."""

from __future__ import annotations

from emodis.master.directory import AGENTS_PER_PAGE
from emodis.master.owners import Owners
from emodis.topology.asn import AsOwner
from emodis.wire.v1.client_pb2 import AgentEntry, AgentList, FromClient, ListAgents
from emodis.wire.v1.common_pb2 import ROLE_MANAGER, ROLE_REQUESTER, Role
from tests.support.deferreds import result_of
from tests.unit.master.house import START_S, UNIX_NS, FarAgent, House, agent_hello, keepalive_agent

NS = 10**9
ADDRESS = b"\x0a\x01\x00\x01"


class OneAs:
    """A map that knows one AS."""

    def owner(self, address: object) -> AsOwner:
        return AsOwner(asn=65001, name="Alder")


def page(house: House, role: Role.ValueType = ROLE_MANAGER, **wanted: object) -> AgentList:
    asked = ListAgents(call_id=2, **wanted)  # type: ignore[arg-type]
    return result_of(house.service._parts.directory.page(asked, role))


def entry(house: House, agent: str = "a1") -> AgentEntry:
    (found,) = [one for one in page(house).agents if one.id == agent]
    return found


def since_start_s(found: AgentEntry) -> float:
    return (found.last_seen_unix_ns - UNIX_NS) / NS - START_S


def test_an_agent_that_is_here() -> None:
    house = House(owners=Owners(OneAs()))
    house.agent("a1", place="Paris", tags=["lab"], addresses=[ADDRESS])
    found = entry(house)
    assert (found.place, found.asn, found.as_name) == ("Paris", 65001, "Alder")
    assert list(found.techniques) == ["tap", "traceroute"]
    assert list(found.tags) == ["lab"]
    assert list(found.addresses) == [ADDRESS]
    assert (found.online, found.load) == (True, 0)


def test_it_was_last_seen_when_its_latest_message_came() -> None:
    house = House()
    agent = house.agent("a1")
    house.pass_time(15)
    assert since_start_s(entry(house)) == 0
    agent.say(keepalive_agent())
    house.pass_time(10)
    assert since_start_s(entry(house)) == 15


def test_an_agent_that_has_left_is_still_known_and_when_it_was_here() -> None:
    house = House(owners=Owners(OneAs()))
    agent = house.agent("a1", place="Paris", addresses=[ADDRESS])
    house.pass_time(15)
    agent.say(keepalive_agent())
    house.pass_time(10)
    agent.cut()
    found = entry(house)
    assert not found.online
    assert (found.place, found.as_name, found.load) == ("Paris", "Alder", 0)
    assert since_start_s(found) == 15


def test_a_fenced_agent_is_here_all_the_same() -> None:
    house = House()
    house.agent("a1", place="Paris")
    house.pass_time(5)
    house.agent("a1", place="Lyon")
    assert (entry(house).online, entry(house).place) == (True, "Lyon")
    assert house.ledger.seen["a1"].hello.place == "Lyon"


def test_a_requester_learns_nothing_about_load_addresses_and_who_is_here() -> None:
    house = House()
    house.agent("a1", addresses=[ADDRESS])
    gone: FarAgent = house.agent("a2")
    gone.cut()
    found = page(house, ROLE_REQUESTER).agents
    assert [one.id for one in found] == ["a1", "a2"]
    for one in found:
        assert (one.online, one.load, one.last_seen_unix_ns) == (False, 0, 0)
        assert list(one.addresses) == []


def test_only_those_with_the_technique_and_all_tags() -> None:
    house = House()
    house.agent("a1", tags=["lab", "fast"])
    house.agent("a2", tags=["lab"])
    house.agent("a3", tags=["lab", "fast"], capabilities=[]).cut()
    assert [one.id for one in page(house, tags=["lab", "fast"]).agents] == ["a1", "a3"]
    assert [one.id for one in page(house, technique="tap").agents] == ["a1", "a2"]


def test_page_by_page_everybody_comes_once_here_or_not() -> None:
    house = House()
    names = [f"a{number:04d}" for number in range(2 * AGENTS_PER_PAGE)]
    for number, name in enumerate(names):
        if number % 3:
            _ = house.ledger.save_agent(agent_hello(name), asn=0, seen_unix_ns=1)
        else:
            house.agent(name)
            # Its Hello has not reached the disk yet.
            house.ledger.seen.pop(name)
    listed: list[str] = []
    cursor = ""
    for _ in range(4):
        one = page(house, cursor=cursor)
        assert len(one.agents) <= AGENTS_PER_PAGE
        listed.extend(entry.id for entry in one.agents)
        cursor = one.next_cursor
        if not cursor:
            break
    assert cursor == ""
    assert listed == names


def test_the_directory_is_answered_over_the_wire() -> None:
    house = House()
    house.agent("a1")
    client = house.client()
    client.say(FromClient(list_agents=ListAgents(call_id=2)))
    (answer,) = client.heard()
    assert (answer.agents.call_id, [one.id for one in answer.agents.agents]) == (2, ["a1"])
