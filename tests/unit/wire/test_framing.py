from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emodis.wire.framing import CAP_BYTES, FrameReader, FrameTooLarge, encode_frame


@given(frames=st.lists(st.binary(max_size=40)), cuts=st.lists(st.integers(0, 50), min_size=1))
def test_frames_survive_any_segmentation(frames: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(encode_frame(frame) for frame in frames)
    reader, out, turn = FrameReader(), list[bytes](), 0
    while stream:
        size = max(1, cuts[turn % len(cuts)])
        piece, stream, turn = stream[:size], stream[size:], turn + 1
        out.extend(reader.feed(piece))
    assert out == frames


def test_an_oversized_frame_is_refused_from_its_prefix_alone() -> None:
    with pytest.raises(FrameTooLarge, match="11 bytes, cap 10"):
        list(FrameReader(cap_bytes=10).feed(b"\x00\x00\x00\x0b"))


def test_a_frame_of_exactly_the_cap_passes() -> None:
    assert list(FrameReader(cap_bytes=10).feed(encode_frame(bytes(10)))) == [bytes(10)]


def test_behind_a_broken_prefix_nothing_is_parsed_and_nothing_is_kept() -> None:
    reader = FrameReader(cap_bytes=10)
    with pytest.raises(FrameTooLarge):
        list(reader.feed(b"\xff\xff\xff\xff" + encode_frame(b"later")))
    assert list(reader.feed(encode_frame(b"even later"))) == []
    assert len(reader._buffer) == 0


def test_after_stop_not_even_what_is_complete_comes_out() -> None:
    reader = FrameReader()
    frames = reader.feed(encode_frame(b"one") + encode_frame(b"two"))
    assert next(frames) == b"one"
    reader.stop()
    assert list(frames) == []


def test_the_cap_may_be_raised_between_frames() -> None:
    reader = FrameReader(cap_bytes=4)
    assert list(reader.feed(encode_frame(b"1234"))) == [b"1234"]
    reader.cap_bytes = 5
    assert list(reader.feed(encode_frame(b"12345"))) == [b"12345"]


def test_what_the_other_side_would_refuse_is_not_sent() -> None:
    assert len(encode_frame(bytes(CAP_BYTES))) == CAP_BYTES + 4
    with pytest.raises(FrameTooLarge):
        encode_frame(bytes(CAP_BYTES + 1))
