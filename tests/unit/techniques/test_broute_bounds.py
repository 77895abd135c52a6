from __future__ import annotations

import pytest

from emodis.techniques.broute_bounds import finding
from emodis.wire.v1.broute_pb2 import BrouteMeasure
from emodis.wire.v1.techniques_pb2 import PathneckHop, PathneckResult

FAST_BPS = 100_000_000


def measured(*rates_bps: int | None) -> BrouteMeasure:
    """A run without a bottleneck over hops that answered; None: without enough gaps."""
    hops = [
        PathneckHop(ttl=ttl, address=bytes([10, 0, 0, ttl]), rate_bps=rate_bps)
        for ttl, rate_bps in enumerate(rates_bps, start=1)
    ]
    return BrouteMeasure(result=PathneckResult(hops=hops))


def test_what_arrived_at_the_end_is_a_lower_bound() -> None:
    found = finding(measured(FAST_BPS, FAST_BPS, FAST_BPS, 90_000_000), links=2)
    assert found is not None
    assert (found.lower_bps, found.upper_bps) == (90_000_000, None)


@pytest.mark.parametrize(
    "rates_bps", [(FAST_BPS, FAST_BPS, FAST_BPS, None), (FAST_BPS, None, None, None)]
)
def test_nothing_is_said_of_links_behind_the_last_that_was_measured(
    rates_bps: tuple[int | None, ...],
) -> None:
    assert finding(measured(*rates_bps), links=3) is None
