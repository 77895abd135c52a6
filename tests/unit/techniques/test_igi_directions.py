"""Both ways over one conversation: which trains go where, and what is said of them together."""

from __future__ import annotations

from ipaddress import ip_address

import attrs
import pytest

from emodis.packets.paced import PacedOutcome, PacedTrain
from emodis.techniques.base import BadParameters, Context, Measured
from emodis.techniques.igi import Igi
from emodis.wire.v1.common_pb2 import BLAME_TARGET, END_DONE, END_FAILED
from emodis.wire.v1.igi_pb2 import IgiObservations, IgiResult
from tests.support.driving import drive
from tests.support.fifo import Link

MBIT = 1_000_000
IGI = Igi()


@attrs.define
class Path:
    """40 Mbit/s down and 10 up, unless somebody takes one of them away."""

    down: Link | None = attrs.field(factory=lambda: Link(40 * MBIT))
    up: Link | None = attrs.field(factory=lambda: Link(10 * MBIT))
    # Of which trains were sent, in order; each way once.
    ways: list[bool] = attrs.field(factory=list)
    elapsed_ns: int = 0

    def carry(self, train: PacedTrain) -> PacedOutcome:
        if not self.ways or self.ways[-1] != train.upstream:
            self.ways.append(train.upstream)
        link = self.up if train.upstream else self.down
        carried = (link or Link(MBIT)).carry(train)
        self.elapsed_ns += train.duration_ns + 1_000_000
        arrivals = carried.arrivals if link is not None else ()
        return attrs.evolve(carried, arrivals=arrivals, elapsed_ns=self.elapsed_ns)


def run(path: Path, **options: str) -> Measured:
    context = Context(address=ip_address("192.0.2.1"), seed=1)
    trains = IGI.talk_to_peer(IGI.call(options), context)
    return drive(trains, path)


def result(measured: Measured) -> IgiResult:
    assert isinstance(measured.result, IgiResult)
    return measured.result


@pytest.mark.parametrize(
    ("direction", "ways", "rate"), [("downstream", [False], 40), ("upstream", [True], 10)]
)
def test_one_way_is_measured_as_the_other(direction: str, ways: list[bool], rate: int) -> None:
    path = Path()
    found = result(run(path, direction=direction))
    assert path.ways == ways
    assert found.direction == direction
    assert found.ptr_bps == pytest.approx(rate * MBIT, rel=0.02)
    assert not found.HasField("upstream")


def test_both_ways_one_after_the_other() -> None:
    path = Path()
    measured = run(path, direction="both")
    found = result(measured)
    assert path.ways == [False, True]
    assert (found.direction, found.upstream.direction) == ("downstream", "upstream")
    assert found.ptr_bps == pytest.approx(40 * MBIT, rel=0.02)
    assert found.upstream.ptr_bps == pytest.approx(10 * MBIT, rel=0.02)
    assert measured.ending.end == END_DONE


def test_it_can_be_estimated_again() -> None:
    measured = run(Path(), direction="both")
    assert isinstance(measured.observations, IgiObservations)
    again = IGI.estimate(IGI.call({"direction": "both"}), measured.observations.SerializeToString())
    assert again.result == measured.result


def test_what_was_found_one_way_is_kept_where_the_other_fails() -> None:
    measured = run(Path(up=None), direction="both")
    assert (measured.ending.end, measured.ending.reason) == (END_FAILED, "udp_blocked")
    assert measured.ending.hint.startswith("Upstream: ")
    assert "reached the agent" in measured.ending.hint
    assert result(measured).ptr_bps == pytest.approx(40 * MBIT, rel=0.02)
    other = run(Path(down=None), direction="both")
    assert other.ending.hint.startswith("Downstream: ")
    assert "on this host" in other.ending.hint
    assert result(other).upstream.ptr_bps == pytest.approx(10 * MBIT, rel=0.02)


def test_each_way_has_all_the_time_that_was_given() -> None:
    both = IGI.worst_case(IGI.call({"direction": "both", "max_time_s": "20"}))
    one = IGI.worst_case(IGI.call({"max_time_s": "20"}))
    assert both.duration_s == one.duration_s + 20
    assert both.sent_bytes == 2 * one.sent_bytes
    with pytest.raises(BadParameters, match="120 s"):
        IGI.call({"direction": "both", "max_time_s": "60"})


def test_a_busy_host_is_the_one_that_sends() -> None:
    class Busy(Path):
        def carry(self, train: PacedTrain) -> PacedOutcome:
            carried = Path.carry(self, train)
            if not train.gap_ns:
                return carried
            late = tuple(time_ns * 2 for time_ns in carried.sent_ns)
            return attrs.evolve(carried, sent_ns=late)

    found = run(Busy(), direction="upstream").ending
    assert (found.reason, found.blame) == ("self_congested", BLAME_TARGET)
    assert found.hint.startswith("This host was too busy")
