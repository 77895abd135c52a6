"""This host as a destination that takes part: answers probes as long as a measurement lasts.

What it says is `packets.invitation`'s. The kernel stamps arrivals and wakes this process for the
two probes of a train that ask, so it does not matter when the reactor gets round to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from emodis.packets.answering import AnsweringSocket, open_answering
from emodis.packets.invitation import TAG_BYTES
from emodis.wire.v1.common_pb2 import PeerOffer

# Answers at a time, and in the life of a measurement: whoever learns the tag cannot make this host
# send without end.
MOST_AT_ONCE = 64
MOST_ANSWERS = 100_000


@implementer(IReadDescriptor)
@attrs.define(eq=False)
class _Ear:
    """One socket in the reactor."""

    socket: AnsweringSocket
    answerer: Answerer

    def fileno(self) -> int:
        return self.socket.fileno()

    def doRead(self) -> None:  # noqa: N802 - Twisted's name
        self.answerer.served(self.socket.serve(MOST_AT_ONCE))

    def connectionLost(self, reason: Failure) -> None:
        """The reactor is going down; `stop` closes."""

    def logPrefix(self) -> str:  # noqa: N802 - Twisted's name
        return "answerer"


@attrs.define(eq=False)
class Answerer:
    """`start` it, put its offer into the request, `stop` it."""

    reactor: Any
    token: bytes
    _ears: Sequence[_Ear] = attrs.field(factory=list, init=False)
    _answers: int = attrs.field(default=0, init=False)

    def start(self) -> PeerOffer:
        """Listen (OSError if this host does not let us)."""
        sockets = open_answering(self.token[:TAG_BYTES])
        self._ears = [_Ear(socket, self) for socket in sockets]
        for ear in self._ears:
            self.reactor.addReader(ear)
        return PeerOffer(answering_port=sockets[0].port, token=self.token)

    def stop(self) -> None:
        """Answer nothing any more."""
        ears, self._ears = self._ears, []
        for ear in ears:
            self.reactor.removeReader(ear)
            ear.socket.close()

    def served(self, answers: int) -> None:
        """So many answers have just been sent."""
        self._answers += answers
        if self._answers >= MOST_ANSWERS:
            self.stop()
