"""What raw runs are told apart by; the packets themselves are tested in tests/integration."""

from __future__ import annotations

import itertools
import random
from ipaddress import IPv4Address

import pytest

from emodis.packets import raw
from emodis.packets.flow import Identity
from emodis.packets.model import Address
from emodis.packets.raw import REMEMBERED_RUNS, REST_NS, RawTransport

HERE, THERE, ELSEWHERE = map(IPv4Address, ("10.0.0.1", "10.9.9.9", "10.8.8.8"))
# Numbers that one identity takes from the chance by `randrange`.
DRAWS = 5


class Repeating(random.Random):
    """Gives every identity twice in a row."""

    taken = 0

    def randrange(self, start: int, stop: int | None = None, step: int = 1) -> int:
        number, place = divmod(self.taken, DRAWS)
        self.taken += 1
        return random.Random(f"{number // 2} {place}").randrange(start, stop, step)


class Quiet:
    """Sockets that nothing comes in at."""

    stamps_departures = stamps_arrivals = True

    def let_nothing_in(self) -> None:
        """Nothing came in before."""


class Rig:
    """Runs one after the other, at a time that the test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_ns = 1_000 * REST_NS
        self.drawn: list[Identity] = []
        monkeypatch.setattr(raw, "open_sockets", lambda: {4: Quiet()})
        monkeypatch.setattr(raw, "source_towards", lambda address: HERE)
        monkeypatch.setattr(raw, "boottime_ns", lambda: self.now_ns)
        draw = Identity.draw

        def watched(source: Address, target: Address, chance: random.Random) -> Identity:
            self.drawn.append(draw(source, target, chance))
            return self.drawn[-1]

        monkeypatch.setattr(Identity, "draw", watched)
        self.transport = RawTransport(Repeating())

    def measure(self, target: Address = THERE) -> Identity:
        """Begin and end a run; the last identity drawn is its own."""
        self.transport.begin(target, max_bytes=0)
        self.transport.end()
        return self.drawn[-1]


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    return Rig(monkeypatch)


def test_late_answers_to_one_run_are_not_taken_for_those_of_the_next(rig: Rig) -> None:
    runs = [rig.measure()]
    for _ in range(10):
        rig.now_ns += REST_NS // (2 * REMEMBERED_RUNS)
        runs.append(rig.measure())
    for distance in range(1, REMEMBERED_RUNS + 1):
        pairs = zip(runs, runs[distance:], strict=False)
        assert not any(run.overlaps(later) for run, later in pairs)
    # The chance did repeat itself.
    assert any(one.overlaps(again) for one, again in itertools.pairwise(rig.drawn))


def test_after_a_rest_the_numbers_may_come_again(rig: Rig) -> None:
    first = rig.measure()
    rig.now_ns += REST_NS
    assert rig.measure().overlaps(first)
    assert len(rig.drawn) == 2


def test_just_before_that_they_may_not(rig: Rig) -> None:
    first = rig.measure()
    rig.now_ns += REST_NS - 1
    assert not rig.measure().overlaps(first)


def test_another_destination_may_have_the_same_numbers_at_once(rig: Rig) -> None:
    first, other = rig.measure(), rig.measure(ELSEWHERE)
    assert (first.port_base, first.icmp_base) == (other.port_base, other.icmp_base)
    assert len(rig.drawn) == 2
