"""Sets as bits."""

from __future__ import annotations

from emodis.scheduling.order import bits, transposed


def test_bits_ascend() -> None:
    assert list(bits(0b101001)) == [0, 3, 5]
    assert list(bits(0)) == []


def test_transposed_is_the_same_relation_from_the_other_side() -> None:
    rows = [0b011, 0b110]
    assert transposed(rows, columns=3) == [0b01, 0b11, 0b10]
    assert transposed([0b111] * 2, columns=3) == [0b11] * 3
    assert transposed([], columns=2) == [0, 0]
