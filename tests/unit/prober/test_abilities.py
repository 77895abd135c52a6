"""One line for each ability, whatever the host is like."""

from __future__ import annotations

import pytest

from emodis.packets.trial import Trial
from emodis.prober import abilities
from emodis.prober.abilities import Ability, can_measure
from emodis.prober.steadiness import Footing

GOOD = Trial(errors=True, arrivals=True, departures=True, keys_leak=False, echo=True)
BAD = Trial(errors=False, arrivals=True, departures=False, keys_leak=False, echo=False)


def found(
    monkeypatch: pytest.MonkeyPatch, trial: Trial, footing: Footing, *, raw: bool, ipv6: bool
) -> list[Ability]:
    monkeypatch.setattr(abilities, "try_datagrams", lambda: trial)
    monkeypatch.setattr(abilities, "find_footing", lambda: footing)
    monkeypatch.setattr(abilities, "_opens_raw", lambda: raw)
    monkeypatch.setattr(abilities, "has_ipv6", lambda: ipv6)
    return abilities.abilities()


def test_where_all_is_there_every_line_is_ok(monkeypatch: pytest.MonkeyPatch) -> None:
    there = found(monkeypatch, GOOD, Footing.REAL_TIME, raw=True, ipv6=True)
    assert all(ability.line.startswith("ok       ") for ability in there)
    assert can_measure(there)
    packets = "ICMP echo, UDP, TCP, TCP of a chosen flow and size, muted load"
    assert there[-1].line == f"ok       packets: {packets}"


def test_what_is_missing_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    there = found(monkeypatch, BAD, Footing.NORMAL, raw=False, ipv6=False)
    *lines, packets = [ability.line for ability in there]
    assert packets == "ok       packets: UDP, TCP"
    assert all(line.startswith("missing  ") and "; " in line for line in lines)
    assert "CAP_NET_RAW" in lines[0]
    assert "ping_group_range" in lines[1]
    assert "none of departures" in lines[3]
    assert "CAP_SYS_NICE" in lines[4]
    assert not any("\n" in line for line in lines)
    assert not can_measure(there)


def test_either_way_of_probing_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    raw_only = found(monkeypatch, BAD, Footing.NICE, raw=True, ipv6=True)
    assert can_measure(raw_only)
    assert raw_only[1].there
    assert can_measure(found(monkeypatch, GOOD, Footing.NICE, raw=False, ipv6=True))


def test_this_very_host_can_be_asked() -> None:
    assert len(abilities.abilities()) == 7
