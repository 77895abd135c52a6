"""What the ends of a run say to each other goes to the right one, or nowhere."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from emodis.master.keys import from_wire
from emodis.master.measurement import Measurement
from emodis.master.membership import Member, Membership
from emodis.master.relays import MOST_RUN_BYTES, MOST_WORDS_BYTES, Relays
from emodis.techniques import registry
from emodis.wire.v1.client_pb2 import Request
from emodis.wire.v1.common_pb2 import Hello, PeerOffer, Relay, RunKey

RUN = RunKey(measurement_id="m", agent_id="a")


@attrs.define(eq=False)
class Port:
    """A session's end that keeps what it is given."""

    sent: list[Any] = attrs.field(factory=list)

    def send(self, message: Any) -> None:
        self.sent.append(message.relay)


@attrs.define
class Rig:
    """Agent a has the run in work, for `client`."""

    agent: Any = attrs.field(factory=Port)
    client: Any = attrs.field(factory=Port)
    offer: PeerOffer = attrs.field(factory=lambda: PeerOffer(token=bytes(16), relay=True))
    member: Member = attrs.field(init=False)
    measurement: Measurement = attrs.field(init=False)
    relays: Relays = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        technique = registry.get("igi")
        self.member = Member(
            hello=Hello(id="a"), port=self.agent, peer_host="192.0.2.7", asn=0, as_name=""
        )
        self.measurement = Measurement(
            id="m",
            client_id="c",
            call=technique.call({}),
            technique=technique,
            targets=(),
            request=Request(peer=self.offer),
            budget_s=1.0,
            admitted_unix_ns=0,
            owner=self.client,
        )
        run = from_wire(RUN)
        self.measurement.begin([(run.agent, 0)])
        self.measurement.started[run.agent, 0] = run
        members = Membership()
        members.join(self.member)
        self.relays = Relays(live={"m": self.measurement}, members=members)

    def words(self) -> tuple[int, int]:
        """How many came to the agent and to the client."""
        return len(self.agent.sent), len(self.client.sent)


def test_words_go_both_ways_and_the_client_learns_where_the_agent_is() -> None:
    rig = Rig()
    rig.relays.from_agent(rig.member, Relay(run=RUN, words=b"hello"))
    rig.relays.from_client(rig.client, Relay(run=RUN, words=b"ready", agent_address=b"lies"))
    address = bytes([192, 0, 2, 7])
    assert rig.client.sent == [Relay(run=RUN, words=b"hello", agent_address=address)]
    assert rig.agent.sent == [Relay(run=RUN, words=b"ready")]


def test_nobody_speaks_for_another_client() -> None:
    rig = Rig()
    stranger: Any = Port()
    rig.relays.from_client(stranger, Relay(run=RUN, words=b"ready"))
    assert rig.words() == (0, 0)


@pytest.mark.parametrize(
    "run",
    [
        RunKey(measurement_id="other", agent_id="a"),
        RunKey(measurement_id="m", agent_id="b"),
        RunKey(measurement_id="m", agent_id="a", attempt=1),
    ],
)
def test_only_runs_in_work_are_heard(run: RunKey) -> None:
    rig = Rig()
    rig.relays.from_client(rig.client, Relay(run=run, words=b"ready"))
    rig.relays.from_agent(rig.member, Relay(run=run, words=b"hello"))
    assert rig.words() == (0, 0)


def test_a_run_that_has_ended_says_nothing_more() -> None:
    rig = Rig()
    rig.measurement.open.clear()
    rig.relays.from_agent(rig.member, Relay(run=RUN, words=b"hello"))
    assert rig.words() == (0, 0)


def test_a_client_that_did_not_offer_it_hears_nothing() -> None:
    rig = Rig(offer=PeerOffer(tcp_port=40000, token=bytes(16)))
    rig.relays.from_agent(rig.member, Relay(run=RUN, words=b"hello"))
    assert rig.words() == (0, 0)


def test_nobody_says_more_than_an_honest_end_would() -> None:
    rig = Rig()
    rig.relays.from_client(rig.client, Relay(run=RUN, words=bytes(MOST_WORDS_BYTES + 1)))
    assert rig.words() == (0, 0)
    for _ in range(2 * MOST_RUN_BYTES // MOST_WORDS_BYTES):
        rig.relays.from_client(rig.client, Relay(run=RUN, words=bytes(MOST_WORDS_BYTES)))
    heard = sum(len(relay.words) for relay in rig.agent.sent)
    assert MOST_RUN_BYTES - 2 * MOST_WORDS_BYTES <= heard <= MOST_RUN_BYTES
