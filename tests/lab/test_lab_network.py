"""The network is what the plan says: addresses, routes, rates, names, cross traffic."""

from __future__ import annotations

import os
import statistics
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from emodis.lab.lab import Lab, LabError

pytestmark = pytest.mark.lab

# Prints who answers to each TTL, as ADDRESS TYPE CODE, until the destination does.
PROBES = """
import socket, sys
answers = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
answers.settimeout(3)
probes = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for ttl in range(1, 12):
    probes.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
    probes.sendto(bytes(20), (sys.argv[1], 33434))
    data, sender = answers.recvfrom(2000)
    print(sender[0], data[20], data[21])
    if data[20] == 3:
        break
"""
# The same in IPv6, whose kernel strips its own header from what a raw socket receives.
PROBES6 = """
import socket, sys
answers = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
answers.settimeout(3)
probes = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
for ttl in range(1, 12):
    probes.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, ttl)
    probes.sendto(bytes(20), (sys.argv[1], 33434))
    data, sender = answers.recvfrom(2000)
    print(sender[0], data[0], data[1])
    if data[0] == 1:
        break
"""
# Sends trains of 200 packets of 1000 bytes, a train per destination port from 5001 on.
TRAINS = """
import socket, sys, time
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for train in range(int(sys.argv[2])):
    for _ in range(200):
        out.sendto(bytes(972), (sys.argv[1], 5001 + train))
    time.sleep(0.25)
"""
# Prints the bytes and packets received by an interface, now and after so many seconds.
COUNTERS = """
import sys, time
def counters():
    line = next(l for l in open("/proc/net/dev") if sys.argv[1] + ":" in l)
    values = line.split(":")[1].split()
    return time.perf_counter(), int(values[0])
begin = counters()
time.sleep(float(sys.argv[2]))
end = counters()
print((end[1] - begin[1]) * 8 / (end[0] - begin[0]))
"""
# The same, while every processor is busy with what has the priority of a train.
COUNTERS_OF_A_BUSY_MACHINE = (
    """
import os
places = sorted(os.sched_getaffinity(0))
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(2))
for place in places:
    if not os.fork():
        os.sched_setaffinity(0, {place})
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        import time
        end_s = time.monotonic() + float(__import__("sys").argv[2])
        while time.monotonic() < end_s:
            pass
        os._exit(0)
"""
    + COUNTERS
)
FRAME_BYTES = 1014


def python(lab: Lab, host: str, code: str, *arguments: object) -> str:
    """What a piece of Python prints at a host."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = lab.run(host, command, timeout=30, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


def packets_in(path: Path) -> list[tuple[int, bytes]]:
    """The packets of a pcap file with ns stamps: (ns, frame)."""
    data, offset, found = path.read_bytes(), 24, []
    assert struct.unpack_from("I", data)[0] == 0xA1B23C4D
    while offset < len(data):
        seconds, nanoseconds, length, _ = struct.unpack_from("IIII", data, offset)
        found.append((seconds * 10**9 + nanoseconds, data[offset + 16 : offset + 16 + length]))
        offset += 16 + length
    return found


def udp_port(frame: bytes) -> int:
    """The destination port of a UDP packet, 0 for all else."""
    if frame[12:14] != b"\x08\x00" or frame[23] != 17:
        return 0
    return int(struct.unpack_from("!H", frame, 36)[0])


@pytest.mark.parametrize(
    ("source", "destination"),
    [("a1", "c1"), ("a3", "w1"), ("c1", "w1"), ("w1", "c1"), ("c1", "n3"), ("n4", "s4")],
)
def test_each_ttl_is_answered_by_the_address_of_the_truth(
    demo_lab: Lab, source: str, destination: str
) -> None:
    answers = python(demo_lab, source, PROBES, demo_lab.address(destination)).splitlines()
    wanted = [str(hop.address) for hop in demo_lab.truth(source, destination).hops]
    assert [answer.split()[0] for answer in answers] == wanted
    assert [answer.split()[1] for answer in answers] == ["11"] * (len(wanted) - 1) + ["3"]


@pytest.mark.parametrize(
    ("source", "destination"), [("a1", "c1"), ("a3", "w1"), ("c1", "n3"), ("n4", "s4")]
)
def test_each_hop_limit_is_answered_by_the_ipv6_address_of_the_truth(
    demo_lab: Lab, source: str, destination: str
) -> None:
    answers = python(demo_lab, source, PROBES6, demo_lab.address6(destination)).splitlines()
    wanted = [str(hop.address) for hop in demo_lab.truth(source, destination, ipv6=True).hops]
    assert [answer.split()[0] for answer in answers] == wanted
    assert [answer.split()[1] for answer in answers] == ["3"] * (len(wanted) - 1) + ["1"]


def test_routers_answer_every_ipv6_probe(demo_lab: Lab) -> None:
    code = """
import socket, sys
answers = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
answers.settimeout(3)
probes = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
probes.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 2)
for _ in range(100):
    probes.sendto(bytes(20), (sys.argv[1], 33434))
print(sum(len(answers.recv(2000)) > 0 for _ in range(100)))
"""
    assert python(demo_lab, "a1", code, demo_lab.address6("c1")).strip() == "100"


def test_a_lab_at_rest_is_silent(lab_home: Path, tmp_path: Path) -> None:
    """No asking for neighbours, no reports of groups: a capture holds what was measured."""
    with (
        Lab.up("diamond") as lab,
        lab.capture("a1", tmp_path / "a1.pcap") as one,
        lab.capture("c1", tmp_path / "c1.pcap") as other,
    ):
        python(lab, "a1", "import time; time.sleep(2)")
        assert one.stop() == other.stop() == (0, 0)


def test_a_shaped_link_passes_its_rate(path_lab: Lab, tmp_path: Path) -> None:
    trains = 5
    with path_lab.capture("h2", tmp_path / "h2.pcap") as capture:
        python(path_lab, "h1", TRAINS, path_lab.address("h2"), trains)
    packets, drops = capture.stop()
    assert (packets, drops) == (200 * trains, 0)
    arrivals = packets_in(tmp_path / "h2.pcap")
    rates_bps = []
    for train in range(trains):
        stamps = [ns for ns, frame in arrivals if udp_port(frame) == 5001 + train]
        # The first packets pass a full bucket for free; from the tenth on the link sets the pace,
        # unless the machine is late: the best train shows it.
        rates_bps.append((len(stamps) - 10) * FRAME_BYTES * 8e9 / (stamps[-1] - stamps[9]))
    assert max(rates_bps) == pytest.approx(10_000_000, rel=0.03)


def test_full_size_packets_pass_every_shaper(demo_lab: Lab) -> None:
    """A bucket one byte too small would drop them all."""
    receive = (
        "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(10);"
        "s.bind(('', 5000)); print('ready', flush=True); print(len(s.recv(2000)))"
    )
    send = (
        "import socket, sys; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM);"
        "s.sendto(bytes(1472), (sys.argv[1], 5000))"
    )
    for source, destination in (("a1", "c1"), ("c1", "w1"), ("a5", "w1")):
        command = [sys.executable, "-c", receive]
        receiver = demo_lab.popen(destination, command, stdout=subprocess.PIPE, text=True)
        assert receiver.stdout is not None
        assert receiver.stdout.readline() == "ready\n"
        python(demo_lab, source, send, demo_lab.address(destination))
        assert receiver.communicate(timeout=15)[0] == "1472\n"


@pytest.mark.parametrize(
    ("receiver", "interface", "rate_bps"), [("x1", "to-n3", 30e6), ("h2", "to-s2", 5e6)]
)
def test_cross_traffic_crosses_its_link_at_its_rate_and_goes_no_further(
    demo_lab: Lab, receiver: str, interface: str, rate_bps: float
) -> None:
    windows = [float(python(demo_lab, receiver, COUNTERS, interface, 0.6)) for _ in range(5)]
    assert statistics.median(windows) == pytest.approx(rate_bps, rel=0.1)
    assert float(python(demo_lab, "w1", COUNTERS, "to-x2", 0.3)) < 100_000


def test_cross_traffic_keeps_its_rate_beside_trains(demo_lab: Lab) -> None:
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        pytest.skip("this user has no real-time priority")
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    rate_bps = float(python(demo_lab, "x1", COUNTERS_OF_A_BUSY_MACHINE, "to-n3", 0.4))
    assert rate_bps == pytest.approx(30e6, rel=0.15)


def test_names_resolve_both_ways_and_unknown_ones_fail_at_once(demo_lab: Lab) -> None:
    code = """
import socket, time
print(socket.gethostbyname("c1"))
print(socket.gethostbyaddr(socket.gethostbyname("w1"))[0])
print(socket.gethostbyaddr("{hop}")[0])
print(socket.getaddrinfo("w1", None, socket.AF_INET6)[0][4][0])
begin = time.perf_counter()
try:
    socket.getaddrinfo("nosuch.example", None)
except socket.gaierror:
    print(time.perf_counter() - begin < 2)
"""
    hop = demo_lab.truth("a1", "c1").hops[3].address
    w1 = str(demo_lab.address6("w1"))
    said = python(demo_lab, "a1", code.replace("{hop}", str(hop))).split()
    assert said == [str(demo_lab.address("c1")), "w1", "to-n2.n1", w1, "True"]


def test_a_capture_holds_arrivals_alone(path_lab: Lab, tmp_path: Path) -> None:
    ping = "import socket, sys; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM);" + (
        "[s.sendto(b'x', (sys.argv[1], 7000)) for _ in range(3)]"
    )
    with path_lab.capture("h1", tmp_path / "h1.pcap") as capture:
        python(path_lab, "h1", ping, path_lab.address("h2"))
        python(path_lab, "h2", ping, path_lab.address("h1"))
    packets, drops = capture.stop()
    arrivals = packets_in(tmp_path / "h1.pcap")
    assert (packets, drops) == (len(arrivals), 0)
    assert [udp_port(frame) for _, frame in arrivals].count(7000) == 3
    assert {frame[26:30] for _, frame in arrivals} == {path_lab.address("h2").packed}


def test_routers_answer_freely_and_hosts_as_linux_does(demo_lab: Lab) -> None:
    code = "print(open('/proc/sys/net/ipv4/icmp_ratelimit').read().strip())"
    assert python(demo_lab, "n1", code).strip() == "0"
    assert python(demo_lab, "c1", code).strip() == "1000"


def test_only_hosts_can_be_captured_at(demo_lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(LabError, match="n1 is a router; capture at a host"):
        demo_lab.capture("n1", tmp_path / "x")
    with pytest.raises(LabError, match=r"capture at c1 failed: .*No such file"):
        demo_lab.capture("c1", tmp_path / "no" / "x")
