"""A path that loses packets link by link, made of arithmetic; routers answer as in `fluid`."""

from __future__ import annotations

import random
from ipaddress import IPv4Address
from typing import TypeVar

import attrs

from emodis.packets.model import Echo, Probe, Reply, ReplyKind, Train, TrainOutcome
from tests.support.fluid import MS, TARGET, Router, S

T = TypeVar("T")


@attrs.define
class LossyLink:
    """Loses `there` and `back` of the packets of each direction, `burst` in a row on average."""

    there: float = 0.0
    back: float = 0.0
    burst: float = 1.0
    _losing: dict[str, bool] = attrs.field(factory=dict)

    def passes(self, way: str, chance: random.Random) -> bool:
        share = self.there if way == "there" else self.back
        if not share:
            return True
        # A chain of two states whose time in the losing one is `share`, in visits of `burst`.
        if self.burst <= 1:
            return chance.random() >= share
        if self._losing.get(way):
            losing = chance.random() >= 1 / self.burst
        else:
            losing = chance.random() < share / (1 - share) / self.burst
        self._losing[way] = losing
        return not losing


@attrs.define(kw_only=True)
class LossyPath:
    """`links[i]` leads to `nodes[i]`; the last node is the destination."""

    links: list[LossyLink]
    nodes: list[Router]
    seed: int = 0
    down: bool = False
    now_ns: int = 1_000 * S
    sent: list[Train] = attrs.field(factory=list)
    _chance: random.Random = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._chance = random.Random(self.seed)

    def carry(self, train: Train) -> TrainOutcome:
        self.sent.append(train)
        echoes = []
        for probe in train.probes:
            self.now_ns += probe.after_ns
            echoes.append(Echo(sent_ns=self.now_ns, reply=self._reply(probe)))
        self.now_ns += train.settle_ns or train.wait_ns
        return TrainOutcome(echoes=tuple(echoes), kernel_tx=True, kernel_rx=True)

    def _reply(self, probe: Probe) -> Reply | None:
        hops = min(probe.ttl, len(self.nodes))
        codes = [node.refuse_code for node in self.nodes[:hops]]
        refused = next((code for code in codes if code is not None), None)
        if refused is not None:
            hops = codes.index(refused) + 1
        node = self.nodes[hops - 1]
        there = hops == len(self.nodes)
        if not all(link.passes("there", self._chance) for link in self.links[:hops]):
            return None
        if (there and self.down) or not node.may_answer(self.now_ns):
            return None
        if not all(link.passes("back", self._chance) for link in reversed(self.links[:hops])):
            return None
        if refused is not None:
            return self._refusal(node, hops, refused)
        return Reply(
            received_ns=self.now_ns + 2 * hops * MS,
            address=node.address,
            kind=ReplyKind.ECHO_REPLY if there else ReplyKind.TIME_EXCEEDED,
            icmp_type=0 if there else 11,
            icmp_code=0,
            ttl=64 - hops,
            quoted_ttl=None if there else 1,
        )

    def _refusal(self, node: Router, hops: int, code: int) -> Reply:
        return Reply(
            received_ns=self.now_ns + 2 * hops * MS,
            address=node.address,
            kind=ReplyKind.UNREACHABLE,
            icmp_type=3,
            icmp_code=code,
            ttl=64 - hops,
            quoted_ttl=1,
        )


def lossy(hops: int, seed: int = 0, *, tokens_per_s: float | None = None) -> LossyPath:
    """A path of so many links that loses nothing yet."""
    routers = [
        Router(address=IPv4Address(f"10.0.{i}.1"), tokens_per_s=tokens_per_s)
        for i in range(1, hops)
    ]
    return LossyPath(
        links=[LossyLink() for _ in range(hops)],
        nodes=[*routers, Router(address=TARGET)],
        seed=seed,
    )
