"""Real trains through six routers, checked against the topology and a capture at the far end."""

from __future__ import annotations

import json
import subprocess
import sys
from ipaddress import IPv4Address
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.utils import PcapReader

from emodis.lab.lab import Lab
from emodis.lab.topofile import parse

pytestmark = pytest.mark.lab

# A round trip of 200 ms.
FAR = """
[as.65001]
name = "One"
[nodes]
h1 = { kind = "host", asn = 65001 }
r1 = { kind = "router", asn = 65001 }
h2 = { kind = "host", asn = 65001 }
[[links]]
a = "h1"
b = "r1"
capacity_bps = 100_000_000
[[links]]
a = "r1"
b = "h2"
capacity_bps = 100_000_000
delay_s = 0.1
"""

# What every script begins with; prints one JSON document. The destination answers as Linux does by
# default, a burst of six UDP probes and one more a second, so the scripts do not ask it often.
PRELUDE = """
import json, os, random, sys, threading
from ipaddress import ip_address
from itertools import pairwise
from emodis.packets.clocks import boottime_ns, realtime_ns
from emodis.packets.model import Kind, Probe, Train
from emodis.packets.raw import RawTransport
from emodis.packets.transport import TransportError

class Word:
    def __init__(self):
        self.reader, self.writer = os.pipe()
        self.said_ns = None
    def say(self):
        self.said_ns = realtime_ns()
        os.write(self.writer, b"x")
    def fileno(self):
        return self.reader
    def waiting(self):
        return self.said_ns is not None

def shown(outcome):
    return {
        "kernel_tx": outcome.kernel_tx, "kernel_rx": outcome.kernel_rx,
        "duplicates": outcome.duplicates, "unmatched": outcome.unmatched,
        "receive_drops": outcome.receive_drops, "cut_short": outcome.cut_short,
        "echoes": [{"sent": e.sent_ns, "queued": e.queued_ns, "reply": e.reply and [
            str(e.reply.address), e.reply.kind.value, e.reply.icmp_code, e.reply.received_ns,
            e.reply.quoted_ttl]} for e in outcome.echoes]}

def probes(ttls, **more):
    size_bytes = {4: 60, 6: 80}[there.version]
    return tuple(Probe(ttl=ttl, **{"size_bytes": size_bytes, **more}) for ttl in ttls)

there = ip_address(sys.argv[1])
word, far = Word(), boottime_ns() + 60 * 10**9
transport = RawTransport(random.SystemRandom())
def fly(probes, kind=Kind.UDP, wait_ns=2 * 10**9, stop_by=far, **more):
    train = Train(kind=kind, probes=probes, wait_ns=wait_ns, **more)
    return transport.exchange(train, stop_by_boottime_ns=stop_by, interrupt=word)
"""


def flown(lab: Lab, script: str, *, to: str = "h2", version: int = 4) -> Any:
    """Run a script at h1, its target the other end; what it printed."""
    target = to
    if to in lab.plan.nodes:
        target = str(lab.address(to) if version == 4 else lab.address6(to))
    command = [sys.executable, "-c", PRELUDE + script, target]
    done = lab.run("h1", command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def captured(path: Path) -> list[tuple[float, Any]]:
    """Arrival (Unix s) and packet of every IPv4 packet in the file."""
    return captured_layer(path, IP)


def captured_layer(path: Path, layer: Any) -> list[tuple[float, Any]]:
    """The same from this layer on, where it is found."""
    with PcapReader(str(path)) as reader:
        return [(float(packet.time), packet[layer]) for packet in reader if layer in packet]


EVERY_HOP = """
transport.begin(there, max_bytes=0)
print(json.dumps(shown(fly(probes(range(1, 8)), kind=Kind[sys.argv[2]]))))
"""


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(
    ("kind", "arrival"),
    [("UDP", "unreachable"), ("ICMP_ECHO", "echo-reply"), ("TCP_SYN", "reset")],
)
def test_every_router_on_the_path_answers_with_kernel_stamps(
    path_lab: Lab, kind: str, arrival: str, version: int
) -> None:
    script = EVERY_HOP.replace("sys.argv[2]", repr(kind))
    outcome = flown(path_lab, script, version=version)
    hops = path_lab.truth("h1", "h2", ipv6=version == 6).hops
    assert len(hops) == 7
    assert [echo["reply"][0] for echo in outcome["echoes"]] == [str(hop.address) for hop in hops]
    kinds = [echo["reply"][1] for echo in outcome["echoes"]]
    assert kinds == ["time-exceeded"] * 6 + [arrival]
    assert outcome["kernel_tx"]
    assert outcome["kernel_rx"]
    for echo in outcome["echoes"]:
        assert echo["queued"] <= echo["sent"] < echo["reply"][3]
        assert echo["reply"][4] in (1, None)
    doubts = [outcome[name] for name in ("duplicates", "unmatched", "receive_drops", "cut_short")]
    assert doubts == [0, 0, 0, False]


ONE_FLOW = """
transport.begin(there, max_bytes=0)
load = probes([255] * 20, size_bytes=500, muted=True)
outcome = fly(probes([64]) + load + probes([64]))
print(json.dumps(shown(outcome)))
"""


def test_a_train_arrives_as_one_flow_in_order_and_muted_packets_are_not_answered(
    path_lab: Lab, tmp_path: Path
) -> None:
    with path_lab.capture("h2", tmp_path / "h2.pcap"):
        outcome = flown(path_lab, ONE_FLOW)
    source = str(path_lab.address("h1"))
    arrived = [packet for _, packet in captured(tmp_path / "h2.pcap") if packet.src == source]
    assert len(arrived) == 22
    assert len({(p.src, p.dst, p.tos, p.proto, p[UDP].sport, p[UDP].dport) for p in arrived}) == 1
    ids = [packet.id for packet in arrived]
    assert [packet[UDP].chksum for packet in arrived] == ids
    steps = {(after - before) % 0xFFFE for before, after in pairwise(ids)}
    assert steps == {1}
    answered = [echo["reply"] is not None for echo in outcome["echoes"]]
    assert answered == [True] + [False] * 20 + [True]


def test_routers_may_cut_up_what_has_no_df(path_lab: Lab, tmp_path: Path) -> None:
    script = ONE_FLOW.replace("outcome = fly(", "outcome = fly(df=False, probes=")
    with path_lab.capture("h2", tmp_path / "h2.pcap"):
        flown(path_lab, script)
    source = str(path_lab.address("h1"))
    arrived = [packet for _, packet in captured(tmp_path / "h2.pcap") if packet.src == source]
    assert [str(packet.flags) for packet in arrived] == [""] * 22


@pytest.mark.parametrize("kind", ["UDP", "ICMP_ECHO", "TCP_SYN"])
def test_an_ipv6_train_arrives_as_one_flow_in_order(
    path_lab: Lab, tmp_path: Path, kind: str
) -> None:
    script = ONE_FLOW.replace("outcome = fly(", f"outcome = fly(kind=Kind.{kind}, dscp=46, probes=")
    with path_lab.capture("h2", tmp_path / "h2.pcap"):
        outcome = flown(path_lab, script, version=6)
    source = str(path_lab.address6("h1"))
    layer = {"UDP": UDP, "ICMP_ECHO": ICMPv6EchoRequest, "TCP_SYN": TCP}[kind]
    arrived = [
        packet
        for _, packet in captured_layer(tmp_path / "h2.pcap", IPv6)
        if packet.src == source and layer in packet and packet.plen >= 40
    ]
    assert len(arrived) == 22
    # All a balancer looks at: addresses, traffic class, label, four bytes of transport header.
    assert len({(p.dst, p.tc, p.fl, p.nh, bytes(p[layer])[:4]) for p in arrived}) == 1
    assert arrived[0].tc == 46 << 2
    assert arrived[0].fl != 0
    ids = [
        p[layer].chksum if kind == "UDP" else p[layer].seq >> (16 if kind == "TCP_SYN" else 0)
        for p in arrived
    ]
    assert {(after - before) % 0xFFFE for before, after in pairwise(ids)} == {1}
    # What is muted is dropped by the far end without a word.
    answered = [echo["reply"] is not None for echo in outcome["echoes"]]
    assert answered == [True] + [False] * 20 + [True]


LISTENING = """
transport.begin(there, max_bytes=0)
print(json.dumps([
    shown(fly(probes([64]), kind=Kind.TCP_SYN, port=7007, flow=flow))
    for flow in range(4)]))
"""
SERVER = """
import socket
server = socket.create_server(("::", 7007), family=socket.AF_INET6, dualstack_ipv6=True)
print("listening", flush=True)
server.accept()
"""


@pytest.mark.parametrize("version", [4, 6])
def test_an_open_port_answers_and_our_kernel_takes_it_back(
    path_lab: Lab, tmp_path: Path, version: int
) -> None:
    command = [sys.executable, "-c", SERVER]
    with path_lab.popen("h2", command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "listening\n"
        with path_lab.capture("h2", tmp_path / "h2.pcap"):
            outcomes = flown(path_lab, LISTENING, version=version)
        server.kill()
    assert [o["echoes"][0]["reply"][1] for o in outcomes] == ["syn-ack"] * 4
    source = str(path_lab.address("h1") if version == 4 else path_lab.address6("h1"))
    flags = [
        str(packet[TCP].flags)
        for _, packet in captured_layer(tmp_path / "h2.pcap", IP if version == 4 else IPv6)
        if TCP in packet and packet.src == source
    ]
    # Nothing is left half open there.
    assert flags == ["S", "R"] * 4


HALF_OPEN = """
transport.begin(there, max_bytes=0)
syns = probes([64] * 4, after_ns=10_000_000)
print(json.dumps([
    shown(fly(syns, kind=Kind.TCP_SYN, port=7007, flow=flow, spread=spread, wait_ns=10**9))
    for flow, spread in ((0, False), (10, True))]))
"""


def test_syns_that_follow_one_another_within_a_round_trip_need_ports_of_their_own() -> None:
    with Lab.up(parse(FAR, place="far", default_name="far")) as lab:
        command = [sys.executable, "-c", SERVER]
        with lab.popen("h2", command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            assert server.stdout.readline() == "listening\n"
            together, spread = flown(lab, HALF_OPEN)
            server.kill()
    answered = [echo["reply"] is not None for echo in together["echoes"]]
    assert answered == [True, False, False, False]
    assert [echo["reply"][1] for echo in spread["echoes"]] == ["syn-ack"] * 4


ABORTED = """
transport.begin(there, max_bytes=0)
threading.Timer(0.2, word.say).start()
outcome = fly(probes([64] * 1000, after_ns=5_000_000), kind=Kind.ICMP_ECHO)
print(json.dumps([word.said_ns, realtime_ns(), shown(outcome)]))
"""


def test_an_abort_stops_the_sending_in_the_middle_of_a_train(path_lab: Lab, tmp_path: Path) -> None:
    with path_lab.capture("h2", tmp_path / "h2.pcap"):
        said_ns, ended_ns, outcome = flown(path_lab, ABORTED)
    assert outcome["cut_short"]
    sent = [echo["sent"] for echo in outcome["echoes"] if echo["sent"] is not None]
    source = str(path_lab.address("h1"))
    arrived = [at for at, packet in captured(tmp_path / "h2.pcap") if packet.src == source]
    assert 0 < len(arrived) == len(sent) < 1000
    # Whoever has the word has it before the next send call; the process itself may be slow.
    assert max(sent) < ended_ns
    assert sum(at_ns > said_ns for at_ns in sent) <= 1


STOPPED = """
transport.begin(there, max_bytes=0)
real, stop_by = realtime_ns(), boottime_ns() + 300_000_000
train = probes([64] * 100, after_ns=10_000_000, size_bytes=1000)
outcome = fly(train, kind=Kind.ICMP_ECHO, stop_by=stop_by)
print(json.dumps([real + 300_000_000, transport.traffic.stopped_by.name, shown(outcome)]))
"""


def test_nothing_leaves_that_would_not_be_through_before_stop_by(path_lab: Lab) -> None:
    stop_ns, why, outcome = flown(path_lab, STOPPED)
    assert outcome["cut_short"]
    assert why == "STOP_BY"
    sent = [echo["sent"] for echo in outcome["echoes"] if echo["sent"] is not None]
    assert 0 < len(sent) < 100
    # 1000 bytes take 16 ms at 0.5 Mbit/s.
    assert max(sent) < stop_ns - 10_000_000


CAPPED = """
transport.begin(there, max_bytes=300)
outcomes = [shown(fly(probes([64] * 3))), shown(fly(probes([64] * 3)))]
print(json.dumps([outcomes, transport.traffic.sent_bytes, transport.traffic.stopped_by.name]))
"""


def test_the_byte_cap_holds_over_the_trains_of_a_run(path_lab: Lab) -> None:
    outcomes, sent_bytes, why = flown(path_lab, CAPPED)
    assert [outcome["cut_short"] for outcome in outcomes] == [False, True]
    assert (sent_bytes, why) == (180, "BYTE_CAP")


FOREIGN = """
other = RawTransport(random.SystemRandom())
transport.begin(there, max_bytes=0)
other.begin(there, max_bytes=0)
mine = shown(fly(probes(range(1, 7))))
theirs = []
for kind in Kind:
    train = Train(kind=kind, probes=probes(range(1, 7)), wait_ns=2 * 10**9)
    theirs.append(shown(other.exchange(train, stop_by_boottime_ns=far, interrupt=word)))
queued = len(list(transport._sockets[there.version].answers()))
again = shown(fly(probes(range(1, 7))))
print(json.dumps([[mine, *theirs, again], queued]))
"""


@pytest.mark.parametrize("version", [4, 6])
def test_answers_to_others_do_not_even_reach_us(path_lab: Lab, version: int) -> None:
    outcomes, queued = flown(path_lab, FOREIGN, version=version)
    assert queued == 0
    for outcome in outcomes:
        assert outcome["unmatched"] == outcome["receive_drops"] == 0
        assert all(echo["reply"] for echo in outcome["echoes"])


# Time-exceeded for somebody else's packets until killed: ten thousand a second, which is far from
# what the link carries, else that would lose answers.
NOISE = """
import socket, struct, sys, time
from emodis.packets.checksum import checksum
here, there = (socket.inet_aton(a) for a in sys.argv[1:3])
quoted = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 60, 7, 0x4000, 1, 17, 0, there, here)
quoted += struct.pack("!HHHH", 40000, 33434, 40, 7)
body = struct.pack("!BBHI", 11, 0, 0, 0) + quoted
body = body[:2] + checksum(body).to_bytes(2, "big") + body[4:]
noise = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
print("loud", flush=True)
start, sent = time.monotonic(), 0
while True:
    # What a busy machine has missed is made up for, a little at a time.
    for _ in range(min(100, int((time.monotonic() - start) * 10_000) - sent)):
        noise.sendto(body, (sys.argv[2], 0))
        sent += 1
    time.sleep(0.001)
"""
IN_NOISE = """
def heard():
    # ICMP messages that have reached this host, for whomever.
    with open("/proc/net/snmp") as file:
        names, numbers = (line.split() for line in file if line.startswith("Icmp: "))
    return int(dict(zip(names, numbers))["InMsgs"])

transport.begin(there, max_bytes=0)
before, at_ns = heard(), realtime_ns()
outcomes = [shown(fly(probes(range(1, 6), after_ns=20_000_000), flow=flow)) for flow in range(10)]
pps = (heard() - before) * 10**9 / (realtime_ns() - at_ns)
print(json.dumps([pps, outcomes]))
"""


def test_all_answers_are_found_in_a_flood_of_answers_to_others(path_lab: Lab) -> None:
    here, there = str(path_lab.address("h2")), str(path_lab.address("h1"))
    command = [sys.executable, "-c", NOISE, here, there]
    with path_lab.popen("h2", command, stdout=subprocess.PIPE, text=True) as noise:
        assert noise.stdout is not None
        assert noise.stdout.readline() == "loud\n"
        pps, outcomes = flown(path_lab, IN_NOISE)
        noise.kill()
    # On a machine with other work it is less.
    assert pps > 2_000
    for outcome in outcomes:
        assert all(echo["reply"] for echo in outcome["echoes"])
        assert outcome["duplicates"] == outcome["receive_drops"] == 0


LATE = """
transport.begin(there, max_bytes=0)
first = shown(fly(probes(range(1, 7)), wait_ns=0))
second = shown(fly(probes(range(1, 7)), flow=FLOW))
print(json.dumps([first, second]))
"""


@pytest.mark.parametrize("flow", [0, 1])
def test_late_answers_of_the_train_before_disturb_nobody(path_lab: Lab, flow: int) -> None:
    _, second = flown(path_lab, LATE.replace("FLOW", str(flow)))
    assert all(echo["reply"] for echo in second["echoes"])
    assert second["unmatched"] == second["duplicates"] == 0


SHAPED = """
transport.begin(there, max_bytes=0)
train = probes([1]) + probes([255] * 150, size_bytes=1400, muted=True) + probes([1])
print(json.dumps(shown(fly(train))))
"""


def test_a_shaped_first_link_shows_in_the_departures_and_not_in_the_queueing(
    path_lab: Lab,
) -> None:
    outcome = flown(path_lab, SHAPED)
    first, last = outcome["echoes"][0], outcome["echoes"][-1]
    assert outcome["kernel_tx"]
    # 210 kB at 100 Mbit/s (Ethernet bits).
    assert (last["sent"] - first["sent"]) / 1e6 == pytest.approx(17.0, rel=0.25)
    assert last["queued"] - first["queued"] < last["sent"] - first["sent"]
    assert first["reply"]
    assert last["reply"]


CLOCK_SET = """
from emodis.packets import clocks
transport.begin(there, max_bytes=0)
fly(probes([1]))
honest = clocks.realtime_ns
clocks.realtime_ns = lambda: honest() + 3600 * 10**9
try:
    fly(probes([1]))
    print(json.dumps(None))
except TransportError as error:
    print(json.dumps(error.reason))
"""


def test_a_clock_that_is_set_during_the_run_fails_it(path_lab: Lab) -> None:
    assert flown(path_lab, CLOCK_SET) == "clock_step"


NO_ROUTE = """
try:
    transport.begin(there, max_bytes=0)
    fly(probes([64]))
    print(json.dumps(None))
except TransportError as error:
    print(json.dumps([error.reason, str(error)]))
"""


@pytest.mark.parametrize(
    ("address", "reason"), [("198.18.9.9", "no_route"), ("255.255.255.255", "not_permitted")]
)
def test_a_destination_this_host_cannot_reach_is_said_at_once(
    path_lab: Lab, address: str, reason: str
) -> None:
    said, text = flown(path_lab, NO_ROUTE, to=address)
    assert said == reason
    assert "\n" not in text
    IPv4Address(address)
