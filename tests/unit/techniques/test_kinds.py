from __future__ import annotations

import pytest

from emodis.techniques import kinds, registry
from emodis.techniques.base import BadParameters
from emodis.techniques.kinds import NOTHING, lacking, needed, words
from emodis.wire.v1.common_pb2 import (
    PACKET_KIND_ICMP,
    PACKET_KIND_MUTED,
    PACKET_KIND_TCP,
    PACKET_KIND_TCP_FLOW,
    PACKET_KIND_UDP,
    Body,
    PacketKind,
)


@pytest.mark.parametrize(
    ("technique", "options", "wanted"),
    [
        ("ping", {}, {PACKET_KIND_ICMP}),
        ("ping", {"proto": "udp"}, {PACKET_KIND_UDP}),
        ("ping", {"proto": "tcp"}, {PACKET_KIND_TCP}),
        ("loss", {}, {PACKET_KIND_ICMP}),
        ("traceroute", {}, {PACKET_KIND_UDP}),
        ("traceroute", {"proto": "tcp"}, {PACKET_KIND_TCP}),
        ("traceroute", {"proto": "tcp", "mda": "lite"}, {PACKET_KIND_TCP, PACKET_KIND_TCP_FLOW}),
        (
            "traceroute",
            {"proto": "tcp", "size_bytes": "80"},
            {PACKET_KIND_TCP, PACKET_KIND_TCP_FLOW},
        ),
        ("traceroute", {"proto": "icmp", "mda": "lite"}, {PACKET_KIND_ICMP}),
        # Load that cannot be muted is measured with all the same.
        ("pathneck", {}, {PACKET_KIND_UDP}),
        ("pathneck", {"mute": "badsum"}, {PACKET_KIND_UDP, PACKET_KIND_MUTED}),
        ("igi", {}, {PACKET_KIND_UDP}),
        ("broute", {}, {PACKET_KIND_UDP}),
    ],
)
def test_a_call_says_what_must_be_sent_for_it(
    technique: str, options: dict[str, str], wanted: set[PacketKind.ValueType]
) -> None:
    found = registry.get(technique)
    assert needed(found, found.call(options)) == wanted


def test_a_technique_that_says_nothing_needs_nothing_and_a_bad_call_is_refused() -> None:
    assert needed(object(), Body(technique="x")) == NOTHING
    with pytest.raises(BadParameters):
        needed(registry.get("ping"), Body(technique="ping", schema=1, body=b"\xff"))


def test_of_a_host_that_names_no_kinds_nothing_is_known() -> None:
    assert lacking([PACKET_KIND_UDP], frozenset({PACKET_KIND_ICMP})) == {PACKET_KIND_ICMP}
    assert lacking([PACKET_KIND_ICMP], frozenset({PACKET_KIND_ICMP})) == NOTHING
    assert lacking([], frozenset({PACKET_KIND_ICMP})) == NOTHING


def test_every_kind_has_words_and_newer_ones_have_none() -> None:
    assert set(kinds.WORDS) == set(PacketKind.values()) - {0}
    assert words([PACKET_KIND_UDP, PACKET_KIND_ICMP, 99]) == "ICMP echo, UDP"  # type: ignore[list-item]
