"""Techniques of other packages: found by name, imported when first asked for, held to the rules.

Whatever is wrong with one is a `BrokenPlugin` with one line of text, never another exception: not
when it is imported, and not when it is asked later (`Guarded`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import EntryPoint
from typing import Any, NoReturn, TypeVar, cast

import attrs

from emodis.packets.model import Address
from emodis.techniques.base import (
    BadParameters,
    Context,
    Conversation,
    Conversational,
    Measured,
    Option,
    Spend,
    Technique,
)
from emodis.techniques.kinds import NOTHING, Kinds, needed
from emodis.techniques.skeleton import LONGEST_RUN_S
from emodis.wire.v1.client_pb2 import Policy
from emodis.wire.v1.common_pb2 import Body

T = TypeVar("T")

_METHODS = (
    "options",
    "call",
    "expected",
    "worst_case",
    "conversation",
    "estimate",
    "result",
    "addresses",
)
# What a master of this version can schedule.
_POLICIES = (Policy.POLICY_RING, Policy.POLICY_LOCK)
_LONGEST_SUMMARY = 200


class BrokenPlugin(ValueError):
    """A plug-in that cannot be used; the text is one line that names it and says why."""


@attrs.define
class Plugins:
    """The plug-ins of this installation. What was loaded, or found broken, stays so."""

    installed: Mapping[str, EntryPoint]
    _loaded: dict[str, Conversational | BrokenPlugin] = attrs.field(factory=dict, init=False)

    def load(self, name: str) -> Conversational:
        """Import a plug-in, if that has not been done.

        Raises:
            KeyError: if none of that name is installed.
            BrokenPlugin: if it cannot be used.
        """
        if name not in self._loaded:
            self._loaded[name] = _load(self.installed[name])
        known = self._loaded[name]
        if isinstance(known, BrokenPlugin):
            raise known
        return known


class Guarded:
    """A technique of somebody else: an exception that its interface does not know becomes one
    that it does, and costs that make no sense are bad parameters."""

    def __init__(self, technique: Conversational) -> None:
        self._technique = technique
        self.NAME = technique.NAME
        self.SCHEMA = technique.SCHEMA
        self.EXCLUSIVE = technique.EXCLUSIVE
        self.POLICY = technique.POLICY
        self.NEEDS_RAW = technique.NEEDS_RAW
        self.SUMMARY = technique.SUMMARY

    def __getattr__(self, name: str) -> Any:
        """What it offers beyond the interface: message types."""
        return getattr(self._technique, name)

    def options(self) -> Sequence[Option]:
        return self._ask(self._technique.options, RuntimeError)

    def call(self, options: Mapping[str, str]) -> Body:
        body = self._ask(lambda: self._technique.call(options), BadParameters)
        self.worst_case(body)
        return body

    def expected(self, call: Body) -> Spend:
        return self._sensible(self._ask(lambda: self._technique.expected(call), BadParameters))

    def worst_case(self, call: Body) -> Spend:
        return self._sensible(self._ask(lambda: self._technique.worst_case(call), BadParameters))

    def needs(self, call: Body) -> Kinds:
        """The kinds of packets; none where the technique does not say."""
        ask = getattr(self._technique, "needs", None)
        if ask is None:
            return NOTHING
        return self._ask(lambda: frozenset(ask(call)), BadParameters)

    def conversation(self, call: Body, context: Context) -> Conversation:
        # The prober takes whatever comes out of a conversation.
        return self._technique.conversation(call, context)

    def estimate(self, call: Body, observations: bytes) -> Measured:
        return self._ask(lambda: self._technique.estimate(call, observations), ValueError)

    def result(self, body: Body) -> Any:
        return self._ask(lambda: self._technique.result(body), ValueError)

    def addresses(self, body: Body) -> Sequence[Address]:
        return self._ask(lambda: tuple(self._technique.addresses(body)), ValueError)

    def sentence(self, result: Any) -> str:
        """What one run found; "" where the technique has no words for it."""
        speak = getattr(self._technique, "sentence", None)
        return str(self._ask(lambda: speak(result), ValueError)) if speak is not None else ""

    def _ask(self, question: Callable[[], T], wanted: type[Exception]) -> T:
        try:
            return question()
        except wanted:
            raise
        except Exception as error:
            raise wanted(f"plug-in {self.NAME!r} failed: {_in_one_line(error)}") from error

    def _sensible(self, spend: Spend) -> Spend:
        if not (_is_amount(spend.duration_s) and _is_amount(spend.sent_bytes)):
            raise BadParameters(f"plug-in {self.NAME!r} says that it would take {spend}")
        if spend.duration_s > LONGEST_RUN_S:
            raise BadParameters(
                f"these {self.NAME} parameters may take {spend.duration_s:.0f} s; "
                f"no run may take more than {LONGEST_RUN_S:.0f} s"
            )
        return spend


def _load(point: EntryPoint) -> Conversational | BrokenPlugin:
    try:
        thing = point.load()
        made = thing() if isinstance(thing, type) else thing
        _check(made, point.name)
        guarded = cast("Conversational", Guarded(made))
        _try_out(guarded)
    # It is somebody else's code, and may even try to leave the process.
    except (Exception, SystemExit) as error:
        return BrokenPlugin(f"plug-in {point.name!r} ({point.value}): {_in_one_line(error)}")
    return guarded


def _check(made: Any, name: str) -> None:
    missing = [method for method in _METHODS if not callable(getattr(made, method, None))]
    if missing:
        _reject(f"it has no method {', '.join(missing)}")
    if hasattr(made, "plan"):
        _reject("a plug-in is a conversation of one prober; plans have to be built in")
    if name != made.NAME:
        _reject(f"it calls itself {made.NAME!r}")
    if not isinstance(made.SCHEMA, int) or not 1 <= made.SCHEMA < 1 << 32:
        _reject(f"SCHEMA must be a number of at least 1, not {made.SCHEMA!r}")
    for flag in ("EXCLUSIVE", "NEEDS_RAW"):
        if not isinstance(getattr(made, flag), bool):
            _reject(f"{flag} must be True or False")
    if made.POLICY not in _POLICIES:
        _reject("POLICY must be POLICY_RING or POLICY_LOCK")
    summary = made.SUMMARY
    if not isinstance(summary, str) or not summary.isprintable() or len(summary) > _LONGEST_SUMMARY:
        _reject(f"SUMMARY must be one line of at most {_LONGEST_SUMMARY} letters")


def _try_out(technique: Technique) -> None:
    """Its defaults must make a call that it understands."""
    if not all(isinstance(option, Option) for option in technique.options()):
        _reject("options() must return Option values")
    call = technique.call({})
    if (call.technique, call.schema) != (technique.NAME, technique.SCHEMA):
        _reject("call() makes a call of another technique or schema")
    technique.expected(call)
    needed(technique, call)


def _is_amount(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value >= 0


def _reject(why: str) -> NoReturn:
    raise TypeError(why)


def _in_one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
