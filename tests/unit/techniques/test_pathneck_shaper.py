from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from emodis.techniques.base import Context
from emodis.techniques.pathneck import Pathneck
from emodis.wire.v1.common_pb2 import Quality
from emodis.wire.v1.techniques_pb2 import Bound
from tests.support.driving import drive
from tests.support.fluid import TARGET, Path, path

PATHNECK = Pathneck()
US = 1_000


def measure(network: Path, **options: str) -> Any:
    call = PATHNECK.call(options)
    return drive(PATHNECK.conversation(call, Context(address=TARGET, seed=1)), network)


def long_trains(measured: Any) -> int:
    return Counter(train.discarded for train in measured.observations.trains)["long"]


def shaped(rate: float, bucket_bytes: int, *, seed: int = 0, first: float = 100.0) -> Path:
    network = path([first, 100.0, rate, 100.0, 100.0], noise_ns=20 * US, seed=seed)
    network.links[2].bucket_bytes = bucket_bytes
    return network


@pytest.mark.parametrize("first", [50.0, 100.0])
@pytest.mark.parametrize(("rate", "bucket_bytes"), [(5.0, 62_500), (20.0, 62_500), (20.0, 40_000)])
def test_a_bucket_that_swallows_usual_trains_is_seen_by_long_ones(
    rate: float, bucket_bytes: int, first: float
) -> None:
    for seed in range(5):
        measured = measure(shaped(rate, bucket_bytes, seed=seed, first=first))
        result = measured.result
        assert (result.bottleneck.ttl, result.remark) == (3, "shaper_suspected(3)")
        assert rate * 1e6 <= result.bottleneck.bound_bps < 0.7 * first * 1e6
        assert {hop.bound for hop in result.hops[2:]} == {Bound.BOUND_UPPER}
        assert measured.quality.word == Quality.WORD_FAIR
        assert "a token bucket" in measured.quality.reasons[-1]
        assert long_trains(measured) == 2


def test_a_path_that_is_alike_all_along_costs_one_long_train() -> None:
    for seed in range(10):
        measured = measure(path([50.0, 100.0, 100.0, 100.0], noise_ns=20 * US, seed=seed))
        assert measured.result.bottleneck.ttl == 1
        assert "shaper" not in measured.result.remark
        assert long_trains(measured) == 1


def test_others_on_the_path_are_no_bucket() -> None:
    for seed in range(20):
        network = path([20.0, 100.0, 100.0, 100.0, 100.0], noise_ns=20 * US, seed=seed)
        network.links[3].load = 0.6
        assert "shaper" not in measure(network).result.remark


def test_where_a_bottleneck_is_seen_behind_the_first_link_no_bytes_are_spent() -> None:
    assert long_trains(measure(path([100.0, 100.0, 20.0, 100.0]))) == 0
    assert long_trains(measure(path([50.0, 100.0, 100.0]), cause="off")) == 0
