from __future__ import annotations

from typing import Any

import pytest

from emodis.techniques.pathneck import Parameters
from emodis.techniques.pathneck_trace import TRACE_LIMIT_S, Horizon, horizon, look
from emodis.wire.v1.techniques_pb2 import PathneckObservations
from tests.support.driving import drive
from tests.support.fluid import MS, TARGET, Path, path


def found(network: Path, **parameters: Any) -> Horizon | None:
    observations = PathneckObservations(target=TARGET.packed)
    drive(look(Parameters(**parameters), observations), network)
    return horizon(observations)


def asked(network: Path) -> list[list[int]]:
    return [[probe.ttl for probe in train.probes] for train in network.sent]


def test_it_looks_no_further_than_it_must() -> None:
    network = path([100.0] * 6)
    seen = found(network)
    assert seen is not None
    assert (seen.hops, seen.answering) == (6, frozenset(range(1, 7)))
    assert asked(network) == [[1, 2], [3, 4], [5, 6]]
    assert seen.rtt_ns == pytest.approx(12 * MS, rel=0.1)


def test_it_leaves_a_host_that_answers_rarely_enough_answers_for_a_train() -> None:
    """Six answers a burst: the look may use two of them."""
    for length in range(1, 19):
        network = path([100.0] * length)
        found(network)
        reached = sum(ttl >= length for ttls in asked(network) for ttl in ttls)
        assert reached <= 2


def test_a_silent_destination_trims_to_the_last_router() -> None:
    network = path([100.0] * 6)
    network.nodes[-1].silent = True
    seen = found(network)
    assert seen is not None
    assert (seen.hops, seen.answering) == (5, frozenset(range(1, 6)))


def test_silent_hops_on_the_way_do_not_stop_it() -> None:
    network = path([100.0] * 9)
    for silent in (2, 3, 4, 5):
        network.nodes[silent].silent = True
    seen = found(network)
    assert seen is not None
    assert (seen.hops, seen.answering) == (9, frozenset({1, 2, 7, 8, 9}))


def test_nobody_answers() -> None:
    network = path([100.0] * 40)
    for node in network.nodes:
        node.silent = True
    assert found(network) is None
    assert asked(network)[-1][-1] == 6


def test_the_longest_look_is_within_its_limit() -> None:
    network = path([100.0] * 60)
    for i, node in enumerate(network.nodes):
        node.silent = i % 2 == 0
    seen = found(network, max_ttl=50)
    assert seen is not None
    assert seen.hops == 50
    assert network.now_ns - network.started_ns[0] <= TRACE_LIMIT_S * 1e9


def test_a_router_that_says_no_ends_it() -> None:
    network = path([100.0] * 6)
    network.nodes[1].refuse_code = 13
    assert found(network) is None
    assert len(network.sent) == 1


def test_max_ttl_is_the_end() -> None:
    network = path([100.0] * 9)
    seen = found(network, max_ttl=6)
    assert seen is not None
    assert seen.hops == 6
    assert asked(network) == [[1, 2], [3, 4], [5, 6]]
