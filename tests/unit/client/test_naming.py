from __future__ import annotations

import socket
from collections.abc import Callable
from ipaddress import ip_address

import attrs
import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from emodis.client.desk import Desk
from emodis.client.finish import Finish, Way
from emodis.client.names import Lookup
from emodis.client.naming import MOST_ADDRESSES, NAMING_TIMEOUT_S, add_names, host_name, namer
from emodis.client.report import Report
from tests.unit.client.builders import W1, ping, report, result, traceroute


@attrs.define
class Rig:
    """A desk of which only names are wanted; every lookup waits until it is told the name."""

    clock: Clock = attrs.field(factory=Clock)
    asked: dict[str, Deferred[list[str]]] = attrs.field(factory=dict)
    desk: Desk = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.desk = Desk(
            clock=self.clock,
            master=None,  # type: ignore[arg-type]
            prober=None,  # type: ignore[arg-type]
            resolve=lambda name: fail(RuntimeError(name)),
            boottime_ns=lambda: 0,
            names=namer(self.clock, self._beside),
        )

    def _beside(self, lookup: Lookup, address: str) -> Deferred[list[str]]:
        assert lookup is host_name
        self.asked[address] = Deferred()
        return self.asked[address]

    def add(self, *reports: Report) -> Deferred[None]:
        return Deferred.fromCoroutine(add_names(self.desk, reports))


def route() -> Report:
    return report("traceroute", result("ams", traceroute("10.1.0.1", "", W1)))


def settle(rig: Rig) -> Callable[[str, list[str]], None]:
    return lambda address, names: rig.asked[address].callback(names)


def test_every_hop_is_asked_once_and_named() -> None:
    rig, made = Rig(), route()
    done = rig.add(made, route())
    assert list(rig.asked) == ["10.1.0.1", W1]
    settle(rig)("10.1.0.1", ["r1.example.net"])
    settle(rig)(W1, [])
    assert done.called
    assert made.names == {ip_address("10.1.0.1"): "r1.example.net"}
    assert rig.clock.getDelayedCalls() == []


def test_a_resolver_that_does_not_answer_costs_a_second() -> None:
    rig, made = Rig(), route()
    done = rig.add(made)
    settle(rig)(W1, ["w1"])
    rig.clock.advance(NAMING_TIMEOUT_S)
    assert done.called
    assert made.names == {ip_address(W1): "w1"}
    assert rig.clock.getDelayedCalls() == []


def test_an_address_without_a_name_is_no_error() -> None:
    rig, made = Rig(), route()
    done = rig.add(made)
    rig.asked["10.1.0.1"].errback(OSError("Name or service not known"))
    settle(rig)(W1, [W1])
    assert done.called
    assert made.names == {}


def test_an_interrupt_ends_only_the_waiting() -> None:
    rig, made = Rig(), route()
    done = rig.add(made)
    assert rig.desk.interrupts.fire()
    assert done.called
    assert made.names == {}
    assert not rig.desk.interrupts.fire()
    assert rig.clock.getDelayedCalls() == []


def test_what_was_interrupted_or_shows_no_hops_is_not_looked_up() -> None:
    rig, interrupted = Rig(), route()
    interrupted.finish = Finish(way=Way.INTERRUPTED)
    assert rig.add(interrupted).called
    assert rig.add(report("ping", result("ams", ping()))).called
    assert rig.asked == {}


def test_a_network_of_hops_has_a_bound() -> None:
    rig = Rig()
    addresses = [f"10.1.{n // 200}.{n % 200 + 1}" for n in range(300)]
    _ = rig.add(report("traceroute", result("ams", traceroute(*addresses))))
    assert len(rig.asked) == MOST_ADDRESSES


def test_only_a_real_name_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def getnameinfo(place: tuple[str, int], flags: int) -> tuple[str, str]:
        asked.append((place, flags))
        return "r1." + "x" * 300, "0"

    monkeypatch.setattr(socket, "getnameinfo", getnameinfo)
    (name,) = host_name("fd00::1")
    assert len(name) == 255
    assert asked == [(("fd00::1", 0), socket.NI_NAMEREQD)]


def test_without_names_nothing_is_asked() -> None:
    rig = Rig()
    rig.desk.names = lambda addresses: succeed({})
    assert rig.add(route()).called
