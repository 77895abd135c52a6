"""Captures of a client's and an agent's own probes, read back with scapy."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.utils import PcapReader

from emodis.lab.deployment import program
from emodis.lab.lab import Lab
from emodis.packets.pcap import LinkType, file_header
from emodis.prober.capture import UNABLE

pytestmark = pytest.mark.lab


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
    """Time in Unix ns and packet."""
    with PcapReader(str(capture)) as reader:
        return [(round(packet.time * 10**9), packet[IP]) for packet in reader]


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


def test_without_raw_sockets_the_result_says_that_there_is_no_capture(
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
    assert UNABLE in run["quality"]["reasons"]
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
