"""Routers treat real packets as declared: flows over equal paths, answers limited or withheld."""

from __future__ import annotations

import itertools
import json
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from emodis.lab.lab import Lab
from emodis.lab.topofile import parse
from tests.lab.test_lab_links import ping
from tests.lab.test_lab_network import (
    COUNTERS,
    FRAME_BYTES,
    TRAINS,
    packets_in,
    python,
    udp_port,
)

pytestmark = pytest.mark.lab

# Sends so many probes with a TTL to an address from each of so many source ports (from 20000 on),
# at most 200 a burst, and prints as JSON who answered: [source port, address].
FLOWS = """
import json, select, socket, struct, sys, time
to, ttl, flows, each = sys.argv[1], *map(int, sys.argv[2:5])
six = ":" in to
family, proto = (socket.AF_INET6, socket.IPPROTO_ICMPV6) if six else (socket.AF_INET, 1)
answers = socket.socket(family, socket.SOCK_RAW, proto)
answers.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
found, sent, quiet = [], 0, time.monotonic()
todo = [20000 + flow for flow in range(flows) for _ in range(each)]
while time.monotonic() < quiet + 1:
    if todo:
        burst, todo, quiet = todo[:50], todo[50:], time.monotonic()
        for port in burst:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                if six:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, ttl)
                else:
                    probe.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
                probe.bind(("", port))
                probe.sendto(bytes(20), (to, 33434))
    while select.select([answers], [], [], 0.02)[0]:
        data, sender = answers.recvfrom(2000)
        udp = data[8 + 40 :] if six else data[20 + 8 + 20 :]
        if data[0 if six else 20] in (1, 3, 11):
            found.append([struct.unpack_from("!H", udp)[0], sender[0]])
            quiet = time.monotonic()
print(json.dumps(found))
"""

ARMS = """
name = "arms"
[as.65001]
name = "One"
[nodes]
h1 = { kind = "host", asn = 65001 }
s = { kind = "router", asn = 65001, balance = "flow" }
a = { kind = "router", asn = 65001, balance = "flow" }
b = { kind = "router", asn = 65001 }
a1 = { kind = "router", asn = 65001, icmp = "silent" }
a2 = { kind = "router", asn = 65001, icmp = "limited", icmp_per_s = 10 }
b1 = { kind = "router", asn = 65001 }
t = { kind = "router", asn = 65001 }
h2 = { kind = "host", asn = 65001 }
""" + "".join(
    f'[[links]]\na = "{a}"\nb = "{b}"\ncapacity_bps = 100_000_000\n'
    for a, b in map(
        str.split,
        ("h1 s", "s a", "s b", "a a1", "a a2", "b b1", "a1 t", "a2 t", "b1 t", "h2 t"),
    )
)

PAIR = """
[as.65001]
name = "One"
[nodes]
h1 = { kind = "host", asn = 65001 }
r1 = { kind = "router", asn = 65001 }
h2 = { kind = "host", asn = 65001 }
[[links]]
a = "h1"
b = "r1"
capacity_bps = 20_000_000
[[links]]
a = "h2"
b = "r1"
capacity_bps = 10_000_000
"""


@pytest.fixture(scope="module")
def arms_lab() -> Iterator[Lab]:
    """h1 - s - a - (a1 | a2) - t - h2, and s - b - b1 - t; s and a balance."""
    with Lab.up(parse(ARMS, place="arms.toml", default_name="arms")) as lab:
        yield lab


def answers(lab: Lab, ttl: int, flows: int, each: int, *, ipv6: bool = False) -> list[Any]:
    to = lab.address6("h2") if ipv6 else lab.address("h2")
    command = [sys.executable, "-c", FLOWS, str(to), str(ttl), str(flows), str(each)]
    done = lab.run("h1", command, timeout=60, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


@pytest.mark.parametrize("ipv6", [False, True])
def test_no_flow_is_split_and_both_arms_are_used(arms_lab: Lab, ipv6: bool) -> None:
    found = answers(arms_lab, 2, 400, 3, ipv6=ipv6)
    assert len(found) == 1200
    arms: dict[int, set[str]] = {}
    for port, address in found:
        arms.setdefault(port, set()).add(address)
    assert len(arms) == 400
    assert all(len(addresses) == 1 for addresses in arms.values())
    truths = arms_lab.truths("h1", "h2", ipv6=ipv6)
    assert {hop for arm in arms.values() for hop in arm} == {str(t.hops[1].address) for t in truths}
    shares = Counter(next(iter(arm)) for arm in arms.values())
    assert min(shares.values()) > 140


def test_the_truth_lists_every_path(arms_lab: Lab) -> None:
    ways = {tuple(hop.node for hop in truth.hops) for truth in arms_lab.truths("h1", "h2")}
    assert ways == {
        ("s", "a", "a1", "t", "h2"),
        ("s", "a", "a2", "t", "h2"),
        ("s", "b", "b1", "t", "h2"),
    }
    seen = {address for _, address in answers(arms_lab, 4, 200, 1)}
    assert seen == {str(truth.hops[3].address) for truth in arms_lab.truths("h1", "h2")}


@pytest.mark.parametrize("ipv6", [False, True])
def test_silent_routers_say_nothing_and_limited_ones_little(arms_lab: Lab, ipv6: bool) -> None:
    third = {t.hops[2].node: str(t.hops[2].address) for t in arms_lab.truths("h1", "h2", ipv6=ipv6)}
    counts = Counter(address for _, address in answers(arms_lab, 3, 400, 1, ipv6=ipv6))
    assert counts[third["a1"]] == 0
    # A burst of six, then ten a second while the probes last.
    assert 5 <= counts[third["a2"]] <= 40
    assert counts[third["b1"]] > 140


# Sends a UDP datagram to (address, port) and prints what comes back.
ASK = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(10)
s.bind(("", 4000))
s.sendto(b"who am I", (sys.argv[1], int(sys.argv[2])))
print(s.recv(100).decode())
"""
# Tells whoever asks at port 5000 where it seems to be, once.
TELL = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(20)
s.bind(("", 5000))
print("ready", flush=True)
_, sender = s.recvfrom(100)
s.sendto(f"{sender[0]} {sender[1]}".encode(), sender)
"""


def test_translation_hides_a_host_rewrites_its_port_and_brings_errors_home() -> None:
    text = ARMS.replace("s = { kind", 's = { nat_for = ["h1"], kind')
    with Lab.up(parse(text, place="nat.toml", default_name="nat")) as lab:
        command = [sys.executable, "-c", TELL]
        with lab.popen("h2", command, stdout=subprocess.PIPE, text=True) as teller:
            assert teller.stdout is not None
            assert teller.stdout.readline() == "ready\n"
            told = python(lab, "h1", ASK, lab.address("h2"), 5000)
            address, port = told.split()
            # s balances: either of its addresses.
            assert address in {str(truth.seen_as) for truth in lab.truths("h1", "h2")}
            assert port != "4000"
            # Whom h1 has not asked does not reach it; h1 would answer this.
            assert ping(lab, "h2", str(lab.address("h1")), 5, 0.01) == []
            assert len(ping(lab, "h1", str(lab.address("h2")), 5, 0.01)) == 5
        found = answers(lab, 2, 40, 1)
        assert sorted(port for port, _ in found) == list(range(20000, 20040))
        assert len(answers(lab, 2, 40, 1, ipv6=True)) == 40


def test_a_router_that_quotes_eight_bytes_answers_like_any_other() -> None:
    text = ARMS.replace('b = { kind = "router"', 'b = { kind = "router", quote_bytes = 8')
    with Lab.up(parse(text, place="short.toml", default_name="short")) as lab:
        code = """
import socket, sys
answers = socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)
answers.settimeout(3)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(0, socket.IP_TTL, int(sys.argv[2]))
for k in range(60):
    s.sendto(bytes(400), (sys.argv[1], 33434 + k))
for _ in range(60):
    data, sender = answers.recvfrom(2000)
    print(sender[0], data[20], len(data), int.from_bytes(data[50:52], "big"))
"""
        for ttl, size in ((1, 20 + 8 + 428), (2, 20 + 8 + 28)):
            lines = python(lab, "h1", code, lab.address("b1"), ttl).splitlines()
            hop = lab.truth("h1", "b1").hops[ttl - 1]
            assert {line.rsplit(" ", 1)[0] for line in lines} == {f"{hop.address} 11 {size}"}
            assert [int(line.split()[3]) for line in lines] == list(range(33434, 33494))


def test_a_bucket_lets_a_burst_through_at_once(tmp_path: Path) -> None:
    """The first 50 frames of a train pass a bucket of 50 at the rate of the link before."""
    bucket = f"capacity_bps = 5_000_000\nburst_bytes = {50 * FRAME_BYTES}\n"
    line = PAIR.replace("capacity_bps = 10_000_000\n", bucket)
    with Lab.up(parse(line, place="bucket.toml", default_name="bucket")) as lab:
        with lab.capture("h2", tmp_path / "h2.pcap") as capture:
            python(lab, "h1", TRAINS, lab.address("h2"), 1)
            python(lab, "h1", "import time; time.sleep(0.5)")
        capture.stop()
    stamps = [ns for ns, frame in packets_in(tmp_path / "h2.pcap") if udp_port(frame) == 5001]
    gaps_ns = [later - earlier for earlier, later in itertools.pairwise(stamps)]
    assert statistics.median(gaps_ns[:40]) == pytest.approx(FRAME_BYTES * 8 / 20e6 * 1e9, rel=0.15)
    assert statistics.median(gaps_ns[60:190]) == pytest.approx(FRAME_BYTES * 8 / 5e6 * 1e9, rel=0.1)


def test_traffic_on_the_way_back_delays_answers_alone() -> None:
    """The truth of each direction is its own; round trips pay for both."""
    text = PAIR.replace("20_000_000", "10_000_000")
    text += '[[traffic]]\nlink = ["r1", "h1"]\nmodel = "poisson"\nrate_bps = 8_000_000\n'
    with Lab.up(parse(text, place="back.toml", default_name="back")) as lab:
        there, back = lab.truth("h1", "h2"), lab.truth("h2", "h1")
        assert there.tight.avail_ethernet_bps == 10_000_000
        assert back.tight.avail_ethernet_bps == 2_000_000
        assert back.tight.receiver == "h1"
        rates = [float(python(lab, "h1", COUNTERS, "to-r1", 0.6)) for _ in range(3)]
        assert statistics.median(rates) == pytest.approx(8e6, rel=0.2)
        rtts_ns = [rtt_ns for _, rtt_ns in ping(lab, "h2", str(lab.address("h1")), 300, 0.01)]
        # Behind a link filled to 0.8 one waits for two packets on average (M/D/1), 1.2 ms each.
        assert statistics.mean(rtts_ns) > 1_000_000


def test_the_hard_topology_is_as_hard_as_it_says() -> None:
    with Lab.up("hard") as lab:
        truths = lab.truths("c1", "s1")
        assert {truth.hops[3].node for truth in truths} == {"u1", "d1"}
        rtts_ns = [rtt_ns for _, rtt_ns in ping(lab, "c1", str(lab.address("s1")), 200, 0.01)]
        assert len(rtts_ns) > 180
        assert min(rtts_ns) == pytest.approx(truths[0].rtt_ns, abs=1_000_000)
        # The client's router has another address on this side, and its host none that answers.
        assert ping(lab, "a1", str(lab.address("c1")), 10, 0.01) == []
        assert len(ping(lab, "a1", str(truths[0].seen_as), 10, 0.01)) >= 5
