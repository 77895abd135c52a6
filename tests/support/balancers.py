"""A network in which routers balance flows, made of arithmetic."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address

import attrs

from emodis.packets.model import Echo, Kind, Reply, ReplyKind, Train, TrainOutcome
from tests.support.fluid import MS, TARGET, S

START = "start"
END = "end"


@attrs.define(kw_only=True)
class Balancers:
    """Nodes by name with those that may come next; every way leads from START to END.

    A flow takes the same way on at a node every time; at nodes in `per_packet` every packet takes
    another. A node in `rationed` has six answers and one more every second, as Linux does.
    """

    ways: Mapping[str, Sequence[str]]
    seed: int = 0
    per_packet: frozenset[str] = frozenset()
    silent: frozenset[str] = frozenset()
    rationed: frozenset[str] = frozenset()
    hop_ns: int = 2 * MS
    # Every so many-th answer is lost.
    loses_every: int = 0
    now_ns: int = 1_000 * S
    sent: list[Train] = attrs.field(factory=list)
    asked: dict[str, list[int]] = attrs.field(factory=dict)
    _tokens: dict[str, tuple[float, int]] = attrs.field(factory=dict)
    _chance: random.Random = attrs.field(init=False)
    _started_ns: int = 0
    _answers: int = 0

    def __attrs_post_init__(self) -> None:
        self._chance = random.Random(self.seed)

    def address(self, node: str) -> IPv4Address:
        """A node's; the destination's is TARGET."""
        if node == END:
            return TARGET
        return IPv4Address(f"10.1.{list(self.ways).index(node)}.1")

    def carry(self, train: Train) -> TrainOutcome:
        """Send a train, advance the clock to the end of the exchange."""
        self.now_ns = max(self.now_ns, self._started_ns + train.not_before_ns)
        self._started_ns = self.now_ns
        self.sent.append(train)
        echoes = tuple(
            Echo(sent_ns=self.now_ns + place, reply=self._reply(train, probe.ttl, place))
            for place, probe in enumerate(train.probes)
        )
        heard = [echo.reply.received_ns for echo in echoes if echo.reply is not None]
        end_ns = max(heard, default=self.now_ns)
        if len(heard) < len(echoes):
            settled_ns = end_ns + train.settle_ns if heard and train.settle_ns else 1 << 62
            end_ns = min(self.now_ns + len(echoes) + train.wait_ns, settled_ns)
        self.now_ns = end_ns
        return TrainOutcome(echoes=echoes, kernel_tx=True, kernel_rx=True)

    def _reply(self, train: Train, ttl: int, place: int) -> Reply | None:
        node, hops = START, 0
        while hops < ttl and node != END:
            node = self._next(node, train.flow)
            hops += 1
        at_ns = self.now_ns + place + hops * self.hop_ns
        self.asked.setdefault(node, []).append(at_ns)
        if node in self.silent or not self._has_token(node, at_ns):
            return None
        self._answers += 1
        if self.loses_every and self._answers % self.loses_every == 0:
            return None
        kind, icmp_type, code = ReplyKind.TIME_EXCEEDED, 11, 0
        if node == END and train.kind is Kind.ICMP_ECHO:
            kind, icmp_type = ReplyKind.ECHO_REPLY, 0
        elif node == END:
            kind, icmp_type, code = ReplyKind.UNREACHABLE, 3, 3
        return Reply(
            received_ns=at_ns + hops * self.hop_ns,
            address=self.address(node),
            kind=kind,
            icmp_type=icmp_type,
            icmp_code=code,
            ttl=64 - hops,
            quoted_ttl=1 if icmp_type else None,
        )

    def _next(self, node: str, flow: int) -> str:
        ways = self.ways[node]
        if node in self.per_packet:
            return self._chance.choice(ways)
        return random.Random(f"{self.seed} {node} {flow}").choice(ways)

    def _has_token(self, node: str, at_ns: int) -> bool:
        if node not in self.rationed:
            return True
        tokens, last_ns = self._tokens.get(node, (6.0, at_ns))
        tokens = min(6.0, tokens + max(0, at_ns - last_ns) / S)
        self._tokens[node] = (tokens - (tokens >= 1), max(at_ns, last_ns))
        return tokens >= 1


def chain(*widths: int) -> dict[str, list[str]]:
    """Hops of so many routers each, every one joined to all of the next hop."""
    hops = [[START], *([f"h{t}.{i}" for i in range(w)] for t, w in enumerate(widths, 1)), [END]]
    return {node: following for here, following in itertools.pairwise(hops) for node in here}
