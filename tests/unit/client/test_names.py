from __future__ import annotations

import socket

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from emodis.client.exits import Exit, Trouble
from emodis.client.names import RESOLVE_TIMEOUT_S, look_up, resolver
from tests.support.deferreds import result_of


def test_addresses_are_not_looked_up() -> None:
    def never(*_: object) -> Deferred[list[str]]:
        raise AssertionError("looked up")

    resolve = resolver(Clock(), never)
    assert result_of(resolve("10.0.0.1")) == ["10.0.0.1"]
    assert result_of(resolve("::1")) == ["::1"]


def test_a_name_becomes_addresses() -> None:
    resolve = resolver(Clock(), lambda lookup, name: succeed(["10.0.0.1", "10.0.0.2"]))
    assert result_of(resolve("w1")) == ["10.0.0.1", "10.0.0.2"]


def test_a_resolver_that_does_not_answer_is_given_up() -> None:
    clock = Clock()
    finding = resolver(clock, lambda lookup, name: Deferred())("w1")
    clock.advance(RESOLVE_TIMEOUT_S)
    with pytest.raises(Trouble, match="no answer within 10 seconds") as caught:
        result_of(finding)
    assert caught.value.code == Exit.USAGE
    assert clock.getDelayedCalls() == []


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known"),
        (UnicodeError("label too long"), "label too long"),
    ],
)
def test_an_unknown_name_is_a_usage_error(error: Exception, words: str) -> None:
    resolve = resolver(Clock(), lambda lookup, name: fail(error))
    with pytest.raises(Trouble, match=words):
        result_of(resolve("nowhere"))


def test_no_thread_to_be_had() -> None:
    def beside(*_: object) -> Deferred[list[str]]:
        raise RuntimeError("can't start new thread")

    with pytest.raises(Trouble, match="new thread"):
        result_of(resolver(Clock(), beside)("w1"))


def test_the_system_knows_itself() -> None:
    assert "127.0.0.1" in look_up("localhost")


def test_ipv4_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    def known(*_: object) -> list[tuple[object, ...]]:
        pairs = [(socket.AF_INET6, "fd00::1"), (socket.AF_INET, "10.0.0.1")]
        return [(family, 1, 6, "", (address, 0)) for family, address in pairs]

    monkeypatch.setattr(socket, "getaddrinfo", known)
    assert look_up("w1") == ["10.0.0.1", "fd00::1"]
