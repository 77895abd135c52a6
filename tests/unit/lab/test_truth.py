from __future__ import annotations

import itertools
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emodis.lab.plan import make_plan
from emodis.lab.topofile import find
from emodis.lab.topology import Topology
from emodis.lab.truth import Truth, fluid_bps, path_truth
from tests.unit.lab.builders import SMALL, small, topologies


def truth(source: str, destination: str, text: str = SMALL) -> Truth:
    return path_truth(make_plan(small(text)), source, destination)


def test_a_path_downstream_worked_out_by_hand() -> None:
    """h2 =100=> r2 =50=> r1 =10=> h1, idle in this direction; 500 of 514 bytes are IP."""
    found = truth("h2", "h1")
    assert [str(hop.address) for hop in found.hops] == ["10.2.0.2", "10.1.0.5", "10.1.0.1"]
    assert [hop.node for hop in found.hops] == ["r2", "r1", "h1"]
    assert [link.capacity_ethernet_bps for link in found.links] == [10**8, 5 * 10**7, 10**7]
    assert found.narrow.ttl == found.tight.ttl == found.choke.ttl == 3
    assert found.narrow.capacity_ip_bps == pytest.approx(10**7 * 500 / 514)
    assert str(found.choke.from_address) == "10.1.0.5"
    assert str(found.choke.to_address) == "10.1.0.1"


def test_a_loaded_link_stretches_more_than_its_capacity_says() -> None:
    """A train of 100 Mbit/s gets 50 * 100 / (100 + 30) of a 50 Mbit/s link with 30 of cross."""
    text = SMALL.replace("capacity_up_bps = 4_000_000", "capacity_up_bps = 100_000_000")
    found = truth("h1", "h2", text)
    assert found.choke.ttl == 2
    assert found.choke.train_ethernet_bps == pytest.approx(50e6 * 100 / 130)
    assert found.tight.avail_ethernet_bps == 20_000_000
    assert found.links[2].stretched is False


def test_a_slow_first_link_leaves_room_everywhere_behind_it() -> None:
    found = truth("h1", "h2")
    assert found.choke.ttl == found.narrow.ttl == 1
    assert [link.stretched for link in found.links] == [True, False, False]


def test_the_border_router_answers_with_its_neighbours_address() -> None:
    hop = truth("h1", "h2").hops[1]
    assert (hop.node, hop.asn, hop.address_asn) == ("r2", 65002, 65001)


def test_a_router_as_destination_answers_as_itself() -> None:
    assert str(truth("h1", "r2").hops[-1].address) == "10.2.255.1"


def test_a_path_to_oneself_is_refused() -> None:
    with pytest.raises(ValueError, match="same node"):
        truth("h1", "h1")


def test_json_has_units_in_its_names_and_nothing_unprintable() -> None:
    found = json.loads(json.dumps(truth("h2", "h1").as_json()))
    assert found["choke_link"]["to_address"] == "10.1.0.1"
    assert found["hops"][0] == {
        "ttl": 1,
        "node": "r2",
        "address": "10.2.0.2",
        "asn": 65002,
        "address_asn": 65002,
        "icmp": "free",
    }
    assert found["avail_ethernet_bps"] == 10_000_000
    assert found["avail_ip_bps"] == round(10_000_000 * 500 / 514)


def test_delay_and_loss_add_up_along_the_way_and_back() -> None:
    text = SMALL.replace(
        "capacity_bps = 50_000_000",
        "capacity_bps = 50_000_000\ndelay_up_s = 0.01\ndelay_down_s = 0.002\nloss_ratio = 0.1",
    ).replace("capacity_bps = 100_000_000", "capacity_bps = 100_000_000\nloss_up_ratio = 0.5")
    there, back = truth("h1", "h2", text), truth("h2", "h1", text)
    assert (there.owd_ns, back.owd_ns) == (10_000_000, 2_000_000)
    assert there.rtt_ns == back.rtt_ns == 12_000_000
    assert there.loss_ratio == pytest.approx(0.1)
    assert back.loss_ratio == pytest.approx(1 - 0.9 * 0.5)
    assert there.round_trip_loss_ratio == pytest.approx(1 - 0.9 * 0.9 * 0.5)
    found = there.as_json()
    assert (found["owd_ns"], found["rtt_ns"]) == (10_000_000, 12_000_000)
    assert [link["delay_ns"] for link in found["links"]] == [0, 10_000_000, 0]


def test_a_translated_host_is_seen_as_its_router_and_not_reached() -> None:
    text = SMALL.replace("r2 = { kind", 'r2 = { nat_for = ["h2"], kind')
    out, back = truth("h2", "h1", text), truth("h1", "h2", text)
    assert str(out.seen_as) == "10.1.0.6"
    assert (out.hidden_by, back.hidden_by, back.seen_as) == (None, "r2", None)
    assert truth("h2", "r2", text).seen_as is None
    assert truth("r2", "h2", text).hidden_by is None
    assert back.as_json()["hidden_by"] == "r2"


RATES = st.floats(min_value=1e5, max_value=1e10)


@given(RATES, RATES, st.floats(min_value=0, max_value=0.99))
def test_a_link_never_speeds_a_train_up_nor_gives_it_less_than_is_free(
    entering_bps: float, capacity_bps: float, load: float
) -> None:
    cross_bps = capacity_bps * load
    left_bps = fluid_bps(entering_bps, capacity_bps, cross_bps)
    assert left_bps <= min(entering_bps, capacity_bps) * (1 + 1e-9)
    assert left_bps >= min(entering_bps, capacity_bps - cross_bps) * (1 - 1e-9)


@given(topologies(), st.data())
def test_the_answers_are_links_of_the_path(topology: Topology, data: st.DataObject) -> None:
    source, destination = data.draw(st.permutations(topology.hosts))[:2]
    found = path_truth(make_plan(topology), source, destination)
    assert len(found.hops) == len(found.links)
    assert found.hops[-1].node == destination
    assert found.tight.avail_ethernet_bps <= found.narrow.capacity_ethernet_bps
    rates = [link.train_ethernet_bps for link in found.links]
    assert rates == sorted(rates, reverse=True)
    assert not math.isinf(rates[0])
    # Behind the choke nothing slows the train by more than 5 % a link.
    behind = rates[found.choke.ttl - 1 :]
    assert all(b >= 0.95 * a for a, b in itertools.pairwise(behind))


@pytest.mark.parametrize("agent", ["a1", "a2", "a3", "a4", "a5"])
def test_the_demo_has_one_clear_answer_per_direction(agent: str) -> None:
    plan = make_plan(find("demo"))
    for source, target, wanted in (
        (agent, "c1", ("h3", "c1")),
        (agent, "w1", ("n3", "x1")),
        ("c1", "w1", ("c1", "h3")),
    ):
        found = path_truth(plan, source, target)
        for link in (found.choke, found.tight, found.narrow):
            assert (link.sender, link.receiver) == wanted
        others = [link for link in found.links if link is not found.tight]
        assert min(o.avail_ethernet_bps for o in others) >= 1.5 * found.tight.avail_ethernet_bps
