from __future__ import annotations

import struct

from emodis.lab import nftables
from emodis.lab.loss import rules


def frames(data: bytes) -> list[tuple[int, int, int, bytes]]:
    """(type, flags, sequence, body behind the netfilter header) of each netlink message."""
    found = []
    while data:
        length, kind, flags, sequence, _ = struct.unpack_from("IHHII", data)
        assert length % 4 == 0
        found.append((kind, flags, sequence, data[20:length]))
        data = data[length:]
    return found


def test_attributes_are_padded_and_in_network_order() -> None:
    assert nftables.number(5, 1) == b"\x08\0\x05\0\0\0\0\x01"
    assert nftables.text(1, "ab") == b"\x07\0\x01\0ab\0\0"
    assert nftables.nest(2, nftables.number(1, 7))[:4] == b"\x0c\0\x02\x80"


def test_a_batch_is_framed_and_numbered() -> None:
    begin, table, chain, rule, end = frames(nftables.encode(rules("t", "to-r1", 0.25)))
    assert (begin[0], end[0]) == (nftables.BATCH_BEGIN, nftables.BATCH_END)
    assert [message[0] for message in (table, chain, rule)] == [0xA00, 0xA03, 0xA06]
    assert [message[2] for message in (begin, table, chain, rule, end)] == [0, 1, 2, 3, 4]
    # Only a rule is appended; everything that is created asks for an answer.
    assert [message[1] for message in (table, chain, rule)] == [0x405, 0x405, 0xC05]
    assert b"to-r1\0" in chain[3]


def test_a_share_is_a_limit_in_network_order() -> None:
    (rule,) = (m for m in rules("t", "i", 0.25) if m.kind == nftables.NEW_RULE)
    assert struct.pack(">I", 250_000) in rule.body
    assert struct.pack(">I", 1_000_000) in rule.body
