"""Which packet interface a prober takes, by what this host allows."""

from __future__ import annotations

import random

import pytest

from emodis.packets.transport import NotPermitted
from emodis.packets.trial import Trial
from emodis.packets.unprivileged import UnprivilegedTransport
from emodis.prober import access
from emodis.prober.steadiness import Footing
from emodis.techniques.kinds import words
from emodis.wire.v1.common_pb2 import TRANSPORT_UNPRIVILEGED


def refuse(chance: random.Random) -> None:
    raise PermissionError(1, "Operation not permitted")


@pytest.fixture(autouse=True)
def no_raw_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "RawTransport", refuse)


def kernel(monkeypatch: pytest.MonkeyPatch, *, errors: bool = True, echo: bool = True) -> None:
    trial = Trial(errors=errors, arrivals=True, departures=True, keys_leak=False, echo=echo)
    monkeypatch.setattr("emodis.packets.unprivileged.try_datagrams", lambda: trial)


def test_without_raw_sockets_it_is_the_unprivileged_one_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernel(monkeypatch)
    transport = access.open_transport(random.Random(1))
    assert isinstance(transport, UnprivilegedTransport)
    assert access.word(transport) == TRANSPORT_UNPRIVILEGED
    assert access.remarks(transport, Footing.REAL_TIME) == [access.NO_RAW_SOCKETS]
    assert words(access.kinds_of(transport)) == "ICMP echo, UDP, TCP"


def test_without_icmp_sockets_it_says_that_too(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel(monkeypatch, echo=False)
    transport = access.open_transport(random.Random(1))
    assert access.remarks(transport, Footing.REAL_TIME) == [access.NO_RAW_SOCKETS, access.NO_ECHO]
    assert words(access.kinds_of(transport)) == "UDP, TCP"


def test_a_kernel_that_reports_no_errors_is_of_no_use(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel(monkeypatch, errors=False)
    with pytest.raises(NotPermitted, match="does not report ICMP errors"):
        access.open_transport(random.Random(1))


def test_a_host_without_real_time_priority_says_what_it_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernel(monkeypatch)
    transport = access.open_transport(random.Random(1))
    remarks = access.remarks(transport, Footing.NICE)
    assert remarks[1].startswith("a raised priority instead of real-time priority")
