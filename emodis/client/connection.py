"""One real conversation with a master: a dial, a call, its answers, the end.

It holds the timers and the wire; `session` decides. Silence is counted as an agent counts it: only
a KeepaliveReply (or the Welcome, as the first of them) starts the count anew.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import attrs
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IProtocol,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.python.failure import Failure

from emodis import __version__
from emodis.client.calls import Call, Meaning
from emodis.client.finish import Finish
from emodis.client.session import CONNECT_TIMEOUT_S, LEAVING_TIMEOUT_S, Session, make_session
from emodis.wire.hello import PROTOCOL_MAX, PROTOCOL_MIN
from emodis.wire.protocol import Wire
from emodis.wire.v1.client_pb2 import FromClient, ToClient
from emodis.wire.v1.common_pb2 import Goodbye, Hello, Keepalive, Relay, Role, Welcome

SOFTWARE = f"emodis-client {__version__}"


def hello(client_id: str, token: str = "", boot_id: bytes | None = None) -> Hello:
    """How we introduce ourselves: as a manager, until the master grants less."""
    return Hello(
        protocol_min=PROTOCOL_MIN,
        protocol_max=PROTOCOL_MAX,
        software=SOFTWARE,
        role=Role.ROLE_MANAGER,
        id=client_id,
        boot_id=boot_id if boot_id is not None else os.urandom(16),
        token=token,
    )


@attrs.define(eq=False)
class Conversation:
    """The core of one session. Use `start` once; its Deferred fires once, and never fails."""

    clock: IReactorTime
    endpoint: IStreamClientEndpoint
    hello: Hello
    call: Call
    on_message: Callable[[ToClient], None]
    remark: Callable[[str], None] = lambda text: None
    session: Session = attrs.field(init=False)
    _ended: Deferred[Finish] = attrs.field(factory=Deferred, init=False)
    _finish: Finish | None = attrs.field(default=None, init=False)
    _over: bool = attrs.field(default=False, init=False)
    _wire: Wire[ToClient, FromClient] | None = attrs.field(default=None, init=False)
    _dialling: Deferred[IProtocol] | None = attrs.field(default=None, init=False)
    _timers: dict[str, IDelayedCall] = attrs.field(factory=dict, init=False)
    _sequence: int = attrs.field(default=0, init=False)
    _silence_s: float = attrs.field(default=0.0, init=False)
    _remarked: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self.session = make_session(self)

    def start(self) -> Deferred[Finish]:
        """Dial, and say at last how it went."""
        self.wait(CONNECT_TIMEOUT_S)
        dialling = self.endpoint.connect(_Dialler(self._make_wire))
        self._dialling = dialling
        _ = dialling.addErrback(self._not_connected)
        return self._ended

    def interrupt(self) -> None:
        """The user wants to leave."""
        self.session.interrupted()

    def relay(self, relay: Relay) -> None:
        """Send words to the agent of a run; nobody hears them once the conversation is over."""
        if self._finish is None and not self._over:
            self._say(FromClient(relay=relay))

    # What the transitions do.

    def wait(self, seconds: float) -> None:
        self._set("wait", seconds, self.session.overdue)

    def greet(self) -> None:
        self._say(FromClient(hello=self.hello))

    def ask(self, welcome: Welcome) -> None:
        if self._wire is not None:
            self._wire.welcomed()
        self._silence_s = welcome.agent_timeout_s
        self.heard()
        self._beat(max(welcome.interval_s, 0.1))
        self._say(self.call.opening())

    def heard(self) -> None:
        if self._silence_s > 0:
            text = f"the master has been silent for {self._silence_s:g} seconds"
            self._set("silence", self._silence_s, lambda: self._give_up(text))

    def measure(self) -> None:
        self._drop("wait")
        if self.call.patience_s is not None:
            self.wait(self.call.patience_s)

    def tell(self, message: ToClient) -> None:
        self.on_message(message)
        following = self.call.next()
        if following is not None:
            self._say(following)

    def cancel(self) -> None:
        message = self.call.cancel()
        if message is not None:
            self._say(message)

    def leave(self, finish: Finish) -> None:
        self._finish = finish
        self._drop_all()
        self._set("wait", LEAVING_TIMEOUT_S, self.session.overdue)
        if self._wire is not None:
            self._say(FromClient(goodbye=Goodbye()))
            self._wire.close("finished")

    def end(self, finish: Finish) -> None:
        self._drop_all()
        self._finish = self._finish or finish
        self._over = True
        if self._dialling is not None:
            self._dialling.cancel()
        if self._wire is None:
            self._ended.callback(self._finish)
        else:
            # It closes in the reactor's next turn, and `_closed` has the last word.
            self._wire.abort("finished")

    # What the wire tells.

    def _make_wire(self) -> Wire[ToClient, FromClient]:
        wire: Wire[ToClient, FromClient] = Wire(ToClient)
        wire.on_opened = lambda: self._opened(wire)
        wire.on_message = self._take
        wire.on_closed = self._closed
        return wire

    def _opened(self, wire: Wire[ToClient, FromClient]) -> None:
        self._wire = wire
        self.session.opened()

    def _closed(self, reason: str) -> None:
        self._wire = None
        if self._over:
            assert self._finish is not None
            self._ended.callback(self._finish)
        else:
            self.session.lost(reason)

    def _take(self, message: ToClient) -> None:
        match message.WhichOneof("body"):
            case "welcome":
                self.session.welcomed(message.welcome)
            case "refusal":
                self.session.turned_away(message.refusal)
            case "keepalive_reply":
                self.session.alive()
            case "goodbye":
                self.session.goodbye(message.goodbye)
            case "refused":
                self.session.refused(message.refused)
            case None:
                self._ignore()
            case _:
                self._answered(message)

    def _answered(self, message: ToClient) -> None:
        match self.call.read(message):
            case Meaning.BEGUN:
                self.session.begun(message)
            case Meaning.NEWS:
                self.session.news(message)
            case Meaning.OVER:
                self.session.over(message)

    def _ignore(self) -> None:
        if not self._remarked:
            self._remarked = True
            self.remark("the master sent a message newer than this client; it was ignored")

    def _not_connected(self, failure: Failure) -> None:
        self.session.lost(failure.getErrorMessage().rstrip(".") or type(failure.value).__name__)

    # Timers.

    def _beat(self, interval_s: float) -> None:
        self._sequence += 1
        self._set("beat", interval_s, lambda: self._keep_alive(interval_s))

    def _keep_alive(self, interval_s: float) -> None:
        self._say(FromClient(keepalive=Keepalive(sequence=self._sequence)))
        self._beat(interval_s)

    def _give_up(self, text: str) -> None:
        assert self._wire is not None
        self._wire.abort(text)

    def _set(self, name: str, seconds: float, action: Callable[[], None]) -> None:
        self._drop(name)

        def due() -> None:
            del self._timers[name]
            action()

        self._timers[name] = self.clock.callLater(seconds, due)

    def _drop(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()

    def _drop_all(self) -> None:
        for name in tuple(self._timers):
            self._drop(name)

    def _say(self, message: FromClient) -> None:
        # No message of ours can be over the cap: `request.build` has looked.
        if self._wire is not None:
            self._wire.send(message)


@attrs.define(eq=False)
class _Dialler(Factory):
    """Makes the one protocol."""

    make: Callable[[], TwistedProtocol]
    noisy = False

    def buildProtocol(self, addr: IAddress | None) -> TwistedProtocol:
        assert isinstance(addr, IPv4Address | IPv6Address | None)
        return self.make()
