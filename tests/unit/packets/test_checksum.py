from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from emodis.packets.checksum import checksum, compensation, is_valid, ones_sum, spoiled

WORDS = st.integers(0, 0xFFFF)
EVEN = st.binary(min_size=2, max_size=200).map(lambda data: data[: len(data) & ~1])


def plain_sum(data: bytes) -> int:
    """RFC 1071, word by word, as the book has it."""
    total = 0
    for at in range(0, len(data), 2):
        total += int.from_bytes(data[at : at + 2].ljust(2, b"\0"), "big")
        total = (total & 0xFFFF) + (total >> 16)
    return total


def test_the_example_of_rfc_1071() -> None:
    assert ones_sum(bytes.fromhex("0001f203f4f5f6f7")) == 0xDDF2


@given(st.binary(max_size=200))
def test_the_sum_is_that_of_rfc_1071(data: bytes) -> None:
    assert ones_sum(data) % 0xFFFF == plain_sum(data) % 0xFFFF


@given(EVEN)
def test_a_checksum_makes_data_valid(data: bytes) -> None:
    assert is_valid(data + checksum(data).to_bytes(2, "big"))


@given(EVEN, WORDS)
def test_a_compensation_brings_the_sum_to_zero_and_a_spoiled_one_never_does(
    data: bytes, probe_id: int
) -> None:
    word = compensation(ones_sum(data), probe_id)
    carrier = probe_id.to_bytes(2, "big")
    assert is_valid(data + carrier + word.to_bytes(2, "big"))
    assert not is_valid(data + carrier + spoiled(word).to_bytes(2, "big"))
