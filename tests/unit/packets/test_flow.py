from __future__ import annotations

import random
from ipaddress import IPv4Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emodis.packets.flow import (
    FLOW_COUNT,
    FLOW_LABELS,
    ICMP_IDS,
    ID_COUNT,
    SOURCE_PORTS,
    IdBlock,
    Identity,
)
from emodis.packets.model import Kind

HERE, THERE = IPv4Address("10.0.0.1"), IPv4Address("10.9.0.2")


@given(st.integers(0, 2**32))
def test_drawn_numbers_stay_in_their_ranges(seed: int) -> None:
    identity = Identity.draw(HERE, THERE, random.Random(seed))
    ranges = {Kind.UDP: SOURCE_PORTS, Kind.TCP_SYN: SOURCE_PORTS, Kind.ICMP_ECHO: ICMP_IDS}
    for kind, allowed in ranges.items():
        idents = identity.idents(kind)
        assert len(idents) == FLOW_COUNT
        assert idents[0] in allowed
        assert idents[-1] in allowed
    assert 1 <= identity.first_id <= ID_COUNT
    for number in (0, FLOW_COUNT - 1):
        flow = identity.flow(Kind.UDP, number)
        assert 1 <= flow.check < 0xFFFF
        assert flow.label in FLOW_LABELS
        assert 0 <= flow.secret <= 0xFFFF


@pytest.mark.parametrize("kind", Kind)
def test_another_flow_number_is_another_flow_of_the_same_run(kind: Kind) -> None:
    identity = Identity.draw(HERE, THERE, random.Random(1))
    first, second = identity.flow(kind, 0), identity.flow(kind, 1)
    assert second.ident == first.ident + 1
    # What balancers hash of ICMP is the checksum, and of IPv6 the label.
    assert second.check != first.check
    assert second.label != first.label
    assert (first.source, first.target, first.secret) == (HERE, THERE, second.secret)


def test_port_and_dscp_are_those_of_the_train() -> None:
    identity = Identity.draw(HERE, THERE, random.Random(1))
    flow = identity.flow(Kind.TCP_SYN, 0, port=443, dscp=46)
    assert (flow.port, flow.dscp) == (443, 46)
    assert identity.flow(Kind.UDP, 0).port == 33434


@pytest.mark.parametrize("wrong", [{"port": 0}, {"port": 65536}, {"dscp": -1}, {"dscp": 64}])
def test_a_port_or_dscp_out_of_range_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="outside"):
        Identity.draw(HERE, THERE, random.Random(1)).flow(Kind.UDP, 0, **wrong)


@pytest.mark.parametrize("number", [-1, FLOW_COUNT])
def test_a_flow_number_out_of_range_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match="outside"):
        Identity.draw(HERE, THERE, random.Random(1)).flow(Kind.UDP, number)


@given(st.integers(1, ID_COUNT), st.integers(0, 500), st.integers(0, 600))
def test_ids_are_found_again_and_no_others(first: int, count: int, index: int) -> None:
    block = IdBlock(first, count)
    probe_id = block.at(index)
    assert 1 <= probe_id <= ID_COUNT
    assert block.index(probe_id) == (index if index < count else None)
    assert (probe_id in block) == (index < count)


@pytest.mark.parametrize("never", [0, 0xFFFF, -1, 1 << 20])
def test_numbers_that_are_no_ids_are_in_no_block(never: int) -> None:
    assert never not in IdBlock(1, ID_COUNT)


def test_ids_of_two_blocks_behind_one_another_do_not_meet() -> None:
    first = IdBlock(0xFFFE, 3)
    second = IdBlock(first.at(3), 3)
    assert [first.at(i) for i in range(3)] == [0xFFFE, 1, 2]
    assert not {first.at(i) for i in range(3)} & {second.at(i) for i in range(3)}


def test_overlap_needs_the_same_target() -> None:
    identity = Identity.draw(HERE, THERE, random.Random(1))
    elsewhere = Identity.draw(HERE, HERE, random.Random(1))
    assert identity.overlaps(identity)
    assert not identity.overlaps(elsewhere)
