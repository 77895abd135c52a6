"""One agent's connection: its messages to the service, the service's messages to it."""

from __future__ import annotations

from typing import Protocol

import attrs
from google.protobuf.message import Message
from twisted.internet.interfaces import IAddress, IPushProducer
from twisted.internet.protocol import Factory
from twisted.internet.protocol import Protocol as TwistedProtocol

from emodis.master.connection import Connection, Hall
from emodis.master.greeting import check_agent
from emodis.master.membership import AgentPort, Member
from emodis.wire.protocol import Wire
from emodis.wire.v1.agent_pb2 import FromAgent, RunProgress, RunResult, RunStarted, ToAgent
from emodis.wire.v1.common_pb2 import CODE_BAD_REQUEST, ROLE_AGENT, Hello, Refusal, Relay


class AgentEvents(Protocol):
    """What an agent's session tells the service; plain messages, so that it may live elsewhere."""

    def agent_joined(self, hello: Hello, port: AgentPort, peer_host: str) -> Member: ...
    def agent_left(self, member: Member, reason: str) -> None: ...
    def run_started(self, member: Member, started: RunStarted) -> None: ...
    def run_progress(self, member: Member, progress: RunProgress) -> None: ...
    def run_result(self, member: Member, result: RunResult) -> None: ...
    def relayed_by_agent(self, member: Member, relay: Relay) -> None: ...


class AgentSession(Connection[FromAgent, ToAgent]):
    """The core of an agent's machine."""

    kind = "agent"
    granted = ROLE_AGENT

    def __init__(self, wire: Wire[FromAgent, ToAgent], hall: Hall, events: AgentEvents) -> None:
        super().__init__(wire, hall, ToAgent)
        self._events = events
        self._member: Member | None = None

    def check(self, hello: Hello) -> Refusal | None:
        return check_agent(hello, full=self.hall.full)

    def joined(self, hello: Hello) -> None:
        self._member = self._events.agent_joined(hello, self, self.peer_host)

    def left(self, reason: str) -> None:
        member, self._member = self._member, None
        if member is not None:
            self._events.agent_left(member, reason)

    def take(self, message: Message) -> None:
        assert isinstance(message, FromAgent)
        member = self._member
        assert member is not None
        match message.WhichOneof("body"):
            case "run_started":
                if self._own(message.run_started.run.agent_id):
                    self._events.run_started(member, message.run_started)
            case "run_progress":
                if self._own(message.run_progress.run.agent_id):
                    self._events.run_progress(member, message.run_progress)
            case "run_result":
                if self._own(message.run_result.run.agent_id):
                    self._events.run_result(member, message.run_result)
            case "relay":
                if self._own(message.relay.run.agent_id):
                    self._events.relayed_by_agent(member, message.relay)
            case _:
                self.link.unknown()

    def _own(self, agent_id: str) -> bool:
        if agent_id == self.name:
            return True
        self.link.offend(CODE_BAD_REQUEST, f"it speaks for another agent, {agent_id[:64]!r}")
        return False

    def pause(self) -> None:
        if self.wire.transport is not None:
            IPushProducer(self.wire.transport).pauseProducing()

    def resume(self) -> None:
        if self.wire.transport is not None:
            IPushProducer(self.wire.transport).resumeProducing()


@attrs.define(eq=False)
class AgentFactory(Factory):
    """Makes a session per connection."""

    hall: Hall
    events: AgentEvents
    noisy = False

    def buildProtocol(self, addr: IAddress | None) -> TwistedProtocol | None:
        if not self.hall.admits(addr):
            return None
        wire: Wire[FromAgent, ToAgent] = Wire(FromAgent)
        AgentSession(wire, self.hall, self.events)
        return wire
