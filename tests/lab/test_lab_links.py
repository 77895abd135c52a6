"""Links do to real packets what the topology declares: delay, jitter, loss, copies, disorder."""

from __future__ import annotations

import itertools
import json
import os
import signal
import statistics
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from emodis.lab.lab import Lab
from emodis.lab.topofile import parse
from emodis.lab.topology import Topology
from emodis.techniques.stats import wilson
from tests.support.processes import eventually

pytestmark = pytest.mark.lab

# Sends so many echo requests to an address at an interval, and prints as JSON what came back, in
# order of arrival: [sequence number, round-trip time in ns], stamped by the kernel.
PINGS = """
import json, select, socket, struct, sys, time
to, count, gap_s = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
six = ":" in to
family, proto, kind = (socket.AF_INET6, 58, 128) if six else (socket.AF_INET, 1, 8)
echo = socket.socket(family, socket.SOCK_RAW, proto)
echo.setsockopt(socket.SOL_SOCKET, 35, 1)
echo.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF
sent, back, begin = {}, [], time.monotonic()
while time.monotonic() < begin + count * gap_s + 1:
    due = begin + len(sent) * gap_s
    if len(sent) < count and time.monotonic() >= due:
        packet = struct.pack("!BBHHH", kind, 0, 0, 77, len(sent)) + bytes(28)
        packet = packet[:2] + struct.pack("!H", checksum(packet)) + packet[4:]
        sent[len(sent)] = time.time_ns()
        echo.sendto(packet, (to, 0))
    wait = max(0, due - time.monotonic()) if len(sent) < count else 0.05
    while select.select([echo], [], [], wait)[0]:
        data, control, _, _ = echo.recvmsg(2000, 64)
        data = data if six else data[20:]
        seconds, nanoseconds = struct.unpack("qq", control[0][2])
        number = struct.unpack_from("!H", data, 6)[0]
        if data[0] == (129 if six else 0):
            back.append([number, seconds * 10**9 + nanoseconds - sent[number]])
        wait = 0
print(json.dumps(back))
"""
# Prints how many echo requests have arrived.
REQUESTS = """
names, values = [l.split() for l in open("/proc/net/snmp") if l.startswith("Icmp:")]
print(dict(zip(names, values))["InEchos"])
"""

LINE = """
name = "line"
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
"""


def line(second_link: str) -> Topology:
    """h1 - r1 - h2 with these lines in the table of r1 - h2."""
    return parse(LINE + second_link, place="line.toml", default_name="line")


def ping(lab: Lab, source: str, to: str, count: int, gap_s: float) -> list[Any]:
    """(number, RTT in ns) of the answers, in order of arrival."""
    command = [sys.executable, "-c", PINGS, to, str(count), str(gap_s)]
    done = lab.run(source, command, timeout=60, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


def test_a_link_delays_by_what_it_says() -> None:
    with Lab.up(line("delay_up_s = 0.015\ndelay_down_s = 0.005\n")) as lab:
        truth = lab.truth("h1", "h2")
        assert (truth.owd_ns, truth.rtt_ns) == (15_000_000, 20_000_000)
        assert lab.truth("h2", "h1").owd_ns == 5_000_000
        answers = ping(lab, "h1", str(lab.address("h2")), 100, 0.01)
        assert [number for number, _ in answers] == list(range(100))
        rtts_ns = [rtt_ns for _, rtt_ns in answers]
        assert statistics.median(rtts_ns) == pytest.approx(truth.rtt_ns, abs=1_000_000)
        assert min(rtts_ns) > truth.rtt_ns - 300_000
        nearer = ping(lab, "h1", str(lab.address("r1")), 20, 0.01)
        assert statistics.median(rtt_ns for _, rtt_ns in nearer) < 2_000_000


def test_jitter_spreads_the_delay_and_keeps_the_order() -> None:
    with Lab.up(line("delay_s = 0.005\njitter_up_s = 0.010\n")) as lab:
        answers = ping(lab, "h1", str(lab.address("h2")), 300, 0.003)
    assert [number for number, _ in answers] == list(range(300))
    rtts_ns = sorted(rtt_ns for _, rtt_ns in answers)
    assert rtts_ns[0] > 9_700_000
    # Waiting for one's predecessor only lengthens: the upper quartile is above the uniform one.
    assert rtts_ns[225] - rtts_ns[75] > 3_000_000
    assert rtts_ns[225] < 21_500_000


def test_loss_is_random_and_in_one_direction_alone() -> None:
    text = LINE.replace("100_000_000", "100_000_000\nloss_down_ratio = 0.1", 1)
    with Lab.up(parse(text, place="line.toml", default_name="line")) as lab:
        truth = lab.truth("h1", "h2")
        assert truth.loss_ratio == 0
        assert truth.round_trip_loss_ratio == pytest.approx(0.1)
        answers = ping(lab, "h1", str(lab.address("h2")), 2000, 0.001)
        low, high = wilson(2000 - len(answers), 2000, z=3.5)
        assert low < 0.1 < high
        # Nothing was lost on the way there.
        done = lab.run("h2", [sys.executable, "-c", REQUESTS], capture_output=True, text=True)
        assert int(done.stdout) == 2000


def test_copies_and_disorder_come_in_the_declared_shares() -> None:
    with Lab.up(line("duplicate_up_ratio = 0.2\nreorder_down_ratio = 0.1\n")) as lab:
        answers = ping(lab, "h1", str(lab.address("h2")), 1000, 0.002)
    copies = Counter(number for number, _ in answers)
    assert set(copies) == set(range(1000))
    low, high = wilson(sum(count == 2 for count in copies.values()), 1000, z=3.5)
    assert low < 0.2 < high
    overtaken = sum(later < earlier for earlier, later in itertools.pairwise(n for n, _ in answers))
    assert 40 < overtaken < 200


def test_a_link_that_loses_all_is_a_black_hole() -> None:
    with Lab.up(line("loss_up_ratio = 1.0\n")) as lab:
        assert ping(lab, "h1", str(lab.address("h2")), 20, 0.01) == []
        assert len(ping(lab, "h1", str(lab.address("r1")), 20, 0.01)) == 20


def test_cross_traffic_loads_a_wired_link_and_ends_there() -> None:
    traffic = '[[traffic]]\nlink = ["r1", "h2"]\nmodel = "cbr"\nrate_bps = 50_000_000\n'
    with Lab.up(line("delay_s = 0.010\n" + traffic)) as lab:
        answers = ping(lab, "h1", str(lab.address("h2")), 50, 0.01)
        # Its bursts make some wait, on a busy machine most: a free moment shows what the link adds.
        assert min(rtt_ns for _, rtt_ns in answers) == pytest.approx(20e6, abs=1e6)
        arrived = "print(open('/proc/net/dev').read().split('to-r1:')[1].split()[1])"
        done = lab.run("h2", [sys.executable, "-c", arrived], capture_output=True, text=True)
        assert int(done.stdout) < 100


def test_a_lab_whose_wires_died_ends_and_says_why(lab_home: Path) -> None:
    with Lab.up(line("delay_s = 0.010\n"), "cut") as lab:
        children = Path(f"/proc/{lab.pid}/task/{lab.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGKILL)
        eventually(lambda: not lab.alive(), "labd dead")
    assert "the process of the wires died" in (lab_home / "cut.log").read_text()
