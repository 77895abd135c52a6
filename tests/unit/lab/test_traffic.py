from __future__ import annotations

import ctypes
import itertools
from collections.abc import Sequence

import attrs
import pytest

from emodis.lab import traffic
from emodis.lab.topology import Model, Traffic, Wake
from emodis.lab.traffic import LOST_NS, Generator, Packet, schedule

MS = 1_000_000


def flow(
    model: Model = Model.CBR, wake: Wake = Wake.PACKET, sizes: tuple[int, ...] = (1500,)
) -> Traffic:
    # 1514-byte frames each ms
    return Traffic(
        sender="r1",
        receiver="r2",
        model=model,
        rate_bps=1514 * 8 * 1000,
        packet_bytes=sizes,
        seed=1,
        wake=wake,
    )


def taken(of: Traffic, count: int) -> list[Packet]:
    return list(itertools.islice(schedule(of), count))


@attrs.define
class Recorder:
    calls: list[list[int]] = attrs.field(factory=list)

    def send(self, sizes_bytes: Sequence[int]) -> None:
        self.calls.append(list(sizes_bytes))


def test_the_struct_is_the_kernels() -> None:
    assert ctypes.sizeof(traffic._Message) == 64
    assert traffic._Message.sent_bytes.offset == 56


def test_cbr_has_even_gaps() -> None:
    due = [packet.due_ns for packet in taken(flow(), 100)]
    assert [b - a for a, b in itertools.pairwise(due)] == pytest.approx([MS] * 99)


@pytest.mark.parametrize("model", list(Model))
@pytest.mark.parametrize("sizes", [(1500,), (100, 500, 1500)])
def test_the_mean_rate_is_the_one_asked_for(model: Model, sizes: tuple[int, ...]) -> None:
    packets = taken(flow(model, sizes=sizes), 40_000)
    bits = sum((packet.size_bytes + 14) * 8 for packet in packets)
    assert bits / packets[-1].due_ns * 1e9 == pytest.approx(1514 * 8 * 1000, rel=0.03)


def test_poisson_gaps_vary_as_exponential_ones_do() -> None:
    due = [packet.due_ns for packet in taken(flow(Model.POISSON), 20_000)]
    gaps = [b - a for a, b in itertools.pairwise(due)]
    mean = sum(gaps) / len(gaps)
    variance = sum((gap - mean) ** 2 for gap in gaps) / len(gaps)
    assert variance**0.5 / mean == pytest.approx(1, rel=0.05)


def test_one_seed_is_one_sequence() -> None:
    assert taken(flow(Model.POISSON), 50) == taken(flow(Model.POISSON), 50)


def test_what_is_due_leaves_together_and_nothing_early() -> None:
    recorder = Recorder()
    generator = Generator(flow(), recorder.send, 0)
    first_ns = generator.wake_ns()
    generator.run(first_ns - 1)
    assert recorder.calls == []
    generator.run(first_ns + 2 * MS)
    assert [len(call) for call in recorder.calls] == [3]
    assert first_ns + 2 * MS < generator.wake_ns() <= first_ns + 3 * MS


def test_a_long_stall_is_not_made_up_for() -> None:
    recorder = Recorder()
    generator = Generator(flow(), recorder.send, 0)
    generator.run(generator.wake_ns() + LOST_NS + 50 * MS)
    assert [len(call) for call in recorder.calls] == [1]


def test_a_ticking_flow_wakes_at_whole_milliseconds() -> None:
    generator = Generator(flow(wake=Wake.TICK), Recorder().send, 12345)
    assert generator.wake_ns() % MS == 0
