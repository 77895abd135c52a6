from __future__ import annotations

import random
from typing import Any

import pytest

from emodis.master.membership import Member
from emodis.master.selection import by_names, eligible, enough, least_loaded
from emodis.scheduling.model import AgentId
from emodis.techniques.kinds import needed
from emodis.techniques.loss import Loss
from emodis.techniques.ping import Ping
from emodis.wire.v1.client_pb2 import Refused
from emodis.wire.v1.common_pb2 import (
    CODE_BAD_REQUEST,
    CODE_NO_AGENT,
    PACKET_KIND_ICMP,
    PACKET_KIND_TCP,
    PACKET_KIND_UDP,
    Capability,
    PacketKind,
)
from tests.unit.master.house import TECHNIQUES, agent_hello


class Nowhere:
    """A port nobody uses."""

    heard_unix_ns = 0

    def send(self, message: Any) -> None:
        raise AssertionError("selection sends nothing")

    def dismiss(self, code: Any, text: str, retry_after_s: float) -> None:
        raise AssertionError("selection dismisses nobody")

    def pause(self) -> None: ...

    def resume(self) -> None: ...


def member(agent_id: str, address: str = "10.1.0.1", **fields: Any) -> Member:
    return Member(
        hello=agent_hello(agent_id, **fields),
        port=Nowhere(),
        peer_host=address,
        asn=0,
        as_name="",
    )


PRESENT = [
    member("alpha-1", "10.1.0.1"),
    member("alpha-2", "10.1.0.2", addresses=[b"\x0a\x07\x00\x07"]),
    member("beta", "10.1.0.3"),
    member("be", "10.1.0.3"),
]
TAP = TECHNIQUES["tap"]


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["beta"], ["beta"]),
        (["be"], ["be"]),
        (["bet"], ["beta"]),
        (["alpha-2", "alpha-1", "alpha-2"], ["alpha-2", "alpha-1"]),
        (["10.1.0.1"], ["alpha-1"]),
        (["10.7.0.7"], ["alpha-2"]),
    ],
)
def test_agents_are_found_by_id_unique_prefix_or_address(
    names: list[str], found: list[str]
) -> None:
    chosen = by_names(names, PRESENT, TAP, frozenset({4}))
    assert not isinstance(chosen, Refused)
    assert [one.id for one in chosen.members] == found
    assert chosen.pairs is None


@pytest.mark.parametrize(
    ("names", "code", "words"),
    [
        (["alpha"], CODE_BAD_REQUEST, "alpha-1, alpha-2"),
        (["10.1.0.3"], CODE_BAD_REQUEST, "more than one"),
        (["gamma"], CODE_NO_AGENT, "'gamma'"),
        ([""], CODE_BAD_REQUEST, "empty"),
        ([], CODE_BAD_REQUEST, "empty"),
    ],
)
def test_a_name_of_nobody_or_of_several_is_refused(names: list[str], code: int, words: str) -> None:
    refused = by_names(names, PRESENT, TAP, frozenset({4}))
    assert isinstance(refused, Refused)
    assert refused.code == code
    assert words in refused.text
    assert refused.hint


def test_a_named_agent_that_cannot_do_it_is_refused() -> None:
    refused = by_names(["x"], [member("x", capabilities=[])], TAP, frozenset({4}))
    assert isinstance(refused, Refused)
    assert refused.text == "agent x does not offer tap over IPv4"


def able_to_ping(agent_id: str, *kinds: PacketKind.ValueType) -> Member:
    ping = Capability(technique="ping", schema=Ping.SCHEMA, families=1, kinds=kinds)
    return member(agent_id, capabilities=[ping])


def test_only_agents_that_can_send_what_the_options_need_are_eligible() -> None:
    ping, ipv4 = Ping(), frozenset({4})
    modest = able_to_ping("modest", PACKET_KIND_UDP, PACKET_KIND_TCP)
    full = able_to_ping("full", PACKET_KIND_UDP, PACKET_KIND_TCP, PACKET_KIND_ICMP)
    # Older than the question: taken, as it always was.
    old = able_to_ping("old")
    echo = needed(ping, ping.call({}))
    assert eligible([modest, full, old], ping, ipv4, echo) == (full, old)
    refused = eligible([modest], ping, ipv4, echo)
    assert isinstance(refused, Refused)
    assert refused.code == CODE_NO_AGENT
    assert "can send what this needs: ICMP echo" in refused.text
    assert "another -o proto" in refused.hint
    for proto in ("udp", "tcp"):
        call = ping.call({"proto": proto})
        assert eligible([modest], ping, ipv4, needed(ping, call)) == (modest,)


def test_a_named_agent_that_cannot_send_it_is_refused_with_what_to_do() -> None:
    loss = Loss()
    capability = Capability(
        technique="loss", schema=loss.SCHEMA, families=1, kinds=[PACKET_KIND_UDP]
    )
    here = [member("x", capabilities=[capability])]
    refused = by_names(["x"], here, loss, frozenset({4}), needed(loss, loss.call({})))
    assert isinstance(refused, Refused)
    assert refused.text == "agent x cannot send what this needs: ICMP echo"
    # It has no such option.
    assert "-o proto" not in refused.hint
    assert "raw sockets" in refused.hint


def test_any_takes_the_least_loaded_and_counts_what_it_gives() -> None:
    load = {"alpha-1": 2, "alpha-2": 0, "beta": 1, "be": 9}
    chosen = least_loaded(PRESENT, 5, load=lambda agent: load[agent], random=lambda: 0.0)
    given = [agent for agent, _ in sorted(chosen.pairs or (), key=lambda pair: pair[1])]
    assert sorted(d for _, d in chosen.pairs or ()) == list(range(5))
    assert sorted(given) == ["alpha-1", "alpha-2", "alpha-2", "beta", "beta"] or sorted(given) == [
        "alpha-1",
        "alpha-2",
        "alpha-2",
        "alpha-2",
        "beta",
    ]
    assert "be" not in given


def test_ties_are_broken_at_random() -> None:
    chance = random.Random(7)
    winners = {
        next(iter(least_loaded(PRESENT, 1, load=lambda agent: 0, random=chance.random).pairs or ()))
        for _ in range(200)
    }
    assert winners == {(AgentId(one.id), 0) for one in PRESENT}


def test_one_agent_is_enough_unless_more_are_wanted() -> None:
    assert enough(PRESENT[:1], 0) is None
    assert enough(PRESENT[:2], 2) is None
    refused = enough(PRESENT[:1], 2)
    assert refused is not None
    assert refused.text == "1 matching agent, the request wants at least 2"
