from __future__ import annotations

from twisted.internet.task import Clock

from emodis.wire.steady import boottime_ns, boottime_s, keep_steady_time


def test_the_reactors_time_becomes_the_hosts_own() -> None:
    reactor = Clock()
    keep_steady_time(reactor)
    assert boottime_s() - reactor.seconds() < 5.0
    assert abs(boottime_ns() / 1e9 - boottime_s()) < 5.0
