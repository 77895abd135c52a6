"""Captures of a client's and of an agent's own probes, read back with scapy."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.utils import PcapReader

from emodis.lab.deployment import Daemon, Deployment, program
from emodis.lab.lab import Lab
from emodis.packets.pcap import LinkType, file_header
from emodis.prober.capture import UNABLE

pytestmark = pytest.mark.lab
# Few and large probes both ways.
TWO_ENDED = (
    *("--tech", "igi", "-o", "direction=both", "-o", "adaptive=off"),
    *("-o", "packets=30", "-o", "payload_bytes=1472"),
)


def measured(lab: Lab, capture: Path, *arguments: str) -> Any:
    """The only run of `emodis-client measure h2`, with its observations."""
    command = [program("emodis-client"), "measure", "h2", "--pcap", str(capture)]
    done = lab.run(
        "h1",
        [*command, *arguments, "--observations", "--format", "json"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    (run,) = json.loads(done.stdout)["measurements"][0]["runs"]
    return run


def read(capture: Path) -> list[tuple[int, Any]]:
    """Time in Unix ns and packet, of IPv4 only."""
    with PcapReader(str(capture)) as reader:
        return [(round(packet.time * 10**9), packet[IP]) for packet in reader if IP in packet]


def test_every_probe_and_every_answer_of_pathneck_is_in_it(path_lab: Lab, tmp_path: Path) -> None:
    options = ["-o", "trains=3", "-o", "load_packets=20"]
    run = measured(path_lab, tmp_path / "x.pcap", "--tech", "pathneck", *options)
    packets = read(tmp_path / "x.pcap")
    here = str(path_lab.address("h1"))
    sent = [(at_ns, packet) for at_ns, packet in packets if packet.src == here]
    arrived = [packet for _, packet in packets if packet.src != here]
    assert (len(sent), len(arrived)) == (run["cost"]["sent_packets"], run["cost"]["recv_packets"])
    assert all(UDP in packet for _, packet in sent)
    assert all(ICMP in packet for packet in arrived)
    assert [at_ns for at_ns, _ in packets] == sorted(at_ns for at_ns, _ in packets)
    trains = [*run["observations"]["trace"]]
    trains += [train["train"] for train in run["observations"]["trains"]]
    told_ns = sorted(
        train["t0_unix_ns"] + probe["sent_ns"] for train in trains for probe in train["probes"]
    )
    assert [at_ns for at_ns, _ in sent] == told_ns


def test_the_kernel_would_have_sent_the_same_bytes(path_lab: Lab, tmp_path: Path) -> None:
    """What arrives at the far end is what the capture says, seven hops later."""
    with path_lab.capture("h2", tmp_path / "far.pcap"):
        measured(path_lab, tmp_path / "near.pcap", "--tech", "ping", "-o", "count=3")
    near = [packet for _, packet in read(tmp_path / "near.pcap") if packet[ICMP].type == 8]
    with PcapReader(str(tmp_path / "far.pcap")) as reader:
        far = [packet[IP] for packet in reader if ICMP in packet and packet[ICMP].type == 8]
    assert len(near) == len(far) == 3
    for left, came in zip(near, far, strict=True):
        assert bytes(left.payload) == bytes(came.payload)
        assert (left.ttl - came.ttl, left.id, left.len) == (6, came.id, came.len)
        before = left.chksum
        del left.chksum
        assert IP(bytes(left)).chksum == before


def test_ipv6_packets_are_whole(path_lab: Lab, tmp_path: Path) -> None:
    run = measured(path_lab, tmp_path / "x.pcap", "-6", "--tech", "traceroute")
    with PcapReader(str(tmp_path / "x.pcap")) as reader:
        packets = [packet[IPv6] for packet in reader]
    assert len(packets) == run["cost"]["sent_packets"] + run["cost"]["recv_packets"]
    assert sum(len(packet) for packet in packets) == (
        run["cost"]["sent_bytes"] + run["cost"]["recv_bytes"]
    )
    assert {packet.hlim for packet in packets if UDP in packet} >= set(range(1, 8))


@pytest.mark.parametrize("six", [(), ("-6",)], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("proto", ["udp", "icmp", "tcp"])
def test_every_packet_has_the_flow_that_is_told(
    path_lab: Lab, tmp_path: Path, proto: str, six: tuple[str, ...]
) -> None:
    run = measured(
        path_lab, tmp_path / "x.pcap", *six, "--tech", "traceroute", "-o", f"proto={proto}"
    )
    with PcapReader(str(tmp_path / "x.pcap")) as reader:
        packets = [packet[IPv6 if six else IP] for packet in reader]
    here = str((path_lab.address6 if six else path_lab.address)("h1"))
    sent = [packet for packet in packets if packet.src == here]
    assert {tuple(flow_of(packet).items()) for packet in sent} == {
        tuple(run["result"]["flow_key"].items())
    }
    trains = run["observations"]["trains"]
    assert all(train["flow_key"] == run["result"]["flow_key"] for train in trains)
    quoted = [answer["quoted_tos"] for hop in run["result"]["hops"] for answer in hop["answers"]]
    assert set(quoted) <= {0, None}
    assert quoted[0] == 0


def flow_of(packet: Any) -> dict[str, int | None]:
    """What a load balancer sees of it, by the names of `flow_key`."""
    echo = packet.getlayer(ICMP) or packet.getlayer(ICMPv6EchoRequest)
    return {
        "source_port": None if echo else packet.sport,
        "destination_port": None if echo else packet.dport,
        "icmp_ident": echo.id if echo else None,
        "icmp_checksum": (echo.chksum if ICMP in packet else echo.cksum) if echo else None,
        "flow_label": packet.fl if IPv6 in packet else None,
    }


def test_without_raw_sockets_it_is_said_that_there_is_no_capture(
    path_lab: Lab, tmp_path: Path
) -> None:
    """What is dropped from the bounding set does not survive an exec, also for root."""
    code = (
        "import ctypes, os, sys; ctypes.CDLL(None).prctl(24, 13, 0, 0, 0); "
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    capture = tmp_path / "x.pcap"
    client = [program("emodis-client"), "measure", "h2", "--tech", "traceroute"]
    done = path_lab.run(
        "h1",
        [sys.executable, "-c", code, *client, "--pcap", str(capture), "--format", "json"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    (run,) = json.loads(done.stdout)["measurements"][0]["runs"]
    assert run["transport"] == "unprivileged"
    assert UNABLE in done.stderr
    assert "capture" not in done.stdout
    assert capture.stat().st_size == len(file_header(LinkType.RAW))


def test_a_capture_that_cannot_be_written_is_said_before_anything_is_sent(
    path_lab: Lab, tmp_path: Path
) -> None:
    command = [program("emodis-client"), "measure", "h2", "--tech", "ping"]
    done = path_lab.run(
        "h1",
        [*command, "--pcap", str(tmp_path / "no" / "x.pcap")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "cannot write the capture" in done.stderr


@contextmanager
def capturing_agent(
    lab: Lab, home: Path, *, unprivileged: bool = False
) -> Iterator[tuple[Deployment, Daemon]]:
    """An agent at h1 that keeps captures in a folder, and its master at h2."""
    emodis = Deployment(lab, home, master_host="h2", unprivileged=unprivileged)
    try:
        emodis.start_master()
        yield emodis, emodis.start_agent("h1", "--pcap", str(home / "kept"))
    finally:
        emodis.stop()


def asked(emodis: Deployment, *arguments: str) -> tuple[Any, list[tuple[int, Any]]]:
    """What h2 is told of the only run that it asks for, and what the agent keeps of it."""
    done = emodis.client("h2", "request", "--agents", "ALL", "--format", "json", *arguments)
    assert done.returncode == 0, done.stderr
    assert "capture" not in done.stdout
    (measurement,) = json.loads(done.stdout)["measurements"]
    (run,) = measurement["runs"]
    name = f"emodis-{measurement['measurement_id']}-0-0-{run['attempt']}.pcap"
    return run, read(emodis.home / "kept" / name)


def datagrams(packets: list[tuple[int, Any]], source: str, ports: set[int]) -> dict[bytes, int]:
    """Payloads from there between two of these ports, and when each was seen."""
    return {
        bytes(packet[UDP].payload): at_ns
        for at_ns, packet in packets
        if packet.src == source and UDP in packet and {packet.sport, packet.dport} <= ports
    }


def ports_of(packets: list[tuple[int, Any]], source: str) -> set[int]:
    return {port for _, p in packets if p.src == source for port in (p.sport, p.dport)}


def test_an_agent_keeps_what_it_sent_and_received_and_the_requester_is_not_told(
    path_lab: Lab, tmp_path: Path
) -> None:
    here, there = str(path_lab.address("h1")), str(path_lab.address("h2"))
    with capturing_agent(path_lab, tmp_path) as (emodis, agent):
        run, packets = asked(emodis, "--tech", "ping", "-o", "count=3")
        assert [(p.src, p[ICMP].type) for _, p in packets] == [(here, 8), (there, 0)] * 3
        assert run["cost"]["sent_packets"] == run["cost"]["recv_packets"] == 3
        taps = (
            path_lab.capture("h1", tmp_path / "h1.pcap"),
            path_lab.capture("h2", tmp_path / "h2.pcap"),
        )
        with taps[0], taps[1]:
            run, packets = asked(emodis, *TWO_ENDED)
        assert run["end"] == "done"
        assert not any("capture" in line for line in agent.lines())
    for source, tap in ((here, "h2"), (there, "h1")):
        ports = ports_of(packets, source)
        assert len(ports) == 2
        kept = datagrams(packets, source, ports)
        far = datagrams(read(tmp_path / f"{tap}.pcap"), source, ports)
        assert kept.keys() == far.keys()
        # Of one clock, for the lab is one machine: nothing arrives before it has left.
        first, then = (kept, far) if source == here else (far, kept)
        assert all(first[one] <= then[one] for one in kept)
    arrived = [packet for _, packet in packets if packet.src == there]
    assert len(arrived) == run["cost"]["recv_packets"]
    assert len(packets) - len(arrived) == run["cost"]["sent_packets"] - len(arrived)


def test_an_agent_without_raw_sockets_says_so_in_its_log_and_nowhere_else(
    path_lab: Lab, tmp_path: Path
) -> None:
    with capturing_agent(path_lab, tmp_path, unprivileged=True) as (emodis, agent):
        for _ in range(2):
            _, packets = asked(emodis, "--tech", "ping", "-o", "count=1")
            assert packets == []
        _, packets = asked(emodis, *TWO_ENDED)
        assert packets
        assert len([line for line in agent.lines() if UNABLE in line]) == 1
