"""What both kinds of session share: dispatch, timers, goodbyes, complaints, a bounded outbox."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import attrs
from google.protobuf.message import Message
from twisted.internet.interfaces import IAddress, IConsumer
from twisted.logger import Logger
from twisted.python.failure import Failure

from emodis.master.clocks import Clocks
from emodis.master.greeting import welcome
from emodis.master.outbox import Outbox
from emodis.master.session import Link, make_link
from emodis.master.timers import Phase, Timers
from emodis.topology import special
from emodis.wire.complaints import Complaints
from emodis.wire.hello import KeepaliveTimes
from emodis.wire.protocol import Wire
from emodis.wire.v1.common_pb2 import (
    CODE_UNSPECIFIED,
    Code,
    Goodbye,
    Hello,
    Keepalive,
    KeepaliveReply,
    Refusal,
    Role,
)

In = TypeVar("In", bound=Message)
Out = TypeVar("Out", bound=Message)

# A peer that lets this much wait unread is dismissed; it can fetch its results again.
OUTBOX_BYTES = 8 << 20


@attrs.frozen(kw_only=True)
class Hall:
    """What all connections of a master have in common."""

    clocks: Clocks
    times: KeepaliveTimes
    timers: Timers
    new_session_id: Callable[[], str]
    max_connections: int
    log: Logger
    complaints: Complaints = attrs.field(factory=Complaints)
    # Everyone connected, greeted or not.
    present: set[Connection[Any, Any]] = attrs.field(factory=set)

    @property
    def full(self) -> bool:
        """No further one may join."""
        return len(self.present) > self.max_connections

    def admits(self, peer: IAddress | None) -> bool:
        """Plaintext is for peers at local and lab addresses; nobody else gets an answer."""
        host = str(getattr(peer, "host", ""))
        try:
            local = special.is_local(special.canonical(host))
        except ValueError:
            local = False
        if not local:
            self.complain(f"{host or 'a peer'} is not at a private or lab address: closed")
        return local

    def complain(self, text: str) -> None:
        """Log a line about a bad peer, unless there were too many lately."""
        for line in self.complaints.lines(self.clocks.now_s(), text):
            self.log.warn("{line}", line=line)


class Connection(Generic[In, Out]):
    """One connection: the `Core` of its machine, and the port through which others reach it."""

    kind: str
    granted: Role.ValueType

    def __init__(self, wire: Wire[In, Out], hall: Hall, outgoing: Callable[..., Out]) -> None:
        self.wire = wire
        self.hall = hall
        self.link: Link = make_link(self)
        self.session_id = hall.new_session_id()
        self.name = ""
        # When its latest message came.
        self.heard_unix_ns = 0
        self._outgoing = outgoing
        self._outbox = Outbox(OUTBOX_BYTES, self._too_slow)
        wire.on_opened = self._opened
        wire.on_message = self._guarded
        wire.on_closed = self._gone

    # What the two kinds do differently.

    @abstractmethod
    def check(self, hello: Hello) -> Refusal | None:
        """Why it may not come in."""

    @abstractmethod
    def joined(self, hello: Hello) -> None:
        """It is online: tell the service."""

    @abstractmethod
    def left(self, reason: str) -> None:
        """It is no longer online: tell the service."""

    @abstractmethod
    def take(self, message: Message) -> None:
        """A message of this kind's own."""

    # From the wire.

    def _opened(self) -> None:
        self.hall.present.add(self)
        self.watch(Phase.GREETING)
        if self.wire.transport is not None:
            IConsumer(self.wire.transport).registerProducer(self._outbox, True)

    def _guarded(self, message: In) -> None:
        """The edge of a session: an error of ours costs this session, and one log entry."""
        self.heard_unix_ns = self.hall.clocks.unix_ns()
        try:
            self._dispatch(message)
        except Exception:  # the edge: whatever it was, the others go on
            self.hall.log.failure("{who}: internal error", who=self, failure=Failure())
            self.link.offend(CODE_UNSPECIFIED, "internal error of the master; see its log")

    def _dispatch(self, message: Any) -> None:
        match message.WhichOneof("body"):
            case None:
                self.link.unknown()
            case "hello":
                refused = self.check(message.hello)
                if refused is None:
                    self.link.accept(message.hello)
                else:
                    self.link.refuse(refused)
            case "keepalive":
                self.link.keepalive(message.keepalive)
            case "goodbye":
                self.link.goodbye(message.goodbye)
            case _:
                self.link.work(message)

    def _gone(self, reason: str) -> None:
        self.hall.present.discard(self)
        self.link.gone(reason)
        self._outbox.stopProducing()

    def _too_slow(self) -> None:
        self.complain("it does not read what it asked for")
        self.cut("it does not read what it asked for")

    # For the service: the port.

    @property
    def peer_host(self) -> str:
        return self.wire.peer_host

    def send(self, message: Out) -> None:
        """Queue one message; nothing happens when the connection is over."""
        self._outbox.adding(message.ByteSize())
        self.wire.send(message)

    def dismiss(self, code: Code.ValueType, text: str, retry_after_s: float) -> None:
        self.link.dismiss(code, text, retry_after_s)

    def silent(self) -> None:
        """The sweep found that its time has passed."""
        self.link.silent()

    # The Core of the machine.

    def watch(self, phase: Phase) -> None:
        self.hall.timers.put(self, phase, self.hall.clocks.now_s())

    def unwatch(self) -> None:
        self.hall.timers.forget(self)

    def enter(self, hello: Hello) -> None:
        self.name = hello.id
        self.wire.welcomed()
        self._say(
            welcome=welcome(
                hello,
                session_id=self.session_id,
                times=self.hall.times,
                granted=self.granted,
                master_clock_ns=self.hall.clocks.monotonic_ns(),
                master_unix_ns=self.hall.clocks.unix_ns(),
            )
        )
        self.joined(hello)

    def leave(self, reason: str) -> None:
        self.left(reason)

    def answer_keepalive(self, message: Keepalive) -> None:
        self._say(
            keepalive_reply=KeepaliveReply(
                sequence=message.sequence, master_clock_ns=self.hall.clocks.monotonic_ns()
            )
        )

    def say_refusal(self, refusal: Refusal) -> None:
        self._say(refusal=refusal)

    def say_goodbye(self, goodbye: Goodbye) -> None:
        self._say(goodbye=goodbye)

    def hang_up(self, reason: str) -> None:
        if self.wire.transport is not None:
            # With a producer registered Twisted would wait for it before it closes.
            IConsumer(self.wire.transport).unregisterProducer()
        self.wire.close(reason)

    def cut(self, reason: str) -> None:
        self.wire.abort(reason)

    def complain(self, text: str) -> None:
        self.hall.complain(f"{self}: {text}")

    def _say(self, **member: Message) -> None:
        self.send(self._outgoing(**member))

    def __str__(self) -> str:
        who = f" {self.name}" if self.name else ""
        return f"{self.kind}{who} at {self.peer_host or 'an unknown address'}"
