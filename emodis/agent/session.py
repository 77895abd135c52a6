"""One connection to the master, from TCP up to its end: handshake, keepalive, dispatch.

It decides nothing about what to do next: everything that happens is an event of the agent's
machine (`lifecycle`). Times are CLOCK_BOOTTIME, so a sleeping machine or a stopped process finds
its deadlines passed when it wakes; the timer therefore never sleeps longer than a second.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from google.protobuf.message import Message
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from emodis.agent.backoff import Cause, Drop, cause_of
from emodis.agent.clock import MasterClock
from emodis.wire.hello import (
    HANDSHAKE_TIMEOUT_S,
    PROTOCOL_MAX,
    PROTOCOL_MIN,
    KeepaliveTimes,
    span,
)
from emodis.wire.protocol import Wire, describe
from emodis.wire.v1.agent_pb2 import FromAgent, RunResult, ToAgent
from emodis.wire.v1.common_pb2 import (
    CODE_VERSION,
    Code,
    Goodbye,
    Hello,
    Keepalive,
    KeepaliveReply,
    Refusal,
    RunKey,
    Welcome,
)

NS = 1_000_000_000
LONGEST_SLEEP_S = 1.0
# A master that does not read our last message is cut off after this.
CLOSING_TIMEOUT_S = 2.0
# A master's wish for keepalives must not become a load of its own.
SHORTEST_INTERVAL_S = 0.05
LONGEST_TEXT = 300


class SessionEvents(Protocol):
    """What a session tells its machine."""

    def welcomed(self, welcome: Welcome) -> None: ...
    def answered(self, reply: KeepaliveReply) -> None: ...
    def ordered(self, order: ToAgent) -> None: ...
    def dropped(self, drop: Drop) -> None: ...
    def silent(self) -> None: ...


class BadWelcome(ValueError):
    """The master's Welcome cannot be lived with; the text says why."""


class Session:
    """Owns the wire and the two timers of one connection."""

    def __init__(
        self,
        wire: Wire[ToAgent, FromAgent],
        *,
        clock: IReactorTime,
        boottime_ns: Callable[[], int],
        events: SessionEvents,
        complain: Callable[[str], None],
        presence: Callable[[], tuple[int, RunKey | None]],
    ) -> None:
        """`presence` says for each keepalive how many assignments wait and which run is in work."""
        self.clock = MasterClock()
        self.session_id = ""
        self._wire = wire
        self._timers = clock
        self._boottime_ns = boottime_ns
        self._events = events
        self._complain = complain
        self._presence = presence
        self._times: KeepaliveTimes | None = None
        self._sequence = 0
        self._asked_ns: OrderedDict[int, int] = OrderedDict()
        self._next_keepalive_ns = 0
        self._silent_at_ns = 0
        self._patience_s = HANDSHAKE_TIMEOUT_S
        self._timer: IDelayedCall | None = None
        self._closing: IDelayedCall | None = None
        self._knows_newer = False
        wire.on_message = self._hear
        wire.on_closed = self._closed

    @property
    def peer_host(self) -> str:
        """The master's address as connected."""
        return self._wire.peer_host

    @property
    def own_host(self) -> str:
        """Our own address on this connection."""
        transport = self._wire.transport
        return str(getattr(transport.getHost(), "host", "")) if transport is not None else ""

    @property
    def patience_s(self) -> float:
        """How long the master may be silent at present."""
        return self._patience_s

    def greet(self, hello: Hello) -> None:
        """Say Hello; a Welcome must come within 10 s."""
        now_ns = self._boottime_ns()
        self._asked_ns[0] = now_ns
        self._silent_at_ns = now_ns + round(HANDSHAKE_TIMEOUT_S * NS)
        self._wire.send(FromAgent(hello=hello))
        self._sleep()

    def begin(self, welcome: Welcome) -> KeepaliveTimes:
        """Go by what the Welcome says from now on.

        Raises:
            BadWelcome: if it names a version or times that we cannot keep.
        """
        times = _times_of(welcome)
        self._times = times
        self.session_id = welcome.session_id
        self._patience_s = times.agent_timeout_s
        self._wire.welcomed()
        self._heard(0, welcome.master_clock_ns)
        self._next_keepalive_ns = self._boottime_ns() + round(times.interval_s * NS)
        self._sleep()
        return times

    def keep_alive(self, reply: KeepaliveReply) -> bool:
        """A reply came; false (and without effect) if it answers nothing that we asked."""
        return self._heard(reply.sequence, reply.master_clock_ns)

    def send(self, message: FromAgent) -> None:
        """Say anything else."""
        self._wire.send(message)

    def send_result(self, result: RunResult) -> None:
        """What the spool sends with."""
        self._wire.send(FromAgent(run_result=result))

    def part(self, code: Code.ValueType, text: str) -> None:
        """Goodbye, then hang up once it has been read, or soon in any case."""
        self._detach()
        self._wire.send(FromAgent(goodbye=Goodbye(code=code, text=text)))
        self._wire.close(text)
        self._closing = self._timers.callLater(CLOSING_TIMEOUT_S, self._wire.abort, text)
        self._wire.on_closed = self._closed_politely

    def cut(self, reason: str) -> None:
        """Hang up at once and hear no more of it."""
        self._detach()
        self._wire.abort(reason)

    def _detach(self) -> None:
        self._wire.on_message = _ignore
        self._wire.on_closed = _ignore
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _closed_politely(self, reason: str) -> None:
        if self._closing is not None and self._closing.active():
            self._closing.cancel()

    def _closed(self, reason: str) -> None:
        self._detach()
        self._events.dropped(Drop(cause=Cause.CLOSED, text=reason))

    # -- what the master says ---------------------------------------------------------------

    def _hear(self, message: ToAgent) -> None:
        match message.WhichOneof("body"):
            case "welcome":
                self._events.welcomed(message.welcome)
            case "keepalive_reply":
                self._events.answered(message.keepalive_reply)
            case "refusal":
                self._events.dropped(drop_of_refusal(message.refusal))
            case "goodbye":
                self._events.dropped(drop_of_goodbye(message.goodbye))
            case "assignment" | "run_cancel" | "client_stop" | "ack" | "relay":
                self._events.ordered(message)
            case None:
                if not self._knows_newer:
                    self._knows_newer = True
                    self._complain("the master sent a message that this version does not know")

    # -- timers -----------------------------------------------------------------------------

    def _heard(self, sequence: int, master_clock_ns: int) -> bool:
        """An answer to the question of that number; earlier questions need none any more."""
        sent_ns = self._asked_ns.get(sequence)
        if sent_ns is None:
            return False
        while self._asked_ns and next(iter(self._asked_ns)) <= sequence:
            self._asked_ns.popitem(last=False)
        now_ns = self._boottime_ns()
        self.clock.heard(sent_ns=sent_ns, received_ns=now_ns, master_clock_ns=master_clock_ns)
        if self._times is not None:
            # The master's timer runs from our question. An answer that was held up on its way must
            # not make us outlast it, so it counts as rtt_max old at most.
            counts_ns = min(now_ns, sent_ns + round(self._times.rtt_max_s * NS))
            self._silent_at_ns = counts_ns + round(self._times.agent_timeout_s * NS)
        return True

    def _sleep(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        now_ns = self._boottime_ns()
        due_ns = self._silent_at_ns
        if self._times is not None:
            due_ns = min(due_ns, self._next_keepalive_ns)
        delay_s = min(LONGEST_SLEEP_S, max(0.0, (due_ns - now_ns) / NS))
        self._timer = self._timers.callLater(delay_s, self._wake)

    def _wake(self) -> None:
        try:
            self._look_at_the_clock()
        except Exception as error:
            # At this edge it would end in Twisted's log, and the session would live on deaf.
            self._detach()
            text = f"an error of our own: {describe(error)}"
            self._events.dropped(Drop(cause=Cause.REFUSED, text=text))

    def _look_at_the_clock(self) -> None:
        now_ns = self._boottime_ns()
        if now_ns >= self._silent_at_ns:
            self._timer = None
            self._events.silent()
            return
        if self._times is not None and now_ns >= self._next_keepalive_ns:
            self._ask(now_ns)
            # After a pause one question is enough.
            interval_ns = round(self._times.interval_s * NS)
            self._next_keepalive_ns = max(self._next_keepalive_ns, now_ns - interval_ns)
            self._next_keepalive_ns += interval_ns
        self._sleep()

    def _ask(self, now_ns: int) -> None:
        self._sequence += 1
        self._asked_ns[self._sequence] = now_ns
        queued, busy = self._presence()
        self._wire.send(
            FromAgent(keepalive=Keepalive(sequence=self._sequence, queued=queued, busy=busy))
        )


def _ignore(anything: Message | str) -> None:
    """It comes from a connection that we have given up."""


def _times_of(welcome: Welcome) -> KeepaliveTimes:
    if not PROTOCOL_MIN <= welcome.protocol <= PROTOCOL_MAX:
        raise BadWelcome(
            f"the master chose protocol version {welcome.protocol}, "
            f"we speak {span(PROTOCOL_MIN, PROTOCOL_MAX)}"
        )
    try:
        times = KeepaliveTimes(
            interval_s=welcome.interval_s,
            agent_timeout_s=welcome.agent_timeout_s,
            master_timeout_s=welcome.master_timeout_s,
            reconnect_floor_s=welcome.reconnect_floor_s,
            rtt_max_s=welcome.rtt_max_s,
        )
    except ValueError as error:
        raise BadWelcome(f"the master's keepalive times do not fit: {error}") from error
    if times.interval_s < SHORTEST_INTERVAL_S:
        raise BadWelcome(
            f"the master wants a keepalive every {times.interval_s:g} s; "
            f"{SHORTEST_INTERVAL_S:g} s is the shortest"
        )
    return times


def drop_of_refusal(refusal: Refusal) -> Drop:
    """What the master's no means for us."""
    text = _printable(refusal.text) or "it gave no reason"
    if refusal.code == CODE_VERSION:
        text = (
            f"no protocol version in common: this agent speaks {span(PROTOCOL_MIN, PROTOCOL_MAX)}, "
            f"the master {span(refusal.protocol_min, refusal.protocol_max)}; update the older one"
        )
    return Drop(
        cause=cause_of(refusal.code),
        text=f"it refused us: {text}",
        retry_after_s=refusal.retry_after_s,
    )


def drop_of_goodbye(goodbye: Goodbye) -> Drop:
    """What the master's farewell means for us."""
    text = _printable(goodbye.text) or f"code {goodbye.code}"
    return Drop(
        cause=cause_of(goodbye.code),
        text=f"it said goodbye: {text}",
        retry_after_s=goodbye.retry_after_s,
    )


def _printable(text: str) -> str:
    """A peer's words, fit for one line of a log."""
    return "".join(c if c.isprintable() else " " for c in text[:LONGEST_TEXT]).strip()
