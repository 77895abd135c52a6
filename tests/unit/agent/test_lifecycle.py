from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest
from twisted.internet.task import Clock

from emodis.agent.backoff import Backoff, Cause, Drop
from emodis.agent.lifecycle import Link, LinkCore, builder, make_link
from emodis.wire.v1.agent_pb2 import Ack, ToAgent
from emodis.wire.v1.common_pb2 import KeepaliveReply, Welcome


@attrs.define
class Recorder:
    """Effects that only say that they happened."""

    did: list[str] = attrs.field(factory=list)

    def connect(self) -> None:
        self.did.append("connect")

    def cancel_connect(self) -> None:
        self.did.append("cancel connect")

    def greet(self) -> None:
        self.did.append("greet")

    def begin(self, welcome: Welcome) -> None:
        self.did.append("begin")

    def keep_alive(self, reply: KeepaliveReply) -> None:
        self.did.append("keep alive")

    def obey(self, order: ToAgent) -> None:
        self.did.append("obey")

    def abandon(self, reason: str) -> None:
        self.did.append("abandon")

    def wind_down(self) -> None:
        self.did.append("wind down")

    def part(self) -> None:
        self.did.append("part")

    def patience_s(self) -> float:
        return 45.0

    def report(self, drop: Drop, delay_s: float) -> None:
        self.did.append(f"wait {delay_s:g} s after {drop.cause.value}")

    def finish(self) -> None:
        self.did.append("finish")


@attrs.define
class Rig:
    clock: Clock = attrs.field(factory=Clock)
    effects: Recorder = attrs.field(factory=Recorder)
    core: LinkCore = attrs.field(init=False)
    link: Link = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        backoff = Backoff(lambda low, high: low)
        self.core = LinkCore(clock=self.clock, backoff=backoff, effects=self.effects)
        self.link = make_link(self.core)

    def go(self, *steps: Step) -> list[str]:
        """Take the steps; what the last one did."""
        for step in steps:
            self.effects.did.clear()
            step(self.link)
        return self.effects.did


Step = Callable[[Link], None]
LOST = Drop(cause=Cause.CLOSED, text="it closed")
FENCED = Drop(cause=Cause.FENCED, text="fenced")


def welcomed(link: Link) -> None:
    link.welcomed(Welcome())


def answered(link: Link) -> None:
    link.answered(KeepaliveReply())


def ordered(link: Link) -> None:
    link.ordered(ToAgent(ack=Ack()))


def dropped(link: Link) -> None:
    link.dropped(LOST)


def fenced(link: Link) -> None:
    link.dropped(FENCED)


def dial(link: Link) -> None:
    link.dial()


def connected(link: Link) -> None:
    link.connected()


def silent(link: Link) -> None:
    link.silent()


def drain(link: Link) -> None:
    link.drain()


def drained(link: Link) -> None:
    link.drained()


ONLINE: list[Step] = [dial, connected, welcomed]
WAY_TO: dict[str, list[Step]] = {
    "idle": [],
    "dialling": [dial],
    "greeting": [dial, connected],
    "online": ONLINE,
    "waiting": [dial, dropped],
    "draining": [*ONLINE, drain],
    "stopped": [drain],
}
EVENTS: dict[str, Step] = {
    "dial": dial,
    "connected": connected,
    "welcomed": welcomed,
    "answered": answered,
    "ordered": ordered,
    "dropped": dropped,
    "silent": silent,
    "drain": drain,
    "drained": drained,
}
REFUSED = "wait 300 s after refused"
NOTHING: list[str] = []
# What every pair does; those that are not here do nothing.
EFFECTS: dict[tuple[str, str], list[str]] = {
    ("idle", "dial"): ["connect"],
    ("idle", "connected"): ["abandon"],
    ("idle", "drain"): ["finish"],
    ("dialling", "connected"): ["greet"],
    ("dialling", "dropped"): ["wait 1 s after closed"],
    ("dialling", "silent"): ["cancel connect", "wait 1 s after unreachable"],
    ("dialling", "drain"): ["cancel connect", "finish"],
    ("greeting", "welcomed"): ["begin"],
    ("greeting", "answered"): ["abandon", REFUSED],
    ("greeting", "ordered"): ["abandon", REFUSED],
    ("greeting", "dropped"): ["abandon", "wait 1 s after closed"],
    ("greeting", "silent"): ["abandon", "wait 30 s after silent"],
    ("greeting", "drain"): ["part", "finish"],
    ("online", "welcomed"): ["abandon", REFUSED],
    ("online", "answered"): ["keep alive"],
    ("online", "ordered"): ["obey"],
    ("online", "dropped"): ["abandon", "wait 1 s after closed"],
    ("online", "silent"): ["abandon", "wait 30 s after silent"],
    ("online", "drain"): ["wind down"],
    ("waiting", "dial"): ["connect"],
    ("waiting", "connected"): ["abandon"],
    ("waiting", "drain"): ["finish"],
    ("draining", "welcomed"): ["abandon", "finish"],
    ("draining", "answered"): ["keep alive"],
    ("draining", "ordered"): ["obey"],
    ("draining", "dropped"): ["abandon", "finish"],
    ("draining", "silent"): ["abandon", "finish"],
    ("draining", "drained"): ["part", "finish"],
    ("stopped", "connected"): ["abandon"],
}


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("state", WAY_TO)
def test_every_pair_is_decided(state: str, event: str) -> None:
    rig = Rig()
    assert rig.go(*WAY_TO[state], EVENTS[event]) == EFFECTS.get((state, event), NOTHING)


def test_the_tables_know_every_state_and_every_event() -> None:
    machine = builder._automaton
    assert {state.name for state in machine.states()} == set(WAY_TO)
    assert machine.inputAlphabet() == set(EVENTS)


def test_a_lost_master_is_dialled_again_after_its_floor() -> None:
    rig = Rig()
    rig.go(*ONLINE, silent)
    rig.effects.did.clear()
    rig.clock.advance(29.9)
    assert rig.effects.did == []
    rig.clock.advance(0.1)
    assert rig.effects.did == ["connect"]


def test_a_fenced_agent_takes_the_slow_schedule() -> None:
    assert Rig().go(*ONLINE, fenced) == ["abandon", "wait 300 s after fenced"]


def test_a_master_that_welcomes_and_hangs_up_is_dialled_ever_more_slowly() -> None:
    rig = Rig()
    rig.core.backoff = Backoff(lambda low, high: high)
    again: list[Step] = [dial, connected, welcomed, dropped]
    waits = [rig.go(*again)[-1] for _ in range(3)]
    assert waits == [f"wait {s} s after closed" for s in (2, 3, 5)]
    rig.go(dial, connected, welcomed, answered)
    assert rig.go(dropped)[-1] == "wait 2 s after closed"


@pytest.mark.parametrize("state", WAY_TO)
def test_stopping_leaves_no_timer_behind_and_finishes_once(state: str) -> None:
    rig = Rig()
    rig.go(*WAY_TO[state])
    did = []
    for step in (drain, drained, drain, dropped, silent):
        did += rig.go(step)
    assert did.count("finish") == (0 if state == "stopped" else 1)
    assert rig.clock.getDelayedCalls() == []
