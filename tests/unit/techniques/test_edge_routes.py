from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address

import pytest

from emodis.techniques.edge_routes import has_moved
from emodis.wire.v1.common_pb2 import Body
from emodis.wire.v1.techniques_pb2 import PathneckHop, PathneckResult
from tests.unit.techniques.test_discovery import body

ROUTE = [1, 10, 20, 0, 40, 90]


def trains(hops: Sequence[int]) -> Body:
    result = PathneckResult()
    for ttl, number in enumerate(hops, start=1):
        packed = IPv4Address(number).packed if number else b""
        result.hops.append(PathneckHop(ttl=ttl, address=packed))
    return Body(technique="pathneck", schema=1, body=result.SerializeToString())


@pytest.mark.parametrize(
    ("hops", "moved"),
    [
        (ROUTE, False),
        ([1, 10, 0, 30, 40, 90], False),
        ([1, 10, 20], False),
        ([1, 10, 21, 0, 40, 90], True),
        ([1, 10, 20, 0, 41, 90], True),
    ],
)
def test_a_route_has_moved_where_trains_met_another_router(hops: list[int], moved: bool) -> None:
    assert has_moved(body(ROUTE), trains(hops)) is moved


def test_what_cannot_be_read_says_nothing() -> None:
    assert not has_moved(body(ROUTE), Body(technique="ping"))
    assert not has_moved(Body(technique="ping"), trains(ROUTE))
