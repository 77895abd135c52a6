"""Every technique on paths that are bad in every way we know, as a user meets them.

Real processes, real packets: what is looked at is the exit code, the sentence, the reason and the
time it took. A result may be bad, it may not be wrong, and nothing may end in a traceback.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import attrs
import pytest

from emodis.client.exits import Exit
from emodis.lab.deployment import Deployment, program
from emodis.lab.lab import Lab
from emodis.lab.unprivileged import wrapped
from emodis.techniques import registry
from emodis.techniques.stats import NS_PER_S, wilson
from tests.support.bad_paths import flap, narrow, topology
from tests.unit.client.schema import load, problems

pytestmark = pytest.mark.lab
# Guards against hanging: the deadlines of runs are shorter.
PROCESS_S = 120.0
AT_ONCE = 4
NOWHERE = "10.99.99.99"
# Measures without any capability.
ORDINARY = "u1"

PING = ("ping", "count=5", "interval_s=0.1", "timeout_s=1")
UDP = ("ping", "proto=udp", "count=25", "interval_s=0.1")
ROUTE = ("traceroute", "rounds=2", "timeout_s=1")
# A silent hop makes three rounds last that long, about as long as `flap` leaves a route alone.
MANY_ROUNDS = ("traceroute", "rounds=9", "timeout_s=1", "settle_s=0.4")
LOSS = ("loss", "count=60", "interval_s=0.05", "timeout_s=1")
LARGE_PING, LARGE_LOSS = (*PING, "payload_bytes=1400"), (*LOSS, "payload_bytes=1400")
LARGE_ROUTE = (*ROUTE, "size_bytes=1400")
TRAINS = ("pathneck",)

Asked = tuple[str, ...]


@attrs.frozen
class Said:
    """What one `emodis-client` has said of one destination."""

    code: int
    sentence: str
    run: Mapping[str, Any]

    @property
    def result(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.run["result"]
        return found

    @property
    def doubts(self) -> str:
        return "; ".join(self.run["quality"]["reasons"])


def read(done: subprocess.CompletedProcess[str]) -> dict[str, Said]:
    """By destination. Whatever was found, it is published JSON, and there is no traceback."""
    assert "Traceback" not in done.stderr
    assert done.stdout, done.stderr
    printed, schema = json.loads(done.stdout), load("results-1.json")
    assert problems(printed, schema, schema) == []
    (measurement,) = printed["measurements"]
    found = {}
    for run in measurement["runs"]:
        sentence = measurement["answers"][run["destination"]]
        assert sentence.endswith(".")
        if run["end"] == "failed":
            assert run["hint"], run["reason"]
            assert run["blame"] in {"target", "network"}
        name = measurement["destinations"][run["destination"]]["name"]
        found[name] = Said(done.returncode, sentence, run)
    return found


def measure(lab: Lab, host: str, asked: Asked, *destinations: str) -> dict[str, Said]:
    """`emodis-client measure` at a host; "-6" among the options is the client's own."""
    technique, *options = asked
    family = [option for option in options if option == "-6"]
    chosen = [option for option in options if option != "-6"]
    words = [word for option in chosen for word in ("-o", option)]
    command = [program("emodis-client"), "measure", *destinations, "--tech", technique]
    command += [*family, *words, "--format", "json"]
    if host == ORDINARY:
        command = wrapped(command)
    call = registry.get(technique).call(dict(option.split("=") for option in chosen))
    found = read(lab.run(host, command, capture_output=True, text=True, timeout=PROCESS_S))
    deadline_s = registry.get(technique).worst_case(call).duration_s
    assert all(said.run["duration_ns"] / NS_PER_S < deadline_s for said in found.values())
    return found


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab.up(topology()) as up:
        narrow(up)
        yield up


# Done several at once: their times mean little here, and each mostly waits. Who has no route gives
# one answer a second to each host that asks, so each technique asks it from a host of its own.
LIGHT: tuple[tuple[str, Asked, tuple[str, ...]], ...] = (
    ("h1", LOSS, ("dead", "mute")),
    ("h1", LOSS, ("far", "near")),
    ("h1", LOSS, ("rare", "short")),
    ("h1", LOSS, ("turn",)),
    ("h1", ROUTE, ("dead", "mute", "rare", "short")),
    ("h1", MANY_ROUNDS, ("turn",)),
    ("h1", PING, ("dead", "mute")),
    ("h1", PING, ("full",)),
    ("h1", UDP, ("back",)),
    *(("hid", asked, ("rare",)) for asked in (PING, ROUTE, LOSS)),
    ("h1", PING, (NOWHERE,)),
    ("m1", LOSS, (NOWHERE,)),
    ("a1", ROUTE, (NOWHERE,)),
    *(("h1", asked, ("small",)) for asked in (LARGE_PING, LARGE_ROUTE, LARGE_LOSS)),
    *(("h1", (*asked, "-6"), ("small",)) for asked in (LARGE_PING, LARGE_ROUTE)),
    (ORDINARY, LOSS, ("dead",)),
    (ORDINARY, LOSS, ("far", "near")),
    (ORDINARY, ROUTE, ("dead", "short")),
    (ORDINARY, MANY_ROUNDS, ("turn",)),
    (ORDINARY, LARGE_LOSS, ("small",)),
)

Hear = Callable[..., Said]


@pytest.fixture(scope="module")
def light(lab: Lab) -> Mapping[tuple[str, Asked, str], Future[dict[str, Said]]]:
    with ThreadPoolExecutor(AT_ONCE) as pool, flap(lab) as flapping:
        jobs = {ask: pool.submit(measure, lab, ask[0], ask[1], *ask[2]) for ask in LIGHT}
        wait(jobs.values())
        flapping.terminate()
    return {(host, asked, to): jobs[host, asked, tos] for host, asked, tos in LIGHT for to in tos}


@pytest.fixture
def heard(light: Mapping[tuple[str, Asked, str], Future[dict[str, Said]]]) -> Hear:
    def hear(where: str, asked: Asked, host: str = "h1") -> Said:
        return light[host, asked, where].result()[where]

    return hear


@pytest.mark.parametrize(
    ("where", "asked", "host"),
    [
        ("dead", PING, "h1"),
        ("dead", LOSS, "h1"),
        ("dead", LOSS, ORDINARY),
        ("mute", PING, "h1"),
        ("mute", LOSS, "h1"),
    ],
)
def test_nobody_answers(heard: Hear, where: str, asked: Asked, host: str) -> None:
    found = heard(where, asked, host)
    assert (found.code, found.run["reason"]) == (Exit.FAILED, "no_reply")
    assert found.run["blame"] == "target"
    assert "the destination is down or drops echo requests; try traceroute" in found.sentence


@pytest.mark.parametrize("host", ["h1", ORDINARY])
def test_a_route_to_nobody_ends_where_it_was_last_heard(lab: Lab, heard: Hear, host: str) -> None:
    found = heard("dead", ROUTE, host)
    last = lab.truth(host, "dead").hops[-2].address
    assert (found.result["reached"], found.result["end_reason"]) == (False, "incomplete")
    assert f"nothing answered behind hop 3 ({last})" in found.sentence
    assert len(heard("mute", ROUTE).result["hops"]) == 2


@pytest.mark.parametrize(("host", "asked"), [("h1", PING), ("m1", LOSS), ("a1", ROUTE)])
def test_a_router_without_a_route_is_quoted(heard: Hear, host: str, asked: Asked) -> None:
    found = heard(NOWHERE, asked, host)
    assert "has no route to the destination" in found.sentence
    reason = found.result["end_reason"] if asked is ROUTE else found.run["reason"]
    assert reason == "unreachable(0)"


@pytest.mark.parametrize(
    ("asked", "host"),
    [
        (LARGE_PING, "h1"),
        (LARGE_LOSS, "h1"),
        (LARGE_LOSS, ORDINARY),
        (LARGE_ROUTE, "h1"),
        ((*LARGE_PING, "-6"), "h1"),
        ((*LARGE_ROUTE, "-6"), "h1"),
    ],
    ids=["ping", "loss", "loss-unprivileged", "traceroute", "ping-ipv6", "traceroute-ipv6"],
)
def test_a_link_too_narrow_for_the_probes_is_named_with_what_to_do(
    lab: Lab, heard: Hear, asked: Asked, host: str
) -> None:
    found = heard("small", asked, host)
    router = lab.truth(host, "small", ipv6="-6" in asked).hops[2].address
    assert f"{router} cannot pass on packets of" in found.sentence
    if asked[0] == "traceroute":
        assert found.result["end_reason"] == "packet_too_big"
        assert "give a smaller size_bytes" in found.doubts
    else:
        assert (found.code, found.run["reason"]) == (Exit.FAILED, "packet_too_big")
        assert "give a smaller payload_bytes" in found.sentence


@pytest.mark.parametrize("host", ["h1", "hid"])
def test_routers_that_ration_their_answers_lose_nothing(lab: Lab, heard: Hear, host: str) -> None:
    loss, route = heard("rare", LOSS, host), heard("rare", ROUTE, host)
    if loss.result["loss_ratio"]:
        # All others were measured at the same time; alone the host is busy with nothing else.
        loss = measure(lab, host, LOSS, "rare")["rare"]
    assert (loss.code, loss.result["loss_ratio"]) == (Exit.OK, 0.0)
    assert "None of 60 probes" in loss.sentence
    assert {hop["shows"] for hop in loss.result["hops"][-2:]} <= {"unreliable", "unsure", "before"}
    assert route.result["reached"]


def test_through_a_nat_everything_is_answered(lab: Lab, heard: Hear) -> None:
    assert heard("rare", PING, "hid").result["loss_ratio"] == 0.0
    hops = heard("rare", ROUTE, "hid").result["hops"]
    truth = [str(hop.address) for hop in lab.truth("hid", "rare").hops]
    assert [hop["answers"][0]["address"] or hop["answers"][1]["address"] for hop in hops] == truth


@pytest.mark.parametrize("host", ["h1", ORDINARY])
def test_quotes_of_eight_bytes_are_enough(lab: Lab, heard: Hear, host: str) -> None:
    hops = heard("short", ROUTE, host).result["hops"]
    truth = [str(hop.address) for hop in lab.truth(host, "short").hops]
    assert [hop["answers"][0]["address"] for hop in hops] == truth


def test_quotes_of_eight_bytes_place_losses(heard: Hear) -> None:
    assert [hop["answered"] for hop in heard("short", LOSS).result["hops"]] != [0, 0, 0, 0]


def test_a_destination_that_rations_its_answers_has_no_loss_to_show(heard: Hear) -> None:
    found = heard("back", UDP)
    assert found.result["rate_limited_suspected"]
    assert "loss is unknown, because it seems to answer about once a second" in found.sentence


@pytest.mark.parametrize("where", ["far", "near"])
@pytest.mark.parametrize("host", ["h1", ORDINARY])
def test_loss_of_either_direction_begins_on_the_last_link(
    heard: Hear, where: str, host: str
) -> None:
    found = heard(where, LOSS, host)
    # The interval that is printed misses the truth one time in twenty.
    sent = found.result["sent"]
    low, high = wilson(sent - found.result["answered"], sent, z=3.5)
    assert low < 0.3 < high
    assert found.result["begins"]["to_ttl"] == found.result["hop_count"] == 4


def test_a_full_link_shows_as_delay_or_loss(heard: Hear) -> None:
    found = heard("full", PING)
    if found.run["end"] == "done":
        assert found.result["loss_ratio"] > 0 or found.result["rtt_median_ns"] > 10**8
    else:
        assert found.run["reason"] == "no_reply"


@pytest.mark.parametrize(
    ("asked", "host"),
    [(LOSS, "h1"), (MANY_ROUNDS, "h1"), (MANY_ROUNDS, ORDINARY)],
    ids=["loss", "traceroute", "traceroute-unprivileged"],
)
def test_a_route_that_changes_in_mid_run_is_said(heard: Hear, asked: Asked, host: str) -> None:
    found = heard("turn", asked, host)
    assert found.run["end"] == "done"
    assert "the route changed at hop 3" in found.doubts


# Trains want the machine to themselves, so these come one after the other.


def test_trains_into_nothing_end_soon_and_say_what_is_missing(lab: Lab) -> None:
    found = measure(lab, "h1", TRAINS, NOWHERE)[NOWHERE]
    assert (found.code, found.run["reason"]) == (Exit.FAILED, "unreachable(0)")
    dead = measure(lab, "h1", TRAINS, "dead")["dead"]
    assert dead.result["last_link"] == "unmeasured"
    assert "the last link could not be measured" in dead.sentence


@pytest.mark.parametrize("host", ["h1", ORDINARY])
def test_a_load_too_large_for_a_link_is_sent_in_smaller_packets(lab: Lab, host: str) -> None:
    asked = (*TRAINS, "load_size_bytes=1400", "load_packets=20", "cause=off")
    found = measure(lab, host, asked, "small")["small"]
    assert found.code == Exit.OK
    assert "cannot pass on packets of 1400 bytes" in found.doubts
    assert "measured with 700 bytes instead" in found.doubts
    # An audible load spends the answers that a destination has.
    assert found.result["last_link"] == ("measured" if host == "h1" else "unmeasured")


def test_trains_over_a_route_that_changes_say_so_or_are_of_one_route(lab: Lab) -> None:
    with flap(lab) as flapping:
        found = measure(lab, "h1", (*TRAINS, "cause=off"), "turn")["turn"]
        flapping.terminate()
    if found.run["end"] == "failed":
        assert found.run["reason"] == "route_unstable"
    else:
        assert "took another route" in found.doubts or "different routes" in found.doubts


def test_a_token_bucket_that_swallows_the_usual_trains_is_found_by_long_ones(lab: Lab) -> None:
    """62.5 kB pass it freely: a train of 30 kB sees a fast link, one of 280 kB the slow one."""
    found = measure(lab, "h1", TRAINS, "bucket")["bucket"]
    assert (found.result["bottleneck"]["ttl"], found.result["remark"]) == (3, "shaper_suspected(3)")
    capacity_bps = lab.truth("h1", "bucket").choke.capacity_ip_bps
    assert 0.95 * capacity_bps <= found.result["bottleneck"]["bound_bps"] <= 2 * capacity_bps
    assert "a token bucket" in found.doubts


def test_traffic_on_the_way_back_is_no_bottleneck(lab: Lab) -> None:
    """The last link has 20 Mbit/s, of which others use 14 towards h1."""
    found = measure(lab, "h1", TRAINS, "back")["back"]
    if found.result["bottleneck"] is not None:
        assert found.result["bottleneck"]["ttl"] in {1, 4}
        assert found.result["bottleneck"]["cause"] != "load"


@pytest.fixture(scope="module")
def deployed(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A master, and an agent where h1 is."""
    deployment = Deployment(lab, tmp_path_factory.mktemp("deployed"))
    try:
        deployment.start_master()
        deployment.start_agent("a1")
        yield deployment
    finally:
        deployment.stop()


def request(deployed: Deployment, host: str, *words: str) -> Said:
    (said,) = read(deployed.client(host, "request", *words, "--format", "json")).values()
    return said


def igi(deployed: Deployment, host: str, *options: str) -> Said:
    words = [word for option in options for word in ("-o", option)]
    return request(deployed, host, "--tech", "igi", "--agents", "ALL", *words)


def test_bandwidth_towards_a_host_that_sends_much_itself(deployed: Deployment) -> None:
    found = igi(deployed, "back")
    truth = deployed.lab.truth("a1", "back").tight.avail_ip_bps
    assert found.result["ptr_bps"] == pytest.approx(truth, rel=0.25)


def test_bandwidth_of_a_path_that_loses_at_random_is_given_with_a_doubt(
    deployed: Deployment,
) -> None:
    found = igi(deployed, "far", "max_time_s=8", "adaptive=off")
    assert found.run["quality"]["word"] == "poor"
    assert "of the probes were lost" in found.doubts
    if found.run["end"] == "done":
        assert "unless that is random, it is far less" in found.sentence


def test_bandwidth_over_a_route_that_changes(lab: Lab, deployed: Deployment) -> None:
    """Both ways are alike, so the answer holds; what is lost at a change is said."""
    with flap(lab) as flapping:
        found = igi(deployed, "turn")
        flapping.terminate()
    if found.run["end"] == "done":
        truth = lab.truth("a1", "turn").tight.avail_ip_bps
        assert found.result["ptr_bps"] == pytest.approx(truth, rel=0.25)
    else:
        assert found.run["hint"]


def test_bandwidth_of_a_link_that_others_fill(deployed: Deployment) -> None:
    found = igi(deployed, "full", "max_time_s=5")
    if found.run["end"] == "done":
        # Trains push others aside, so there is an answer; it is never given without a doubt.
        assert found.run["quality"]["word"] != "good"
    else:
        assert found.run["hint"]


def test_bandwidth_behind_a_token_bucket(deployed: Deployment) -> None:
    found = igi(deployed, "bucket")
    truth = deployed.lab.truth("a1", "bucket").tight.avail_ip_bps
    if found.run["end"] == "done":
        within = found.result["ptr_bps"] == pytest.approx(truth, rel=0.25)
        assert within or "a token bucket?" in found.doubts
    else:
        assert found.run["hint"]


def test_probes_of_bandwidth_too_large_for_a_link(deployed: Deployment) -> None:
    found = igi(deployed, "small", "payload_bytes=1400")
    assert (found.code, found.run["reason"]) == (Exit.FAILED, "packet_too_big")


def test_ways_into_a_host_that_is_down(deployed: Deployment) -> None:
    found = request(deployed, "h1", "dead", "--tech", "broute", "--agents", "ALL")
    assert found.code == Exit.FAILED
    assert found.sentence.startswith("Nothing could be measured towards dead")
