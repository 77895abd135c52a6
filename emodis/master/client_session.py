"""One client's connection: its calls to the service, the service's answers to it."""

from __future__ import annotations

from typing import Protocol

import attrs
from google.protobuf.message import Message
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.internet.protocol import Protocol as TwistedProtocol

from emodis.master.connection import Connection, Hall
from emodis.master.greeting import check_client
from emodis.wire.protocol import Wire
from emodis.wire.v1.client_pb2 import (
    Cancel,
    FromClient,
    GetResults,
    GetStatus,
    ListAgents,
    Request,
    ToClient,
)
from emodis.wire.v1.common_pb2 import ROLE_MANAGER, Hello, Refusal, Relay, Role


class ClientPort(Protocol):
    """What the service can do with a client's session."""

    @property
    def name(self) -> str:
        """Its id."""

    @property
    def peer_host(self) -> str:
        """Its address as the master sees it."""

    @property
    def granted(self) -> Role.ValueType:
        """What it may see."""

    @property
    def congested(self) -> bool:
        """It reads more slowly than we write: progress can be left out."""

    def send(self, message: ToClient) -> None:
        """Queue one message."""

    def drained(self) -> Deferred[None]:
        """Fires when it has caught up, or has gone."""


class ClientEvents(Protocol):
    """What a client's session tells the service."""

    def client_joined(self, port: ClientPort) -> None: ...
    def client_left(self, port: ClientPort, reason: str) -> None: ...
    def request(self, port: ClientPort, request: Request) -> None: ...
    def cancel(self, port: ClientPort, cancel: Cancel) -> None: ...
    def list_agents(self, port: ClientPort, wanted: ListAgents) -> None: ...
    def get_status(self, port: ClientPort, wanted: GetStatus) -> None: ...
    def get_results(self, port: ClientPort, wanted: GetResults) -> None: ...
    def relayed_by_client(self, port: ClientPort, relay: Relay) -> None: ...


class ClientSession(Connection[FromClient, ToClient]):
    """The core of a client's machine. Until tokens exist every client is a manager."""

    kind = "client"
    granted = ROLE_MANAGER

    def __init__(self, wire: Wire[FromClient, ToClient], hall: Hall, events: ClientEvents) -> None:
        super().__init__(wire, hall, ToClient)
        self._events = events

    @property
    def congested(self) -> bool:
        return self._outbox.full

    def drained(self) -> Deferred[None]:
        return self._outbox.drained()

    def check(self, hello: Hello) -> Refusal | None:
        return check_client(hello, full=self.hall.full)

    def joined(self, hello: Hello) -> None:
        self._events.client_joined(self)

    def left(self, reason: str) -> None:
        self._events.client_left(self, reason)

    def take(self, message: Message) -> None:
        assert isinstance(message, FromClient)
        match message.WhichOneof("body"):
            case "request":
                self._events.request(self, message.request)
            case "cancel":
                self._events.cancel(self, message.cancel)
            case "list_agents":
                self._events.list_agents(self, message.list_agents)
            case "get_status":
                self._events.get_status(self, message.get_status)
            case "get_results":
                self._events.get_results(self, message.get_results)
            case "relay":
                self._events.relayed_by_client(self, message.relay)
            case _:
                self.link.unknown()


@attrs.define(eq=False)
class ClientFactory(Factory):
    """Makes a session per connection."""

    hall: Hall
    events: ClientEvents
    noisy = False

    def buildProtocol(self, addr: IAddress | None) -> TwistedProtocol | None:
        if not self.hall.admits(addr):
            return None
        wire: Wire[FromClient, ToClient] = Wire(FromClient)
        ClientSession(wire, self.hall, self.events)
        return wire
