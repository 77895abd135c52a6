"""Answers that refuse a probe, in words."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from emodis.techniques import refusals
from emodis.wire.v1.common_pb2 import Blame
from emodis.wire.v1.techniques_pb2 import HopAnswer, ProbeRecord


def answer(router: str, icmp_type: int, code: int) -> ProbeRecord:
    return ProbeRecord(
        address=ip_address(router).packed,
        icmp_type=icmp_type,
        icmp_code=code,
        size_bytes=1028,
        received_ns=5,
    )


@pytest.mark.parametrize(
    ("router", "icmp_type", "code", "reason", "words", "blame"),
    [
        ("10.0.0.1", 3, 0, "unreachable(0)", "has no route", Blame.BLAME_NETWORK),
        ("fd00::1", 1, 0, "unreachable(0)", "has no route", Blame.BLAME_NETWORK),
        ("10.0.0.1", 3, 1, "unreachable(1)", "finds nobody", Blame.BLAME_TARGET),
        ("fd00::1", 1, 3, "unreachable(3)", "finds nobody", Blame.BLAME_TARGET),
        ("10.0.0.1", 3, 13, "unreachable(13)", "cannot be reached", Blame.BLAME_NETWORK),
        ("10.0.0.1", 3, 4, "packet_too_big", "1028 bytes", Blame.BLAME_NETWORK),
        ("fd00::1", 2, 0, "packet_too_big", "1028 bytes", Blame.BLAME_NETWORK),
        # What IPv4 says of sizes, IPv6 says of ports.
        ("fd00::1", 1, 4, "unreachable(4)", "cannot be reached", Blame.BLAME_NETWORK),
    ],
)
def test_every_refusal_has_a_reason_a_sentence_and_a_side(
    router: str, icmp_type: int, code: int, reason: str, words: str, blame: Blame.ValueType
) -> None:
    ending = refusals.ending(answer(router, icmp_type, code), size_option="payload_bytes")
    assert (ending.reason, ending.blame) == (reason, blame)
    assert ending.hint.startswith(router)
    assert words in ending.hint
    assert ("give a smaller payload_bytes" in ending.hint) == (reason == "packet_too_big")
    assert "; " in ending.hint, "nobody knows what to do"


def test_a_hop_of_a_route_does_not_know_how_large_the_probe_was() -> None:
    hop = HopAnswer(address=ip_address("10.0.0.1").packed, icmp_type=3, icmp_code=4)
    assert "packets of this size" in refusals.sentence(hop)


def test_refusals_among_losses_are_counted() -> None:
    silence = ProbeRecord(size_bytes=84)
    assert refusals.among_losses([silence]) == []
    said = refusals.among_losses([silence, answer("10.0.0.1", 3, 1), answer("10.0.0.1", 3, 0)])
    assert said == ["2 of the lost probes were refused: 10.0.0.1 has no route to the destination"]
