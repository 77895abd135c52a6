"""Trains without capabilities through six routers, beside raw ones on the same path."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import ICMP, UDP
from scapy.utils import PcapReader

from emodis.lab.deployment import program
from emodis.lab.lab import Lab
from emodis.lab.topofile import parse
from emodis.lab.unprivileged import wrapped
from tests.lab.test_raw_transport import FAR, PRELUDE

pytestmark = pytest.mark.lab

UNPRIVILEGED = PRELUDE.replace(
    "from emodis.packets.raw import RawTransport",
    "from emodis.packets.unprivileged import UnprivilegedTransport as RawTransport",
)
assert UNPRIVILEGED != PRELUDE


def flown(lab: Lab, script: str, *, raw: bool = False) -> Any:
    """Run a script at h1, its target h2; what it printed."""
    code = PRELUDE if raw else UNPRIVILEGED
    command = [sys.executable, "-c", code + script, str(lab.address("h2"))]
    done = lab.run(
        "h1", command if raw else wrapped(command), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


EVERY_HOP = """
from emodis.packets.transport import NotPermitted
transport.begin(there, max_bytes=0)
try:
    print(json.dumps(shown(fly(probes(range(1, 8)), kind=KIND))))
except NotPermitted as error:
    print(json.dumps(str(error)))
"""


@pytest.mark.parametrize(("kind", "arrival"), [("UDP", "unreachable"), ("ICMP_ECHO", "echo-reply")])
def test_every_router_on_the_path_answers_with_kernel_stamps(
    path_lab: Lab, kind: str, arrival: str
) -> None:
    outcome = flown(path_lab, EVERY_HOP.replace("KIND", f"Kind.{kind}"))
    if isinstance(outcome, str):
        assert kind == "ICMP_ECHO"
        assert "ping_group_range" in outcome
        pytest.skip("this lab cannot open ping_group_range")
    hops = path_lab.truth("h1", "h2").hops
    assert [echo["reply"][0] for echo in outcome["echoes"]] == [str(hop.address) for hop in hops]
    assert [echo["reply"][1] for echo in outcome["echoes"]] == ["time-exceeded"] * 6 + [arrival]
    assert outcome["kernel_tx"]
    assert outcome["kernel_rx"]
    for echo in outcome["echoes"]:
        assert echo["queued"] <= echo["sent"] < echo["reply"][3]
    doubts = [outcome[name] for name in ("duplicates", "unmatched", "receive_drops", "cut_short")]
    assert doubts == [0, 0, 0, False]


FLOW = """
transport.begin(there, max_bytes=0)
print(json.dumps(fly(probes([64]), kind=Kind.UDP).flow_key.source_port))
"""


def test_the_port_that_is_told_is_the_one_on_the_wire(path_lab: Lab, tmp_path: Path) -> None:
    with path_lab.capture("h2", tmp_path / "h2.pcap"):
        told = flown(path_lab, FLOW)
    with PcapReader(str(tmp_path / "h2.pcap")) as reader:
        (probe,) = [packet[UDP] for packet in reader if UDP in packet and ICMP not in packet]
    assert probe.sport == told


SYNS = """
for there in (there, ip_address(sys.argv[2])):
    transport.begin(there, max_bytes=0)
    outcomes = [fly(probes(range(1, 9)), kind=Kind.TCP_SYN, port=port) for port in (4000, 4001)]
    transport.end()
    print(json.dumps([[shown(outcome), outcome.by_connect] for outcome in outcomes]))
"""
LISTENER = """
import socket, time
with socket.create_server(("::", 4000), family=socket.AF_INET6, dualstack_ipv6=True):
    print("listening", flush=True)
    time.sleep(60)
"""


def test_connections_find_every_hop_and_the_state_of_the_port(path_lab: Lab) -> None:
    script = [sys.executable, "-c", UNPRIVILEGED + SYNS, str(path_lab.address("h2"))]
    argv = [*script, str(path_lab.address6("h2"))]
    listener = [sys.executable, "-c", LISTENER]
    with path_lab.popen("h2", listener, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "listening\n"
        done = path_lab.run("h1", wrapped(argv), capture_output=True, text=True, timeout=60)
        server.kill()
    assert done.returncode == 0, done.stderr
    for line, ipv6 in zip(done.stdout.splitlines(), (False, True), strict=True):
        hops = [str(hop.address) for hop in path_lab.truth("h1", "h2", ipv6=ipv6).hops]
        for (outcome, by_connect), arrival in zip(
            json.loads(line), ("syn-ack", "reset"), strict=True
        ):
            replies = [echo["reply"] for echo in outcome["echoes"]]
            # Two probes reach the destination.
            assert [reply[0] for reply in replies] == [*hops, hops[-1]]
            assert [reply[1] for reply in replies] == ["time-exceeded"] * 6 + [arrival] * 2
            assert (by_connect, outcome["kernel_tx"]) == (True, False)
            # The kernel times everything but a refusal.
            assert outcome["kernel_rx"] is (arrival == "syn-ack")
            assert outcome["unmatched"] == outcome["duplicates"] == 0


def test_what_may_answer_a_repeated_syn_is_no_time() -> None:
    """A round trip of 1.2 s: the kernel has sent every SYN twice before the answer comes."""
    far = parse(FAR.replace("delay_s = 0.1", "delay_s = 0.6"), place="far", default_name="far")
    argv = [program("emodis-client"), "measure", "h2", "--tech", "ping", "--format", "json"]
    argv += ["-o", "proto=tcp", "-o", "count=2", "-o", "timeout_s=1.5"]
    with Lab.up(far) as lab:
        done = lab.run("h1", wrapped(argv), capture_output=True, text=True, timeout=60)
    (run,) = json.loads(done.stdout)["measurements"][0]["runs"]
    assert (run["transport"], run["reason"]) == ("unprivileged", "ambiguous")
    result = run["result"]
    assert (result["sent"], result["answered"], result["ambiguous"]) == (2, 0, 2)
    assert result["loss_ratio"] == 0
    # Each SYN and its repetition.
    assert run["cost"]["sent_packets"] == 4


TRAINS = """
transport.begin(there, max_bytes=0)
def gaps():
    train = probes(range(1, 7)) + probes([255] * 60, size_bytes=500) + probes(range(6, 0, -1))
    heads = frozenset({*range(6), *range(66, 72)})
    outcome = fly(train, awaited=heads)
    assert all(outcome.echoes[i].reply for i in heads), shown(outcome)
    stamps = [outcome.echoes[i].reply.received_ns for i in sorted(heads)]
    assert outcome.kernel_tx and outcome.kernel_rx
    return [stamps[-1 - hop] - stamps[hop] for hop in range(6)]
print(json.dumps([gaps() for _ in range(7)]))
"""


def test_gaps_are_those_of_the_raw_transport(path_lab: Lab) -> None:
    def medians(*, raw: bool) -> list[float]:
        trains = flown(path_lab, TRAINS, raw=raw)
        return [statistics.median(gaps) for gaps in zip(*trains, strict=True)]

    raw, unprivileged = medians(raw=True), medians(raw=False)
    # The link of 10 Mbit/s stands before the fourth router; gaps before it are this host's pace.
    for hop in (3, 4, 5):
        assert unprivileged[hop] == pytest.approx(raw[hop], rel=0.03)
    assert unprivileged[2] < unprivileged[3] / 2


ONE_FLOW_EACH = """
transport.begin(there, max_bytes=0)
first, other = (shown(fly(probes(range(1, 7)), flow=flow)) for flow in (0, 1))
again = shown(fly(probes(range(1, 7))))
print(json.dumps([first, other, again]))
"""


def test_trains_and_flows_of_a_run_do_not_take_one_anothers_answers(path_lab: Lab) -> None:
    for outcome in flown(path_lab, ONE_FLOW_EACH):
        assert all(echo["reply"] for echo in outcome["echoes"])
        assert outcome["unmatched"] == outcome["duplicates"] == 0


NO_CAPABILITY = """
from emodis.packets.raw import RawTransport as Real
try:
    Real(random.Random(1))
    print(json.dumps("raw sockets"))
except PermissionError:
    print(json.dumps("none"))
"""


def test_these_tests_run_without_the_capability(path_lab: Lab) -> None:
    assert flown(path_lab, NO_CAPABILITY) == "none"


SIX = """
from ipaddress import ip_address
there = ip_address(TARGET)
transport.begin(there, max_bytes=0)
train = tuple(Probe(ttl=ttl, size_bytes=80) for ttl in range(1, 7))
outcome = fly(train)
again = fly(train, kind=Kind.ICMP_ECHO if ECHO else Kind.UDP)
print(json.dumps([shown(outcome), shown(again)]))
"""


def test_ipv6_finds_the_hops_that_raw_sockets_find(path_lab: Lab) -> None:
    target = path_lab.address6("h2")
    echo = not isinstance(flown(path_lab, EVERY_HOP.replace("KIND", "Kind.ICMP_ECHO")), str)
    script = SIX.replace("TARGET", repr(str(target))).replace("ECHO else", f"{echo} else")
    for raw in (True, False):
        outcomes = flown(path_lab, script, raw=raw)
        for outcome in outcomes:
            kinds = [echo["reply"] and echo["reply"][1] for echo in outcome["echoes"]]
            assert kinds == ["time-exceeded"] * 6
            assert outcome["unmatched"] == outcome["duplicates"] == 0
        hops = [echo["reply"][0] for echo in outcomes[0]["echoes"]]
        assert len(set(hops)) == 6
