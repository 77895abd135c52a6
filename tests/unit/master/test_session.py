from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest
from google.protobuf.message import Message

from emodis.master.session import Link, make_link
from emodis.master.timers import Phase
from emodis.wire.v1.agent_pb2 import FromAgent
from emodis.wire.v1.common_pb2 import (
    CODE_FENCED,
    CODE_FRAME,
    CODE_OUT_OF_ORDER,
    CODE_SILENT,
    Goodbye,
    Hello,
    Keepalive,
    Refusal,
)


@attrs.define
class Recorder:
    """A core that writes down what it is asked to do."""

    did: list[str] = attrs.field(factory=list)

    def watch(self, phase: Phase) -> None:
        self.did.append(f"watch {phase.name}")

    def unwatch(self) -> None:
        self.did.append("unwatch")

    def enter(self, hello: Hello) -> None:
        self.did.append("enter")

    def leave(self, reason: str) -> None:
        self.did.append("leave")

    def answer_keepalive(self, message: Keepalive) -> None:
        self.did.append("reply")

    def take(self, message: Message) -> None:
        self.did.append("take")

    def say_refusal(self, refusal: Refusal) -> None:
        self.did.append(f"refusal {refusal.code}")

    def say_goodbye(self, goodbye: Goodbye) -> None:
        self.did.append(f"goodbye {goodbye.code}")

    def hang_up(self, reason: str) -> None:
        self.did.append("hang up")

    def cut(self, reason: str) -> None:
        self.did.append("cut")

    def complain(self, text: str) -> None:
        self.did.append("complain")


Step = Callable[[Link], None]
EVENTS: dict[str, Step] = {
    "accept": lambda link: link.accept(Hello()),
    "refuse": lambda link: link.refuse(Refusal(code=CODE_FRAME)),
    "keepalive": lambda link: link.keepalive(Keepalive()),
    "work": lambda link: link.work(FromAgent()),
    "unknown": lambda link: link.unknown(),
    "goodbye": lambda link: link.goodbye(Goodbye()),
    "offend": lambda link: link.offend(CODE_FRAME, "bad"),
    "silent": lambda link: link.silent(),
    "dismiss": lambda link: link.dismiss(CODE_FENCED, "go", 300.0),
    "gone": lambda link: link.gone("lost"),
}
WAY_TO: dict[str, list[str]] = {
    "greeting": [],
    "online": ["accept"],
    "closing": ["refuse"],
    "closed": ["gone"],
}
OUT = f"goodbye {CODE_OUT_OF_ORDER}"
REFUSED = f"refusal {CODE_OUT_OF_ORDER}"
NOTHING: dict[str, list[str]] = {name: [] for name in EVENTS}
# What each pair must lead to; an empty list is a decision too.
DECIDED: dict[str, dict[str, list[str]]] = {
    "greeting": {
        "accept": ["watch ONLINE", "enter"],
        "refuse": ["complain", "watch CLOSING", f"refusal {CODE_FRAME}", "hang up"],
        "keepalive": ["complain", "watch CLOSING", REFUSED, "hang up"],
        "work": ["complain", "watch CLOSING", REFUSED, "hang up"],
        "unknown": ["complain", "watch CLOSING", REFUSED, "hang up"],
        "goodbye": ["watch CLOSING", "hang up"],
        "offend": ["complain", "watch CLOSING", f"refusal {CODE_FRAME}", "hang up"],
        "silent": ["complain", "cut"],
        "dismiss": ["watch CLOSING", f"refusal {CODE_FENCED}", "hang up"],
        "gone": ["unwatch", "complain"],
    },
    "online": {
        "accept": ["complain", "watch CLOSING", OUT, "hang up", "leave"],
        "refuse": ["complain", "watch CLOSING", OUT, "hang up", "leave"],
        "keepalive": ["watch ONLINE", "reply"],
        "work": ["take"],
        "unknown": ["complain"],
        "goodbye": ["watch CLOSING", "hang up", "leave"],
        "offend": ["complain", "watch CLOSING", f"goodbye {CODE_FRAME}", "hang up", "leave"],
        "silent": ["complain", "watch CLOSING", f"goodbye {CODE_SILENT}", "hang up", "leave"],
        "dismiss": ["watch CLOSING", f"goodbye {CODE_FENCED}", "hang up", "leave"],
        "gone": ["unwatch", "leave"],
    },
    "closing": {**NOTHING, "silent": ["cut"], "gone": ["unwatch"]},
    "closed": NOTHING,
}


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("state", WAY_TO)
def test_every_pair_is_decided(state: str, event: str) -> None:
    core = Recorder()
    link = make_link(core)
    for step in WAY_TO[state]:
        EVENTS[step](link)
    core.did.clear()
    EVENTS[event](link)
    assert core.did == DECIDED[state][event]


@pytest.mark.parametrize("first", EVENTS)
@pytest.mark.parametrize("second", EVENTS)
def test_whoever_was_online_leaves_exactly_once(first: str, second: str) -> None:
    core = Recorder()
    link = make_link(core)
    link.accept(Hello())
    EVENTS[first](link)
    EVENTS[second](link)
    link.gone("lost")
    assert core.did.count("leave") == 1
    assert core.did.count("unwatch") == 1
