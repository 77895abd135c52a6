from __future__ import annotations

import pytest

from emodis.lab.build import FRAME_BYTES, burst_bytes


@pytest.mark.parametrize(
    ("capacity_bps", "frames"),
    [(1_000_000, 1), (10**7, 1), (8 * 10**7, 1), (10**8, 2), (10**9, 13)],
)
def test_a_bucket_holds_whole_frames_for_150_us(capacity_bps: int, frames: int) -> None:
    assert frames * FRAME_BYTES <= burst_bytes(capacity_bps) < frames * FRAME_BYTES * 1.01 + 130


def test_the_bucket_holds_a_frame_even_when_cut_to_whole_microseconds() -> None:
    for capacity_bps in range(100_000, 200_000_000, 777_777):
        cut_us = int(burst_bytes(capacity_bps) * 8e6 / capacity_bps)
        assert cut_us * capacity_bps / 8e6 >= FRAME_BYTES
