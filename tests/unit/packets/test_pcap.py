from __future__ import annotations

from pathlib import Path

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.l2 import Ether
from scapy.utils import PcapReader

from emodis.packets.pcap import LinkType, file_header, record, records

AT_NS = 1_700_000_000_123_456_789
PROBE = bytes(IP(src="10.0.0.1", dst="10.0.0.2", ttl=3) / UDP(sport=5000, dport=33434) / b"load")
ECHO = bytes(IP(src="10.0.0.2", dst="10.0.0.1") / ICMP(type=0, id=7, seq=9))


def written(path: Path, link: LinkType, *packets: tuple[int, bytes]) -> Path:
    path.write_bytes(file_header(link) + b"".join(record(*packet) for packet in packets))
    return path


def test_scapy_reads_whole_ip_packets_back_to_the_nanosecond(tmp_path: Path) -> None:
    path = written(tmp_path / "x.pcap", LinkType.RAW, (AT_NS, PROBE), (AT_NS + 1, ECHO))
    with PcapReader(str(path)) as reader:
        probe, echo = list(reader)
    assert (probe[IP].ttl, probe[UDP].sport, bytes(probe[IP])) == (3, 5000, PROBE)
    assert echo[ICMP].seq == 9
    assert [round(packet.time * 10**9) for packet in (probe, echo)] == [AT_NS, AT_NS + 1]


def test_ethernet_frames(tmp_path: Path) -> None:
    frame = bytes(Ether() / IP(PROBE))
    path = written(tmp_path / "x.pcap", LinkType.ETHERNET, (AT_NS, frame))
    with PcapReader(str(path)) as reader:
        (read,) = list(reader)
    assert bytes(read) == frame
    assert list(records(path.read_bytes(), LinkType.ETHERNET)) == [(AT_NS, frame)]


def test_a_record_that_is_cut_off_is_left_out(tmp_path: Path) -> None:
    data = written(tmp_path / "x", LinkType.RAW, (1, PROBE), (2, ECHO)).read_bytes()
    assert list(records(data[:-1], LinkType.RAW)) == [(1, PROBE)]
    assert list(records(data[: len(file_header(LinkType.RAW)) + 5], LinkType.RAW)) == []


@pytest.mark.parametrize("data", [b"", b"\0" * 24, file_header(LinkType.ETHERNET)])
def test_another_file_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a"):
        list(records(data, LinkType.RAW))
