"""The life of a connection, of either kind: one machine, every pair of state and event decided.

greeting --accept--> online --goodbye, offend, silent, dismiss--> closing --gone--> closed
    |                  \\-------------------- gone ------------------------------->/
    \\--refuse, silent, anything else--> closing           (gone leads to closed from everywhere)

A peer's mistake is an event (`offend`), never an exception.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from automat import TypeMachineBuilder
from google.protobuf.message import Message

from emodis.master.timers import Phase
from emodis.wire.hello import HANDSHAKE_TIMEOUT_S
from emodis.wire.v1.common_pb2 import (
    CODE_OUT_OF_ORDER,
    CODE_SILENT,
    Code,
    Goodbye,
    Hello,
    Keepalive,
    Refusal,
)


class Link(Protocol):
    """Everything that can happen to a connection."""

    def accept(self, hello: Hello) -> None:
        """A Hello came that may stay."""

    def refuse(self, refusal: Refusal) -> None:
        """A Hello came that may not."""

    def keepalive(self, message: Keepalive) -> None:
        """A sign of life."""

    def work(self, message: Message) -> None:
        """Any other message of the protocol."""

    def unknown(self) -> None:
        """A message newer than we are."""

    def goodbye(self, message: Goodbye) -> None:
        """The peer takes its leave."""

    def offend(self, code: Code.ValueType, text: str) -> None:
        """The peer did what the protocol does not allow."""

    def silent(self) -> None:
        """The timeout of the present phase has passed."""

    def dismiss(self, code: Code.ValueType, text: str, retry_after_s: float) -> None:
        """We end it: fenced, shutting down, too slow a reader."""

    def gone(self, reason: str) -> None:
        """The transport is closed."""


class Core(Protocol):
    """What the transitions act upon; AgentSession and ClientSession are the two."""

    def watch(self, phase: Phase) -> None: ...
    def unwatch(self) -> None: ...
    def enter(self, hello: Hello) -> None: ...
    def leave(self, reason: str) -> None: ...
    def answer_keepalive(self, message: Keepalive) -> None: ...
    def take(self, message: Message) -> None: ...
    def say_refusal(self, refusal: Refusal) -> None: ...
    def say_goodbye(self, goodbye: Goodbye) -> None: ...
    def hang_up(self, reason: str) -> None: ...
    def cut(self, reason: str) -> None: ...
    def complain(self, text: str) -> None: ...


# Automat looks at the type only; it never makes one.
builder = TypeMachineBuilder(Link, Core)  # type: ignore[type-abstract]
greeting = builder.state("greeting")
online = builder.state("online")
closing = builder.state("closing")
closed = builder.state("closed")


@greeting.upon(Link.accept).to(online)
def _welcome(link: Link, core: Core, hello: Hello) -> None:
    core.watch(Phase.ONLINE)
    core.enter(hello)


@greeting.upon(Link.refuse).to(closing)
def _refuse(link: Link, core: Core, refusal: Refusal) -> None:
    core.complain(f"refused: {refusal.text}")
    core.watch(Phase.CLOSING)
    core.say_refusal(refusal)
    core.hang_up(refusal.text)


def _refuse_order(core: Core) -> None:
    text = "the first message must be Hello"
    core.complain(text)
    core.watch(Phase.CLOSING)
    core.say_refusal(Refusal(code=CODE_OUT_OF_ORDER, text=text))
    core.hang_up(text)


@greeting.upon(Link.keepalive).to(closing)
def _early_keepalive(link: Link, core: Core, message: Keepalive) -> None:
    _refuse_order(core)


@greeting.upon(Link.work).to(closing)
def _early_work(link: Link, core: Core, message: Message) -> None:
    _refuse_order(core)


@greeting.upon(Link.unknown).to(closing)
def _early_unknown(link: Link, core: Core) -> None:
    _refuse_order(core)


@greeting.upon(Link.goodbye).to(closing)
def _early_goodbye(link: Link, core: Core, message: Goodbye) -> None:
    core.watch(Phase.CLOSING)
    core.hang_up("it said goodbye before Hello")


@greeting.upon(Link.offend).to(closing)
def _refuse_offender(link: Link, core: Core, code: Code.ValueType, text: str) -> None:
    core.complain(text)
    core.watch(Phase.CLOSING)
    core.say_refusal(Refusal(code=code, text=text))
    core.hang_up(text)


@greeting.upon(Link.silent).to(closing)
def _never_greeted(link: Link, core: Core) -> None:
    text = f"no Hello within {HANDSHAKE_TIMEOUT_S:g} s"
    core.complain(text)
    core.cut(text)


@greeting.upon(Link.dismiss).to(closing)
def _dismiss_stranger(
    link: Link, core: Core, code: Code.ValueType, text: str, retry_after_s: float
) -> None:
    core.watch(Phase.CLOSING)
    core.say_refusal(Refusal(code=code, text=text, retry_after_s=retry_after_s))
    core.hang_up(text)


@greeting.upon(Link.gone).to(closed)
def _left_early(link: Link, core: Core, reason: str) -> None:
    core.unwatch()
    core.complain(f"closed before Hello: {reason}")


@online.upon(Link.keepalive).loop()
def _reply(link: Link, core: Core, message: Keepalive) -> None:
    core.watch(Phase.ONLINE)
    core.answer_keepalive(message)


@online.upon(Link.work).loop()
def _take(link: Link, core: Core, message: Message) -> None:
    core.take(message)


@online.upon(Link.unknown).loop()
def _ignore_newer(link: Link, core: Core) -> None:
    core.complain("a message of a kind that this version does not know was ignored")


def _throw_out(core: Core, code: Code.ValueType, text: str, retry_after_s: float = 0.0) -> None:
    core.watch(Phase.CLOSING)
    core.say_goodbye(Goodbye(code=code, text=text, retry_after_s=retry_after_s))
    core.hang_up(text)
    core.leave(text)


@online.upon(Link.accept).to(closing)
def _second_hello(link: Link, core: Core, hello: Hello) -> None:
    core.complain("a second Hello")
    _throw_out(core, CODE_OUT_OF_ORDER, "a second Hello")


@online.upon(Link.refuse).to(closing)
def _second_bad_hello(link: Link, core: Core, refusal: Refusal) -> None:
    core.complain("a second Hello")
    _throw_out(core, CODE_OUT_OF_ORDER, "a second Hello")


@online.upon(Link.goodbye).to(closing)
def _take_leave(link: Link, core: Core, message: Goodbye) -> None:
    text = f"it said goodbye{': ' if message.text else ''}{message.text[:200]}"
    core.watch(Phase.CLOSING)
    core.hang_up(text)
    core.leave(text)


@online.upon(Link.offend).to(closing)
def _throw_out_offender(link: Link, core: Core, code: Code.ValueType, text: str) -> None:
    core.complain(text)
    _throw_out(core, code, text)


@online.upon(Link.silent).to(closing)
def _give_up(link: Link, core: Core) -> None:
    # Whoever is there after all learns why; a dead line is cut when the closing phase ends.
    text = "no keepalive came in time"
    core.complain(text)
    _throw_out(core, CODE_SILENT, text)


@online.upon(Link.dismiss).to(closing)
def _dismiss(link: Link, core: Core, code: Code.ValueType, text: str, retry_after_s: float) -> None:
    _throw_out(core, code, text, retry_after_s)


@online.upon(Link.gone).to(closed)
def _lose(link: Link, core: Core, reason: str) -> None:
    core.unwatch()
    core.leave(reason)


@closing.upon(Link.silent).loop()
def _lose_patience(link: Link, core: Core) -> None:
    core.cut("it did not read its last message")


@closing.upon(Link.gone).to(closed)
def _over(link: Link, core: Core, reason: str) -> None:
    core.unwatch()


# Decided, and nothing to do: late echoes of something already settled.
for _state in (closing, closed):
    _state.upon(Link.accept).loop().returns(None)
    _state.upon(Link.refuse).loop().returns(None)
    _state.upon(Link.keepalive).loop().returns(None)
    _state.upon(Link.work).loop().returns(None)
    _state.upon(Link.unknown).loop().returns(None)
    _state.upon(Link.goodbye).loop().returns(None)
    _state.upon(Link.offend).loop().returns(None)
    _state.upon(Link.dismiss).loop().returns(None)
closed.upon(Link.silent).loop().returns(None)
closed.upon(Link.gone).loop().returns(None)

make_link: Callable[[Core], Link] = builder.build()
