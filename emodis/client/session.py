"""The life of one conversation with a master: one machine, every pair of state and event decided.

connecting --opened--> greeting --welcomed--> asking --begun--> measuring --over--> leaving --> done
     |                    |                     |                  |
     |                    |                     |             interrupted --> cancelling --over-->
     +--------------------+---------------------+-- refused, lost, overdue --> leaving or done

`leaving` exists because what is still queued (a Cancel, a Goodbye) must reach the socket.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from automat import TypeMachineBuilder

from emodis.client.finish import COMPLETE, Finish, Way
from emodis.wire.hello import HANDSHAKE_TIMEOUT_S, PROTOCOL_MAX, PROTOCOL_MIN, span
from emodis.wire.v1.client_pb2 import Refused, ToClient
from emodis.wire.v1.common_pb2 import CODE_VERSION, Goodbye, Refusal, Welcome

CONNECT_TIMEOUT_S = 15.0
# Name resolution at the master is part of it.
ANSWER_TIMEOUT_S = 30.0
# After a Cancel: for what is on its way (DESIGN.md section 6).
CANCEL_TIMEOUT_S = 2.0
LEAVING_TIMEOUT_S = 1.0


class Session(Protocol):
    """Everything that can happen to a conversation."""

    def opened(self) -> None:
        """The connection stands."""

    def welcomed(self, welcome: Welcome) -> None:
        """The master accepted our Hello."""

    def turned_away(self, refusal: Refusal) -> None:
        """The master did not accept our Hello."""

    def begun(self, message: ToClient) -> None:
        """It will serve the call, and more follows."""

    def news(self, message: ToClient) -> None:
        """Something that belongs to the call."""

    def over(self, message: ToClient) -> None:
        """The last message of the call."""

    def refused(self, refused: Refused) -> None:
        """It will not serve the call."""

    def alive(self) -> None:
        """A KeepaliveReply."""

    def goodbye(self, goodbye: Goodbye) -> None:
        """The master takes its leave."""

    def lost(self, reason: str) -> None:
        """The connection ended or never began, or nothing was heard for too long."""

    def overdue(self) -> None:
        """The time for this state is up."""

    def interrupted(self) -> None:
        """The user wants to leave."""


class Core(Protocol):
    """What the transitions act upon."""

    def wait(self, seconds: float) -> None:
        """Let `overdue` happen then; the timer before it is forgotten."""

    def greet(self) -> None: ...
    def ask(self, welcome: Welcome) -> None: ...
    def heard(self) -> None: ...
    def measure(self) -> None: ...
    def tell(self, message: ToClient) -> None: ...
    def cancel(self) -> None: ...

    def leave(self, finish: Finish) -> None:
        """Take leave of the other side; what is queued still goes out."""

    def end(self, finish: Finish) -> None:
        """There is no other side any more. After `leave`, its finish stands."""


# Automat looks at the type only; it never makes one.
builder = TypeMachineBuilder(Session, Core)  # type: ignore[type-abstract]
connecting = builder.state("connecting")
greeting = builder.state("greeting")
asking = builder.state("asking")
measuring = builder.state("measuring")
cancelling = builder.state("cancelling")
leaving = builder.state("leaving")
done = builder.state("done")

INTERRUPTED = Finish(way=Way.INTERRUPTED, text="interrupted")
_NO_MASTER_HINT = "is that the client port of an Emodis master?"


@connecting.upon(Session.opened).to(greeting)
def _greet(session: Session, core: Core) -> None:
    core.wait(HANDSHAKE_TIMEOUT_S)
    core.greet()


@connecting.upon(Session.lost).to(done)
def _never_reached(session: Session, core: Core, reason: str) -> None:
    core.end(Finish(way=Way.UNREACHABLE, text=reason))


@connecting.upon(Session.overdue).to(done)
def _no_connection(session: Session, core: Core) -> None:
    core.end(
        Finish(way=Way.UNREACHABLE, text=f"no connection within {CONNECT_TIMEOUT_S:g} seconds")
    )


@connecting.upon(Session.interrupted).to(done)
def _give_up_dialling(session: Session, core: Core) -> None:
    core.end(INTERRUPTED)


@greeting.upon(Session.welcomed).to(asking)
def _ask(session: Session, core: Core, welcome: Welcome) -> None:
    core.wait(ANSWER_TIMEOUT_S)
    core.ask(welcome)


@greeting.upon(Session.turned_away).to(leaving)
def _turned_away(session: Session, core: Core, refusal: Refusal) -> None:
    core.leave(Finish(way=Way.TURNED_AWAY, text=_refusal_text(refusal), code=refusal.code))


@greeting.upon(Session.goodbye).to(leaving)
def _sent_off(session: Session, core: Core, goodbye: Goodbye) -> None:
    core.leave(Finish(way=Way.UNREACHABLE, text=_goodbye_text(goodbye), code=goodbye.code))


@greeting.upon(Session.lost).to(done)
def _lost_early(session: Session, core: Core, reason: str) -> None:
    core.end(Finish(way=Way.UNREACHABLE, text=f"no Welcome: {reason}", hint=_NO_MASTER_HINT))


@greeting.upon(Session.overdue).to(leaving)
def _no_welcome(session: Session, core: Core) -> None:
    text = f"connected, but no Welcome within {HANDSHAKE_TIMEOUT_S:g} seconds"
    core.leave(Finish(way=Way.UNREACHABLE, text=text, hint=_NO_MASTER_HINT))


@greeting.upon(Session.interrupted).to(leaving)
@asking.upon(Session.interrupted).to(leaving)
def _give_up(session: Session, core: Core) -> None:
    # Whatever was asked for ends with the connection.
    core.leave(INTERRUPTED)


def _out_of_order(core: Core) -> None:
    text = "the master sent a message out of order"
    core.leave(Finish(way=Way.LOST, text=text, hint=_NO_MASTER_HINT))


@greeting.upon(Session.begun).to(leaving)
@greeting.upon(Session.news).to(leaving)
@greeting.upon(Session.over).to(leaving)
def _early_message(session: Session, core: Core, message: ToClient) -> None:
    _out_of_order(core)


@greeting.upon(Session.refused).to(leaving)
def _early_refused(session: Session, core: Core, refused: Refused) -> None:
    _out_of_order(core)


@greeting.upon(Session.alive).to(leaving)
def _early_reply(session: Session, core: Core) -> None:
    _out_of_order(core)


@asking.upon(Session.welcomed).to(leaving)
@measuring.upon(Session.welcomed).to(leaving)
@cancelling.upon(Session.welcomed).to(leaving)
def _second_welcome(session: Session, core: Core, welcome: Welcome) -> None:
    _out_of_order(core)


@asking.upon(Session.turned_away).to(leaving)
@measuring.upon(Session.turned_away).to(leaving)
@cancelling.upon(Session.turned_away).to(leaving)
def _late_refusal(session: Session, core: Core, refusal: Refusal) -> None:
    _out_of_order(core)


@asking.upon(Session.begun).to(measuring)
def _begin(session: Session, core: Core, message: ToClient) -> None:
    core.measure()
    core.tell(message)


@asking.upon(Session.news).loop()
def _one_of_several(session: Session, core: Core, message: ToClient) -> None:
    core.wait(ANSWER_TIMEOUT_S)
    core.tell(message)


@measuring.upon(Session.begun).loop()
@measuring.upon(Session.news).loop()
@cancelling.upon(Session.begun).loop()
@cancelling.upon(Session.news).loop()
def _tell(session: Session, core: Core, message: ToClient) -> None:
    core.tell(message)


@asking.upon(Session.over).to(leaving)
@measuring.upon(Session.over).to(leaving)
def _complete(session: Session, core: Core, message: ToClient) -> None:
    core.tell(message)
    core.leave(COMPLETE)


@cancelling.upon(Session.over).to(leaving)
def _cancelled(session: Session, core: Core, message: ToClient) -> None:
    core.tell(message)
    core.leave(INTERRUPTED)


@asking.upon(Session.refused).to(leaving)
@measuring.upon(Session.refused).to(leaving)
def _refused(session: Session, core: Core, refused: Refused) -> None:
    core.leave(Finish(way=Way.REFUSED, text=refused.text, hint=refused.hint, code=refused.code))


@asking.upon(Session.alive).loop()
@measuring.upon(Session.alive).loop()
@cancelling.upon(Session.alive).loop()
def _heard(session: Session, core: Core) -> None:
    core.heard()


@asking.upon(Session.goodbye).to(leaving)
@measuring.upon(Session.goodbye).to(leaving)
def _dismissed(session: Session, core: Core, goodbye: Goodbye) -> None:
    core.leave(Finish(way=Way.LOST, text=_goodbye_text(goodbye), code=goodbye.code))


@cancelling.upon(Session.goodbye).to(leaving)
def _dismissed_while_cancelling(session: Session, core: Core, goodbye: Goodbye) -> None:
    core.leave(INTERRUPTED)


@asking.upon(Session.lost).to(done)
@measuring.upon(Session.lost).to(done)
def _lost(session: Session, core: Core, reason: str) -> None:
    core.end(Finish(way=Way.LOST, text=reason))


@cancelling.upon(Session.lost).to(done)
def _lost_while_cancelling(session: Session, core: Core, reason: str) -> None:
    core.end(INTERRUPTED)


@asking.upon(Session.overdue).to(leaving)
def _no_answer(session: Session, core: Core) -> None:
    text = f"the master did not answer within {ANSWER_TIMEOUT_S:g} seconds"
    core.leave(Finish(way=Way.LOST, text=text))


@measuring.upon(Session.overdue).to(leaving)
def _out_of_patience(session: Session, core: Core) -> None:
    core.cancel()
    core.leave(Finish(way=Way.OVERDUE, text="not all results came within --timeout"))


@measuring.upon(Session.interrupted).to(cancelling)
def _cancel(session: Session, core: Core) -> None:
    core.wait(CANCEL_TIMEOUT_S)
    core.cancel()


@cancelling.upon(Session.overdue).to(leaving)
def _leave_anyway(session: Session, core: Core) -> None:
    core.leave(INTERRUPTED)


@cancelling.upon(Session.interrupted).to(done)
def _leave_now(session: Session, core: Core) -> None:
    core.end(INTERRUPTED)


@leaving.upon(Session.lost).to(done)
def _left(session: Session, core: Core, reason: str) -> None:
    core.end(COMPLETE)


@leaving.upon(Session.overdue).to(done)
@leaving.upon(Session.interrupted).to(done)
def _leave_at_once(session: Session, core: Core) -> None:
    core.end(COMPLETE)


# Decided, and nothing to do. A Cancel is refused when the measurement has just ended: its Ended
# is on the way.
cancelling.upon(Session.refused).loop().returns(None)
for _state in (greeting, asking, measuring, cancelling, leaving, done):
    _state.upon(Session.opened).loop().returns(None)
for _state in (connecting, leaving, done):
    _state.upon(Session.welcomed).loop().returns(None)
    _state.upon(Session.turned_away).loop().returns(None)
    _state.upon(Session.begun).loop().returns(None)
    _state.upon(Session.news).loop().returns(None)
    _state.upon(Session.over).loop().returns(None)
    _state.upon(Session.refused).loop().returns(None)
    _state.upon(Session.alive).loop().returns(None)
    _state.upon(Session.goodbye).loop().returns(None)
done.upon(Session.lost).loop().returns(None)
done.upon(Session.overdue).loop().returns(None)
done.upon(Session.interrupted).loop().returns(None)

make_session: Callable[[Core], Session] = builder.build()


def _refusal_text(refusal: Refusal) -> str:
    if refusal.code == CODE_VERSION:
        theirs = span(refusal.protocol_min, refusal.protocol_max)
        ours = span(PROTOCOL_MIN, PROTOCOL_MAX)
        return (
            f"the master speaks protocol version {theirs}, this client {ours}; "
            "update the older of the two"
        )
    again = f"; try again in {refusal.retry_after_s:.0f} s" if refusal.retry_after_s else ""
    return f"the master turned us away: {refusal.text}{again}"


def _goodbye_text(goodbye: Goodbye) -> str:
    return f"the master closed the connection: {goodbye.text or 'no reason given'}"
