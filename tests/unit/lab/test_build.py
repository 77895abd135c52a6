from __future__ import annotations

import pytest
from pyroute2.netlink.rtnl.tcmsg.common import calc_xmittime

from emodis.lab.build import FRAME_BYTES, bucket_bytes, smallest_burst_bytes


@pytest.mark.parametrize(
    ("capacity_bps", "frames"),
    [(1_000_000, 1), (10**7, 1), (8 * 10**7, 1), (10**8, 2), (10**9, 13)],
)
def test_a_bucket_holds_whole_frames_for_150_us(capacity_bps: int, frames: int) -> None:
    assert smallest_burst_bytes(capacity_bps) == frames * FRAME_BYTES
    bucket = bucket_bytes(capacity_bps, frames * FRAME_BYTES)
    assert frames * FRAME_BYTES <= bucket < frames * FRAME_BYTES * 1.03


def test_the_bucket_holds_a_frame_even_when_cut_to_whole_microseconds() -> None:
    """As pyroute2 cuts it (us, then ticks of 64 ns), and as the kernel turns it back into bytes."""
    for capacity_bps in [*range(100_000, 200_000_000, 777_777), *range(10**6, 10**8, 10**6)]:
        rate = capacity_bps // 8
        ticks = calc_xmittime(rate, bucket_bytes(capacity_bps, FRAME_BYTES))
        assert ticks * 64 * rate // 10**9 >= FRAME_BYTES
