"""This host as a destination that takes part, in a reactor."""

from __future__ import annotations

from typing import Any

import attrs

from emodis.client import answerer
from emodis.client.answerer import Answerer

TOKEN = bytes(range(16))


@attrs.define
class Readers:
    """A reactor as far as it is needed."""

    watched: list[Any] = attrs.field(factory=list)

    def addReader(self, reader: Any) -> None:  # noqa: N802 - Twisted's name
        self.watched.append(reader)

    def removeReader(self, reader: Any) -> None:  # noqa: N802 - Twisted's name
        self.watched.remove(reader)


def test_it_listens_until_it_is_stopped() -> None:
    reactor = Readers()
    listening = Answerer(reactor, TOKEN)
    offer = listening.start()
    assert offer.token == TOKEN
    assert {ear.socket.port for ear in reactor.watched} == {offer.answering_port}
    ears = list(reactor.watched)
    ears[0].doRead()
    listening.stop()
    assert reactor.watched == []
    assert {ear.fileno() for ear in ears} == {-1}
    listening.stop()


def test_there_is_an_end_to_answers() -> None:
    reactor = Readers()
    listening = Answerer(reactor, TOKEN)
    listening.start()
    listening.served(answerer.MOST_ANSWERS - 1)
    assert reactor.watched
    listening.served(1)
    assert reactor.watched == []
