"""The id of a probe stands in two places; either may have been rewritten on the way."""

from __future__ import annotations

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6

from emodis.packets.flow import IdBlock
from emodis.packets.model import Kind, Mark
from emodis.packets.quotes import quoted_probe
from tests.unit.packets.answers import (
    HEADER,
    MADE,
    VERSIONS,
    changed,
    expectation,
    probe_packet,
    with_ident,
)

IDS = IdBlock(1000, 50)
OURS = {(kind, version): expectation(kind, version, IDS) for kind, version in MADE}
NAT = {4: "192.0.2.1", 6: "fd00:99::1"}
NOTHING: set[Mark] = set()


def probe(kind: Kind, version: int = 4, probe_id: int = 1003) -> bytes:
    return probe_packet(kind, probe_id, version=version)


def said(quote: bytes, kind: Kind, version: int = 4) -> tuple[int, set[Mark]] | None:
    found = quoted_probe(quote, OURS[kind, version])
    return None if found is None else (found.probe_id, set(found.marks))


def patched(packet: bytes, at: int, value: int) -> bytes:
    """Another word there in the transport header (and behind it)."""
    at += HEADER[packet[0] >> 4]
    return packet[:at] + value.to_bytes(2, "big") + packet[at + 2 :]


def translated(packet: bytes, *, port: int | None = None) -> bytes:
    """As a NAT that corrects the checksum would send it on."""
    whole = IP(packet) if packet[0] >> 4 == 4 else IPv6(packet)
    whole.src = NAT[whole.version]
    layer = whole[UDP] if UDP in whole else whole[TCP]
    if port is not None:
        layer.sport = port
    del layer.chksum
    return bytes(whole)


# Where the id stands that is no part of the IP header.
SECOND = {Kind.UDP: 6, Kind.ICMP_ECHO: 6, Kind.TCP_SYN: 4}


class TestCarriers:
    @pytest.mark.parametrize("kind", Kind)
    def test_a_rewritten_ip_id_leaves_the_other(self, kind: Kind) -> None:
        quote = changed(probe(kind), id=7)
        assert said(quote, kind) == (1003, {Mark.QUOTE_ALTERED})

    @pytest.mark.parametrize("kind", Kind)
    def test_the_ip_id_is_left_of_a_rewritten_other(self, kind: Kind) -> None:
        quote = patched(probe(kind), SECOND[kind], 7)
        assert said(quote, kind) == (1003, {Mark.QUOTE_ALTERED})

    def test_a_firewall_that_draws_its_own_sequence_numbers_leaves_the_ip_id(self) -> None:
        quote = patched(probe(Kind.TCP_SYN), 6, 0x1234)
        assert said(quote, Kind.TCP_SYN) == (1003, {Mark.QUOTE_ALTERED})
        assert said(patched(probe(Kind.TCP_SYN, 6), 6, 0x1234), Kind.TCP_SYN, 6) is None

    @pytest.mark.parametrize("kind", [Kind.UDP, Kind.ICMP_ECHO])
    def test_ipv6_has_the_second_in_the_payload_if_so_much_is_quoted(self, kind: Kind) -> None:
        quote = patched(probe(kind, 6), SECOND[kind], 7)
        assert said(quote, kind, 6) == (1003, {Mark.QUOTE_ALTERED})
        assert said(quote[:48], kind, 6) is None
        assert said(probe(kind, 6)[:48], kind, 6) == (1003, NOTHING)

    def test_a_padded_quote_is_not_an_altered_one(self) -> None:
        quote = probe(Kind.UDP, 6)[:48] + bytes(80)
        assert said(quote, Kind.UDP, 6) == (1003, NOTHING)

    @pytest.mark.parametrize("kind", Kind)
    def test_two_of_ours_that_differ_say_nothing(self, kind: Kind) -> None:
        assert said(changed(probe(kind), id=1004), kind) is None
        if kind is not Kind.TCP_SYN:
            assert said(patched(probe(kind, 6), 10, 1004), kind, 6) is None

    @pytest.mark.parametrize(("kind", "version"), MADE)
    @pytest.mark.parametrize("probe_id", [999, 1050, 7])
    def test_ids_we_never_sent_are_not_ours(self, kind: Kind, version: int, probe_id: int) -> None:
        assert said(probe(kind, version, probe_id), kind, version) is None


class TestTranslation:
    @pytest.mark.parametrize(("kind", "version"), MADE)
    def test_another_source_address_is_a_nats(self, kind: Kind, version: int) -> None:
        quote = changed(probe(kind, version), src=NAT[version])
        assert said(quote, kind, version) == (1003, {Mark.NAT})

    @pytest.mark.parametrize("version", VERSIONS)
    @pytest.mark.parametrize("port", [None, 61_234])
    def test_a_checksum_that_was_corrected_says_the_same_as_before(
        self, version: int, port: int | None
    ) -> None:
        quote = translated(probe(Kind.UDP, version), port=port)
        assert int.from_bytes(quote[HEADER[version] + 6 :][:2], "big") != 1003
        assert said(quote, Kind.UDP, version) == (1003, {Mark.NAT})

    @pytest.mark.parametrize(("kind", "version"), MADE)
    def test_another_port_needs_another_address_and_both_ids(
        self, kind: Kind, version: int
    ) -> None:
        quote = with_ident(kind, probe(kind, version), 9)
        assert said(quote, kind, version) is None
        behind = changed(quote, src=NAT[version])
        assert said(behind, kind, version) == (1003, {Mark.NAT})
        if version == 4:
            assert said(changed(behind, id=7), kind) is None

    def test_nobody_guesses_port_and_id_of_a_quote_without_a_second_id(self) -> None:
        """IPv6 cut to eight bytes: one guessed id with a foreign port is not enough."""
        quote = changed(with_ident(Kind.UDP, probe(Kind.UDP, 6), 9), src=NAT[6])
        assert said(quote[:48], Kind.UDP, 6) is None
