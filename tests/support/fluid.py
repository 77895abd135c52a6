"""A path of links made of arithmetic: trains go in, outcomes come back, time is a number.

Packets are served one after the other by each link (FIFO, one rate), so trains stretch as they do
in the real thing. Nothing waits; a run of a minute takes a few milliseconds.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from ipaddress import IPv4Address
from typing import TypeVar

import attrs

from emodis.packets.model import Echo, Kind, Reply, ReplyKind, Train, TrainOutcome

T = TypeVar("T")
S = 1_000_000_000
MS = 1_000_000
TARGET = IPv4Address("10.9.9.9")
# An ICMP error with the header it quotes and eight bytes more.
ANSWER_BYTES = 56


@attrs.define(kw_only=True)
class Router:
    """The node at the end of a link, and how it answers."""

    address: IPv4Address
    silent: bool = False
    # Answers a second and burst, as Linux counts them; None = no limit.
    tokens_per_s: float | None = None
    burst: int = 6
    _tokens: float = 6.0
    _last_ns: int = 0
    # Answer with another code than "time exceeded" to everything.
    refuse_code: int | None = None
    drop_bad_sums: bool = False
    alias: IPv4Address | None = None
    # What the probed port of a destination answers to a SYN (else RST) or a datagram (else ICMP).
    port_open: bool = False
    # Takes part: answers probes to this port that carry this tag, whatever it says by ICMP.
    listens: tuple[int, bytes] | None = None
    # How far its clock is ahead.
    clock_ns: int = 0

    def may_answer(self, now_ns: int) -> bool:
        if self.silent:
            return False
        if self.tokens_per_s is None:
            return True
        passed_s = (now_ns - self._last_ns) / S
        self._tokens = min(self.burst, self._tokens + passed_s * self.tokens_per_s)
        self._last_ns = now_ns
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


@attrs.define(kw_only=True)
class Link:
    """Serves packets at `rate_bps`; `load` of that are Poisson packets of others."""

    rate_bps: float
    load: float = 0.0
    load_size_bytes: int = 1000
    queue_bytes: int = 10_000_000
    delay_ns: int = 1 * MS
    # Of larger packets the node before says so; the first link of a path carries all.
    mtu_bytes: int = 1500
    # What passes at once after a rest.
    bucket_bytes: int = 0
    # As `load`, on the way back; answers queue behind it.
    back_load: float = 0.0
    back_size_bytes: int = 1000


@attrs.define(kw_only=True)
class Path:
    """Links and nodes in alternation; the last node is the destination."""

    links: list[Link]
    nodes: list[Router]
    noise_ns: float = 0.0
    # How fast the sender hands packets to its own interface.
    sender_bps: float = 1_000_000_000.0
    # What a packet takes there at least, however small.
    sender_packet_ns: int = 0
    stall: Callable[[int], int] = lambda _: 0
    seed: int = 0
    loss: float = 0.0
    answers_from: Callable[[int, IPv4Address], IPv4Address] = lambda _, address: address
    queued_stamps: bool = True
    # SYNs go out as connections of the kernel.
    connects: bool = False
    now_ns: int = 1_000 * S
    sent: list[Train] = attrs.field(factory=list)
    started_ns: list[int] = attrs.field(factory=list)
    stop_after: int | None = None
    _chance: random.Random = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._chance = random.Random(self.seed)

    def carry(self, train: Train) -> TrainOutcome:
        """Send a train, advance the clock to the end of the exchange."""
        if self.started_ns:
            self.now_ns = max(self.now_ns, self.started_ns[-1] + train.not_before_ns)
        self.sent.append(train)
        self.started_ns.append(self.now_ns)
        queued_ns = self._queue(train)
        departed_ns, replies = self._travel(train, queued_ns)
        echoes = tuple(
            Echo(sent_ns=out, reply=reply, queued_ns=into if self.queued_stamps else None)
            for out, into, reply in zip(departed_ns, queued_ns, replies, strict=True)
        )
        self._advance(train, echoes)
        cut = self.stop_after is not None and len(self.sent) >= self.stop_after
        by_connect = self.connects and train.kind is Kind.TCP_SYN
        return TrainOutcome(
            echoes=echoes,
            kernel_tx=not by_connect,
            kernel_rx=True,
            cut_short=cut,
            by_connect=by_connect,
        )

    def _queue(self, train: Train) -> list[int]:
        at_ns = self.now_ns
        times = []
        for i, probe in enumerate(train.probes):
            at_ns += probe.after_ns + self.stall(i) * (len(self.sent) > 0)
            times.append(at_ns)
            length_ns = round(8 * probe.size_bytes * S / self.sender_bps)
            at_ns += max(length_ns, self.sender_packet_ns)
        return times

    def _travel(self, train: Train, queued_ns: list[int]) -> tuple[list[int], list[Reply | None]]:
        replies: list[Reply | None] = [None] * len(train.probes)
        departed_ns = list(queued_ns)
        # (index, arrival at the present node, TTL left)
        flying: list[tuple[int, float, int]] = [
            (i, at_ns, probe.ttl)
            for i, (at_ns, probe) in enumerate(zip(queued_ns, train.probes, strict=True))
        ]
        for hop, (link, node) in enumerate(zip(self.links, self.nodes, strict=True), start=1):
            if hop > 1:
                flying = self._fitting(train, hop, flying, replies)
            started = self._serve(link, flying, train)
            if hop == 1:
                for i, start_ns in started.items():
                    departed_ns[i] = round(start_ns)
            arrived = [
                (i, started[i] + _service_ns(link, train.probes[i].size_bytes), ttl - 1)
                for i, _, ttl in flying
                if i in started
            ]
            arrived = [(i, at_ns + link.delay_ns, ttl) for i, at_ns, ttl in arrived]
            flying = self._answer(train, hop, node, arrived, replies)
        for hop in range(len(self.links), 0, -1):
            if self.links[hop - 1].back_load:
                self._bring_back(hop, replies)
        return departed_ns, replies

    def _fitting(
        self,
        train: Train,
        hop: int,
        flying: list[tuple[int, float, int]],
        replies: list[Reply | None],
    ) -> list[tuple[int, float, int]]:
        """What the link to this hop carries; for the rest the node before it answers."""
        fitting, node = [], self.nodes[hop - 2]
        for i, at_ns, ttl in flying:
            if train.probes[i].size_bytes <= self.links[hop - 1].mtu_bytes:
                fitting.append((i, at_ns, ttl))
            elif node.may_answer(int(at_ns)):
                reply = self._reply(train, hop - 1, node, at_ns, ttl, last=False)
                replies[i] = attrs.evolve(
                    reply, kind=ReplyKind.UNREACHABLE, icmp_type=3, icmp_code=4
                )
        return fitting

    def _serve(
        self, link: Link, flying: list[tuple[int, float, int]], train: Train
    ) -> dict[int, float]:
        """When the link begins to send each packet; what its queue has no room for is missing."""
        queue = [(at_ns, i, train.probes[i].size_bytes) for i, at_ns, _ in flying]
        if link.load and flying:
            queue = sorted([*queue, *self._others(link, flying)])
        started: dict[int, float] = {}
        free_ns = 0.0
        for at_ns, i, size_bytes in queue:
            start_ns = max(at_ns, free_ns)
            if (start_ns - at_ns) * link.rate_bps / 8 / S > link.queue_bytes:
                continue
            service_ns = _service_ns(link, size_bytes)
            free_ns = start_ns + service_ns
            if i >= 0:
                # What a bucket lets pass at once has no service time.
                passed_ns = max(at_ns, free_ns - _service_ns(link, link.bucket_bytes))
                started[i] = passed_ns - service_ns
        return started

    def _others(
        self, link: Link, flying: list[tuple[int, float, int]]
    ) -> list[tuple[float, int, int]]:
        """Poisson packets around a train, from before it comes until after it has gone."""
        mean_ns = _service_ns(link, link.load_size_bytes) / link.load
        at_ns = flying[0][1] - 50 * mean_ns
        end_ns = flying[-1][1] + 4 * _service_ns(link, 40_000)
        others = []
        while at_ns < end_ns:
            at_ns += self._chance.expovariate(1 / mean_ns)
            others.append((at_ns, -1, link.load_size_bytes))
        return others

    def _answer(
        self,
        train: Train,
        hop: int,
        node: Router,
        arrived: list[tuple[int, float, int]],
        replies: list[Reply | None],
    ) -> list[tuple[int, float, int]]:
        passing = []
        last = hop == len(self.nodes)
        for i, at_ns, ttl in arrived:
            probe = train.probes[i]
            if probe.muted and node.drop_bad_sums:
                continue
            if ttl > 0 and not last and node.refuse_code is None:
                passing.append((i, at_ns, ttl))
                continue
            if last and probe.muted:
                continue
            listening = (
                last and node.listens is not None and node.listens == (train.port, train.tag)
            )
            if not listening and not node.may_answer(int(at_ns)):
                continue
            if self._chance.random() < self.loss:
                continue
            reply = self._reply(train, hop, node, at_ns, ttl, last)
            if listening:
                far_ns = round(at_ns) + node.clock_ns
                reply = attrs.evolve(reply, kind=ReplyKind.DATAGRAM, icmp_type=0, far_ns=far_ns)
            replies[i] = reply
        return passing

    def _reply(
        self, train: Train, hop: int, node: Router, at_ns: float, ttl: int, last: bool
    ) -> Reply:
        back_ns = sum(link.delay_ns for link in self.links[:hop])
        noise_ns = self._chance.expovariate(1 / self.noise_ns) if self.noise_ns else 0.0
        address = self.answers_from(hop, node.alias or node.address)
        kind, icmp_type, code = ReplyKind.TIME_EXCEEDED, 11, 0
        if last and train.kind is Kind.ICMP_ECHO:
            kind, icmp_type = ReplyKind.ECHO_REPLY, 0
        elif last and train.kind is Kind.TCP_SYN:
            kind, icmp_type = ReplyKind.SYN_ACK if node.port_open else ReplyKind.RESET, 0
        elif last and node.port_open:
            kind, icmp_type = ReplyKind.DATAGRAM, 0
        elif last:
            kind, icmp_type, code = ReplyKind.UNREACHABLE, 3, 3
        elif node.refuse_code is not None:
            kind, icmp_type, code = ReplyKind.UNREACHABLE, 3, node.refuse_code
        return Reply(
            received_ns=round(at_ns + back_ns + noise_ns),
            address=address,
            kind=kind,
            icmp_type=icmp_type,
            icmp_code=code,
            ttl=64 - hop,
            quoted_ttl=1 if icmp_type else None,
        )

    def _bring_back(self, hop: int, replies: list[Reply | None]) -> None:
        """Let the answers from this hop and beyond queue on its link, in the order they come."""
        link = self.links[hop - 1]
        # The rest of the way takes all of them equally long, so their times need no correction.
        coming = sorted(
            (reply.received_ns, i)
            for i, reply in enumerate(replies)
            if reply is not None and hops_back(reply) >= hop
        )
        if not coming:
            return
        own_ns = _service_ns(link, ANSWER_BYTES)
        other_ns = _service_ns(link, link.back_size_bytes)
        mean_ns = other_ns / link.back_load
        free_ns = next_ns = coming[0][0] - 50 * mean_ns
        for at_ns, i in coming:
            while next_ns <= at_ns:
                free_ns = max(free_ns, next_ns) + other_ns
                next_ns += self._chance.expovariate(1 / mean_ns)
            free_ns = max(free_ns, at_ns) + own_ns
            reply = replies[i]
            assert reply is not None
            replies[i] = attrs.evolve(reply, received_ns=round(free_ns))

    def _advance(self, train: Train, echoes: tuple[Echo, ...]) -> None:
        awaited = train.awaited
        if awaited is None:
            awaited = frozenset(i for i, probe in enumerate(train.probes) if not probe.muted)
        reached = [
            train.probes[i].ttl
            for i, echo in enumerate(echoes)
            if echo.reply is not None and echo.reply.address == self.nodes[-1].address
        ]
        open_probes = [
            i
            for i in awaited
            if echoes[i].reply is None and train.probes[i].ttl <= min(reached, default=256)
        ]
        times = [echo.reply.received_ns for echo in echoes if echo.reply is not None]
        end_ns = max(times, default=self.now_ns)
        if open_probes:
            departed = max(echo.sent_ns or 0 for echo in echoes)
            settled = end_ns + train.settle_ns if train.settle_ns and times else 1 << 62
            end_ns = max(end_ns, min(departed + train.wait_ns, settled))
        self.now_ns = end_ns


def hops_back(reply: Reply) -> int:
    """How many links an answer takes: all nodes here send theirs with a TTL of 64."""
    return 64 - reply.ttl


def _service_ns(link: Link, size_bytes: int) -> float:
    return 8 * size_bytes * S / link.rate_bps


def path(rates_mbps: list[float], **more: object) -> Path:
    """A path with one link for each rate, routers 10.0.1.1, 10.0.2.1, ... and TARGET."""
    nodes = [Router(address=IPv4Address(f"10.0.{i}.1")) for i in range(1, len(rates_mbps))]
    return Path(
        links=[Link(rate_bps=rate * 1e6) for rate in rates_mbps],
        nodes=[*nodes, Router(address=TARGET)],
        **more,  # type: ignore[arg-type]
    )
