from __future__ import annotations

import os
from pathlib import Path

from emodis.agent.captures import Captures
from emodis.packets.pcap import LinkType, file_header
from emodis.wire.v1.common_pb2 import RunKey

EMPTY_BYTES = len(file_header(LinkType.RAW))


def run(number: int = 0, measurement: str = "m-1") -> RunKey:
    return RunKey(measurement_id=measurement, round=2, destination=number, agent_id="a")


def test_every_run_has_a_file_of_its_own(tmp_path: Path) -> None:
    complaints: list[str] = []
    captures = Captures(tmp_path, complaints.append)
    path = Path(captures.file_for(run(3)))
    assert path.parent == tmp_path
    assert path.name == "emodis-m-1-2-3-0.pcap"
    assert path.stat().st_size == EMPTY_BYTES
    assert complaints == []


def test_no_folder_no_capture() -> None:
    assert Captures(None, print).file_for(run()) == ""


def test_a_masters_word_does_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    path = Captures(tmp_path, print).file_for(run(measurement="../../etc/" + "x" * 500))
    assert Path(path).parent == tmp_path
    assert len(Path(path).name) < 100


def test_the_oldest_make_room_and_what_is_not_ours_stays(tmp_path: Path) -> None:
    captures = Captures(tmp_path, print, kept_bytes=2 * EMPTY_BYTES)
    other = tmp_path / "precious.pcap"
    other.write_bytes(bytes(1000))
    paths = []
    for number in range(4):
        path = Path(captures.file_for(run(number)))
        os.utime(path, ns=(number, number))
        paths.append(path)
    captures.file_for(run(9))
    assert [path.exists() for path in paths] == [False, False, True, True]
    assert other.exists()


def test_a_folder_that_is_gone_is_a_complaint_and_no_more(tmp_path: Path) -> None:
    complaints: list[str] = []
    assert Captures(tmp_path / "gone", complaints.append).file_for(run()) == ""
    assert complaints == [f"no capture in {tmp_path / 'gone'}: No such file or directory"]
