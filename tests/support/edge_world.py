"""Routers, links and answers over the virtual Internet: what traceroute and Pathneck would say.

An AS n has the routers 10.n.0.1 (or its index), ...; the first is entered from outside. Every
router path is that of its AS path. Links have an available bandwidth; 1 Gbit/s unless given.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address

import attrs

from emodis.techniques.pathneck import Pathneck
from emodis.techniques.traceroute import Traceroute
from emodis.wire.v1.common_pb2 import END_DONE, Body, Ending, Outcome
from emodis.wire.v1.techniques_pb2 import (
    Bound,
    HopAnswer,
    PathneckBottleneck,
    PathneckHop,
    PathneckResult,
    TracerouteHop,
    TracerouteResult,
)
from tests.support.valley_free import routes_to

FAST_BPS = 10**9
NOW_NS = 1_700_000_000 * 10**9
# Towards the destination's AS: entered by a router of its own for each neighbour, then one inside.
HOST = 250


def router(asn: int, number: int) -> IPv4Address:
    return IPv4Address(f"10.{asn}.0.{number}")


def twin(address: IPv4Address) -> IPv6Address:
    """The same place in IPv6."""
    return IPv6Address(b"\x20\x01\x0d\xb8" + bytes(8) + address.packed)


def owner(address: object) -> int:
    """The AS of an address of this world."""
    assert isinstance(address, IPv4Address | IPv6Address)
    packed = address.packed[-4:]
    return packed[1] if packed[0] == 10 else 0


@attrs.frozen
class World:
    """`links` are available bandwidths by (from, to) address where they are not FAST_BPS."""

    links: Mapping[tuple[IPv4Address, IPv4Address], int] = attrs.field(factory=dict)
    ipv6: bool = False

    def route(self, start: int, end: int) -> list[IPv4Address]:
        """The hops from the host of one AS to the host of another, named by their IPv4."""
        path = routes_to(end)[start]
        hops = [router(start, 1)]
        for before, asn in itertools.pairwise(path):
            # Where one enters depends on where one comes from.
            hops += [router(asn, before), router(asn, 1)]
        return [*hops, router(end, HOST)]

    def traceroute(self, start: int, end: int) -> Body:
        hops = [
            TracerouteHop(
                ttl=ttl, answers=[HopAnswer(round=1, address=self.packed(hop), rtt_ns=ttl * 10**6)]
            )
            for ttl, hop in enumerate(self.route(start, end), start=1)
        ]
        return _body(Traceroute(), TracerouteResult(hops=hops, reached=True))

    def pathneck(self, start: int, end: int) -> Body:
        return _body(Pathneck(), self.trains(start, end))

    def trains(self, start: int, end: int) -> PathneckResult:
        """What noiseless trains would find: the first link is the measuring host's own."""
        hops = self.route(start, end)
        result = PathneckResult(last_link="measured")
        rate_bps, before = FAST_BPS, b""
        for ttl, hop in enumerate(hops, start=1):
            previous = hops[ttl - 2] if ttl > 1 else router(start, HOST)
            link_bps = self.links.get((previous, hop), FAST_BPS)
            is_choke = link_bps < rate_bps
            if is_choke:
                rate_bps = link_bps
                result.bottleneck.CopyFrom(
                    PathneckBottleneck(
                        ttl=ttl,
                        from_ttl=ttl - 1,
                        from_address=before,
                        to_address=self.packed(hop),
                        bound_bps=link_bps,
                        confidence=1.0,
                    )
                )
            result.hops.append(
                PathneckHop(
                    ttl=ttl,
                    address=self.packed(hop),
                    rate_bps=rate_bps,
                    bound=Bound.BOUND_UPPER if is_choke else Bound.BOUND_LOWER,
                    bound_bps=rate_bps,
                    choke_point=is_choke,
                    detection_ratio=float(is_choke),
                )
            )
            before = self.packed(hop)
        return result

    def packed(self, address: IPv4Address) -> bytes:
        """The address on the wire."""
        return twin(address).packed if self.ipv6 else address.packed

    def available_bps(self, start: int, end: int) -> int:
        """The truth about a path."""
        hops = self.route(start, end)
        return min(self.links.get(link, FAST_BPS) for link in itertools.pairwise(hops))


def done(body: Body) -> Outcome:
    return Outcome(ending=Ending(end=END_DONE), result=body, started_unix_ns=NOW_NS)


def _body(technique: Traceroute | Pathneck, message: TracerouteResult | PathneckResult) -> Body:
    return Body(technique=technique.NAME, schema=technique.SCHEMA, body=message.SerializeToString())
