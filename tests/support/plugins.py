"""Plug-ins as an installation might bring them: one that works, and ways to be broken."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.metadata import EntryPoint
from typing import ClassVar, NoReturn

from emodis.techniques.base import Spend
from emodis.techniques.installed import GROUP
from emodis.techniques.ping import Parameters, Ping
from emodis.wire.v1.client_pb2 import Policy
from emodis.wire.v1.common_pb2 import Body
from emodis.wire.v1.techniques_pb2 import PingResult


class Good(Ping):
    """Ping under another name, which can put itself into words."""

    NAME: ClassVar[str] = "good"

    def sentence(self, result: PingResult) -> str:
        return f"{result.answered} of {result.sent} came back."


class Silent(Ping):
    NAME: ClassVar[str] = "silent"


class Clumsy(Good):
    """Works until it is asked about something other than its defaults."""

    NAME: ClassVar[str] = "clumsy"

    def worst(self, chosen: Parameters) -> Spend:
        if chosen.count != Parameters().count:
            raise ZeroDivisionError("oh\ndear")
        return super().worst(chosen)

    def result(self, body: Body) -> NoReturn:
        raise KeyError("nothing")

    def addresses(self, body: Body) -> NoReturn:
        raise KeyError("nothing")


class Tongueless(Good):
    NAME: ClassVar[str] = "tongueless"

    def sentence(self, result: PingResult) -> str:
        raise IndexError


class Needy(Good):
    """Does not know what it needs."""

    NAME: ClassVar[str] = "needy"

    def needs(self, call: Body) -> NoReturn:
        raise LookupError("what?")


class Endless(Good):
    NAME: ClassVar[str] = "endless"

    def worst(self, chosen: Parameters) -> Spend:
        return Spend(duration_s=float("nan"), sent_bytes=1)


class Slow(Good):
    """Forgets the limit of 120 s for every run, which its skeleton would have kept."""

    NAME: ClassVar[str] = "slow"

    def worst_case(self, call: Body) -> Spend:
        return Spend(duration_s=121, sent_bytes=1)


class Liar(Good):
    NAME: ClassVar[str] = "liar"

    def call(self, options: Mapping[str, str]) -> Body:
        return Body(technique="ping", schema=1)


class Wave(Good):
    NAME: ClassVar[str] = "wave"
    POLICY: ClassVar[Policy.ValueType] = Policy.POLICY_WAVE


class Planner(Good):
    NAME: ClassVar[str] = "planner"

    def plan(self) -> None: ...


class Nothing:
    """No technique at all."""


class Leaves:
    def __init__(self) -> None:
        sys.exit("I want to leave")


ready_made = Good()


def point(name: str, thing: str, module: str = __name__) -> EntryPoint:
    """What a package's metadata would say."""
    return EntryPoint(name=name, value=f"{module}:{thing}", group=GROUP)
