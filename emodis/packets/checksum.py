"""Internet checksums (RFC 1071), and payload words that make a checksum come out as wished.

The trick behind one flow per train (Paris traceroute): what identifies a probe is written where
routers quote it, and one payload word takes up the difference, so that nothing a load balancer
looks at ever changes.
"""

from __future__ import annotations

MODULUS = 0xFFFF


def ones_sum(data: bytes | bytearray | memoryview) -> int:
    """Ones' complement sum of 16-bit words, 0..0xFFFE (0 and 0xFFFF are the same number here).

    An odd last byte counts as the high half of a word, as RFC 1071 pads it.
    """
    value = int.from_bytes(data, "big")
    return (value << 8 if len(data) % 2 else value) % MODULUS


def checksum(data: bytes | bytearray | memoryview) -> int:
    """The checksum field for data whose checksum field is zero."""
    return MODULUS - ones_sum(data)


def is_valid(data: bytes | bytearray | memoryview) -> bool:
    """Whether data that contain their checksum add up."""
    return ones_sum(data) == 0


def compensation(rest: int, word: int) -> int:
    """The payload word that brings the sum to zero, so that the checksum is right.

    `rest` is the `ones_sum` of everything else the checksum covers but `word`: the id, wherever it
    stands (it is the checksum field itself in UDP).
    """
    return MODULUS - (rest + word) % MODULUS


def spoiled(word: int) -> int:
    """A compensation word that is wrong by one, so that the checksum cannot be right."""
    return word ^ 1
