from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs
import pytest

from emodis.packets.pcap import LinkType, file_header, record, records
from emodis.packets.tape import Tape
from emodis.prober.capture import BROKEN, FULL, UNABLE, Capture, prepare


@attrs.define
class Recorder:
    """A transport that puts on the tape what it is told to."""

    tape: Tape | None = None

    def record(self, tape: Tape | None) -> None:
        self.tape = tape

    def hear(self, *packets: tuple[int, bytes]) -> None:
        assert self.tape is not None
        for at_ns, packet in packets:
            self.tape.arrived(at_ns, packet)


@contextmanager
def capturing(path: Path | str, transport: object, **limits: int) -> Iterator[Capture]:
    with Capture(str(path), **limits) as capture:
        capture.watch(transport)
        yield capture


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "x.pcap"
    prepare(made)
    return made


def read(path: Path) -> list[tuple[int, bytes]]:
    return list(records(path.read_bytes(), LinkType.RAW))


def test_a_run_appends_what_it_saw_and_the_next_one_too(path: Path) -> None:
    transport = Recorder()
    for at_ns in (5, 7):
        with capturing(path, transport) as capture:
            transport.hear((at_ns, b"one"))
            capture.keep()
            transport.hear((at_ns + 1, b"two"))
        assert capture.remark == ""
    assert read(path) == [(5, b"one"), (6, b"two"), (7, b"one"), (8, b"two")]
    assert transport.tape is None


def test_what_a_run_that_broke_off_saw_is_kept(path: Path) -> None:
    transport = Recorder()
    with suppress(RuntimeError), capturing(path, transport):
        transport.hear((5, b"one"))
        raise RuntimeError
    assert read(path) == [(5, b"one")]


def test_nothing_is_recorded_without_a_path() -> None:
    transport = Recorder()
    with capturing("", transport) as capture:
        assert transport.tape is None
        capture.keep()
    assert capture.remark == ""


def test_a_full_capture_is_what_came_first_and_says_so(path: Path) -> None:
    transport = Recorder()
    room = len(file_header(LinkType.RAW)) + 2 * len(record(1, b"one"))
    with capturing(path, transport, max_bytes=room) as capture:
        transport.hear((1, b"one"), (2, b"four"), (3, b"xyz"))
        capture.keep()
        transport.hear((4, b"z"))
    assert read(path) == [(1, b"one")]
    assert capture.remark == FULL.format(path=path, limit=0)


def test_a_transport_that_cannot_says_so(path: Path) -> None:
    with capturing(path, object()) as capture:
        pass
    assert capture.remark == UNABLE
    assert read(path) == []


def test_what_goes_by_without_a_transport_is_kept_too(path: Path) -> None:
    with Capture(str(path)) as capture:
        assert capture.tape is not None
        capture.tape.arrived(3, b"one")
    assert read(path) == [(3, b"one")]
    assert capture.remark == ""
    with Capture("") as capture:
        assert capture.tape is None


def test_a_capture_that_is_gone_is_no_end_of_a_run(tmp_path: Path) -> None:
    transport = Recorder()
    with capturing(tmp_path / "none", transport) as capture:
        transport.hear((1, b"one"))
    assert capture.remark == BROKEN.format(path=tmp_path / "none", why="No such file or directory")


def test_a_full_disk_is_no_end_of_a_run(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    transport = Recorder()
    with capturing(path, transport) as capture:
        monkeypatch.setattr(os, "write", full)
        transport.hear((1, b"one"))
        capture.keep()
        monkeypatch.undo()
        transport.hear((2, b"two"))
    assert "No space left" in capture.remark
    assert read(path) == []


def test_nobody_else_may_read_it_and_links_are_not_followed(path: Path, tmp_path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600
    link = tmp_path / "link.pcap"
    link.symlink_to(path)
    with pytest.raises(OSError, match="symbolic"):
        prepare(link)
    with capturing(link, Recorder()) as capture:
        pass
    assert "symbolic" in capture.remark
