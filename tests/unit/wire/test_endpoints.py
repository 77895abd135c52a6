from __future__ import annotations

import pytest
from twisted.internet.interfaces import IReactorCore
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock

from emodis.wire.endpoints import BACKLOG, listening_endpoint
from tests.support.deferreds import result_of


def listen(description: str) -> tuple[int, str, int]:
    reactor = MemoryReactorClock()
    endpoint = listening_endpoint(IReactorCore(reactor), description)
    result_of(endpoint.listen(Factory()))
    port, _, backlog, interface = reactor.tcpServers[0]
    return port, interface, backlog


def test_the_backlog_is_long_enough_for_a_storm() -> None:
    assert listen("tcp:0:interface=127.0.0.1") == (0, "127.0.0.1", BACKLOG)


def test_an_operators_own_backlog_is_kept() -> None:
    assert listen("tcp:4710:backlog=7") == (4710, "", 7)


@pytest.mark.parametrize("text", ["", "nonsense", "tcp:", "tcp:abc", "4710", "bogus:1"])
def test_what_cannot_be_listened_on_is_said(text: str) -> None:
    with pytest.raises(ValueError, match="is not an endpoint to listen on"):
        listening_endpoint(IReactorCore(MemoryReactorClock()), text)
