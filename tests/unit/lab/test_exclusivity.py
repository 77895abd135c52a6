from __future__ import annotations

import struct
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from emodis.lab.exclusivity import Visit, overlaps, visits

A, B = IPv4Address("10.1.0.1"), IPv4Address("10.2.0.1")


def udp(source: IPv4Address, port: int) -> bytes:
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 36, 0, 0, 9, 17, 0, source.packed, b"\n\0\0\1")
    return bytes(12) + b"\x08\x00" + header + struct.pack("!HHHH", port, 33434, 16, 0) + bytes(8)


def pcap(path: Path, packets: list[tuple[int, bytes]]) -> Path:
    data = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 1)
    for stamp_ns, frame in packets:
        seconds, rest = divmod(stamp_ns, 10**9)
        data += struct.pack("<IIII", seconds, rest, len(frame), len(frame)) + frame
    path.write_bytes(data)
    return path


def test_a_run_lasts_from_its_first_to_its_last_packet(tmp_path: Path) -> None:
    capture = pcap(tmp_path / "x", [(5, udp(A, 1)), (9, udp(A, 1)), (20, udp(B, 1))])
    assert visits(capture, {A, B}) == [Visit(5, 9, A, 1, 2), Visit(20, 20, B, 1, 1)]
    assert overlaps(visits(capture, {A, B})) == []


def test_a_run_inside_anothers_pause_is_an_overlap(tmp_path: Path) -> None:
    capture = pcap(tmp_path / "x", [(5, udp(A, 1)), (7, udp(B, 2)), (9, udp(A, 1))])
    ((first, second),) = overlaps(visits(capture, {A, B}))
    assert (first.source, second.source) == (A, B)


def test_two_flows_of_one_source_may_overlap(tmp_path: Path) -> None:
    capture = pcap(tmp_path / "x", [(5, udp(A, 1)), (7, udp(A, 2)), (9, udp(A, 1))])
    assert overlaps(visits(capture, {A})) == []


def test_other_traffic_is_no_probe(tmp_path: Path) -> None:
    short = bytes(12) + b"\x08\x00" + b"\x45"
    capture = pcap(tmp_path / "x", [(5, udp(B, 1)), (6, short)])
    assert visits(capture, {A}) == []


def test_a_file_that_is_no_capture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="not a pcap"):
        visits(tmp_path / "x", {A})
