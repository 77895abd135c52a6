"""Paths that turn out shorter or narrower than the look at them said."""

from __future__ import annotations

import attrs
import pytest

from emodis.packets.model import Train, TrainOutcome
from emodis.techniques.base import Context, Measured
from emodis.techniques.pathneck import Pathneck
from emodis.techniques.pathneck_surprises import smaller_packets
from emodis.wire.v1.common_pb2 import END_DONE, Quality
from tests.support.driving import drive
from tests.support.fluid import TARGET, Path, path

PATHNECK = Pathneck()


def measure(network: Path, **options: str) -> Measured:
    call = PATHNECK.call(options)
    measured = drive(PATHNECK.conversation(call, Context(address=TARGET, seed=1)), network)
    assert PATHNECK.estimate(call, measured.observations.SerializeToString()) == measured
    return measured


def load_sizes(network: Path) -> list[int]:
    """Of every train in turn, the look left out."""
    return [max(p.size_bytes for p in t.probes) for t in network.sent if len(t.probes) > 20]


def test_a_load_too_large_for_a_link_is_sent_in_smaller_packets() -> None:
    """Else the links behind it would meet head and tail only, and the bottleneck be missed."""
    network = path([100.0, 100.0, 100.0, 10.0, 100.0])
    network.links[2].mtu_bytes = 300
    measured = measure(network)
    result = measured.result
    assert (measured.ending.end, result.bottleneck.ttl) == (END_DONE, 4)  # type: ignore[union-attr]
    first, *others = load_sizes(network)
    assert first == 500
    assert set(others) == {250}
    # As many bytes as before.
    assert sum(p.size_bytes for p in network.sent[-2].probes if p.muted) == 30_000
    assert measured.quality.word == Quality.WORD_FAIR
    assert (
        "10.0.2.1 cannot pass on packets of 500 bytes, its next link carries only smaller ones: "
        "measured with 250 bytes instead" in measured.quality.reasons
    )


def test_a_load_that_can_get_no_smaller_hides_what_is_behind() -> None:
    network = path([100.0, 100.0, 100.0, 10.0, 100.0])
    network.links[2].mtu_bytes = 90
    measured = measure(network, load_size_bytes="150", load_packets="200")
    assert set(load_sizes(network)) == {150}
    assert measured.quality.word == Quality.WORD_POOR
    assert any("links behind it are not seen" in reason for reason in measured.quality.reasons)


@pytest.mark.parametrize(
    ("load", "smaller"), [((60, 500), (120, 250)), ((7, 301), (15, 150)), ((60, 199), None)]
)
def test_smaller_packets_are_as_many_bytes(
    load: tuple[int, int], smaller: tuple[int, int] | None
) -> None:
    assert smaller_packets(*load) == smaller


@attrs.define
class FirstAnswersLost:
    """A path whose destination is not heard at the nearest TTLs while it is looked at."""

    path: Path

    def carry(self, train: Train) -> TrainOutcome:
        outcome = self.path.carry(train)
        if len(train.probes) > 20:
            return outcome
        nearest = [
            i
            for i, echo in enumerate(outcome.echoes)
            if echo.reply is not None and echo.reply.address == TARGET and train.probes[i].ttl < 7
        ]
        return attrs.evolve(
            outcome,
            echoes=tuple(
                attrs.evolve(echo, reply=None) if i in nearest else echo
                for i, echo in enumerate(outcome.echoes)
            ),
        )


def test_a_destination_that_is_nearer_than_it_looked_is_measured_at_its_place() -> None:
    """Its answers to the TTLs beyond would use up the few that it gives."""
    network = path([100.0, 100.0, 100.0, 20.0, 100.0])
    network.nodes[-1].tokens_per_s = 1.0
    talk = PATHNECK.conversation(PATHNECK.call({}), Context(address=TARGET, seed=1))
    result = drive(talk, FirstAnswersLost(network)).result
    assert [hop.ttl for hop in result.hops] == [1, 2, 3, 4, 5]  # type: ignore[union-attr]
    assert result.last_link == "measured"  # type: ignore[union-attr]
    assert result.bottleneck.ttl == 4  # type: ignore[union-attr]
