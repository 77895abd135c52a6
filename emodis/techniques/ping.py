"""Ping: round-trip time, loss and reordering (emodis.txt section 5; TECHNIQUES.md section 1).

ICMP echo is what the paper uses. UDP waits for the destination's port unreachable (or an answer of
the port itself), TCP for what a SYN brings back; both also say whether the port is open.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from typing import ClassVar

import attrs

from emodis.packets.model import Address, Kind, Probe, Train
from emodis.techniques import connections, paces, ping_verdict, records
from emodis.techniques.base import Context, Conversation, Measured, Spend
from emodis.techniques.parameters import By, choice, flag, real, whole
from emodis.techniques.ping_statistics import Manner, estimate
from emodis.techniques.skeleton import Skeleton, failed
from emodis.techniques.stats import NS_PER_S
from emodis.wire.v1.common_pb2 import Blame, Body, Quality
from emodis.wire.v1.techniques_pb2 import (
    PingObservations,
    PingParameters,
    PingResult,
    ProbeRecord,
)

# Share of the interval by which each one is drawn longer or shorter, so that probes do not fall
# into step with something periodic.
_SPREAD = 0.1
_KINDS = {"icmp": Kind.ICMP_ECHO, "udp": Kind.UDP, "tcp": Kind.TCP_SYN}
# Both ICMP's and UDP's.
_HEADER_BYTES = 8
# A SYN with the usual options.
_TCP_HEADER_BYTES = 40
_IP_HEADER_BYTES = {4: 20, 6: 40}
_MTU_BYTES = 1500


@attrs.frozen(kw_only=True)
class Parameters:
    """Everything that a requester may choose."""

    proto: str = choice("icmp", *_KINDS, text="what the probes are made of")
    count: int = whole(10, 1, 1000, unit="packets", text="how many probes")
    interval_s: float = real(
        By("proto", {"udp": 1.0}, 0.2), 0.01, 60.0, unit="s", text="mean time between two of them"
    )
    spacing: str = choice(
        "periodic", "periodic", "poisson", text="intervals all within 10 %, or exponential"
    )
    payload_bytes: int = whole(
        56, 16, 1472, unit="bytes", text="data after the ICMP or UDP header; none in TCP"
    )
    timeout_s: float = real(2.0, 0.1, 10.0, unit="s", text="an answer after this is a loss")
    port: int = whole(
        By("proto", {"tcp": 443}, 33434), 1, 65535, unit="", text="destination port of UDP and TCP"
    )
    ttl: int = whole(64, 1, 255, unit="hops", text="time to live of the probes")
    dscp: int = whole(0, 0, 63, unit="", text="service class in the IP header")
    df: bool = flag(True, text="routers may not cut the probes up (IPv6 ones never do)")


class Ping(Skeleton[Parameters, PingObservations, PingResult]):
    """One train of probes, paced around `interval_s`."""

    NAME: ClassVar[str] = "ping"
    SUMMARY: ClassVar[str] = "round-trip time, loss and reordering (ICMP echo, UDP, TCP SYN)"
    PARAMETERS = Parameters
    CALL = PingParameters
    OBSERVATIONS = PingObservations
    RESULT = PingResult

    def usual(self, chosen: Parameters) -> Spend:
        """All answers in time, within 100 ms."""
        duration_s = (chosen.count - 1) * chosen.interval_s + 0.1
        return Spend(duration_s=duration_s, sent_bytes=chosen.count * _size_bytes(chosen, 6))

    def worst(self, chosen: Parameters) -> Spend:
        """The deadline of TECHNIQUES.md section 1; bytes as if over IPv6."""
        return Spend(
            duration_s=_longest_s(chosen) + chosen.timeout_s + 1.0,
            sent_bytes=chosen.count * (_size_bytes(chosen, 6) + _beside(chosen)),
        )

    def for_managers(self, call: Body) -> str:
        """Faster probes than everybody may have sent."""
        return paces.for_managers(self._chosen(call).interval_s)

    def talk(self, chosen: Parameters, context: Context) -> Conversation:
        """Send one train and summarise it."""
        observations = PingObservations(target=context.address.packed)
        size_bytes = _size_bytes(chosen, context.address.version)
        if size_bytes > _MTU_BYTES:
            return _too_large(chosen, size_bytes, observations)
        train = Train(
            kind=_KINDS[chosen.proto],
            probes=tuple(
                Probe(ttl=chosen.ttl, size_bytes=size_bytes, after_ns=gap_ns)
                for gap_ns in _gaps_ns(chosen, random.Random(context.seed))
            ),
            wait_ns=round(chosen.timeout_s * NS_PER_S),
            port=chosen.port,
            dscp=chosen.dscp,
            df=chosen.df,
            # A round trip may take longer than the time to the next probe.
            spread=chosen.proto == "tcp",
            progress=(1, 1),
        )
        outcome = yield train
        observations.trains.append(records.to_record(train, outcome))
        return self.evaluate(chosen, observations)

    def evaluate(self, chosen: Parameters, observations: PingObservations) -> Measured:
        """Summarise every train as if it were one."""
        probes = [probe for train in observations.trains for probe in train.probes]
        sent = [probe for probe in probes if probe.HasField("sent_ns")]
        manner = _manner(chosen, sent, observations)
        result = estimate(sent, manner)
        result.duplicates = sum(train.duplicates for train in observations.trains)
        return Measured(
            ending=ping_verdict.ending(sent, result, manner),
            result=result if sent else None,
            observations=observations,
            quality=ping_verdict.quality(len(probes), observations.trains, result, manner),
        )

    def addresses(self, body: Body) -> Sequence[Address]:
        """None: the only address in it would be the destination's own."""
        self.result(body)
        return ()


def _size_bytes(chosen: Parameters, version: int) -> int:
    if chosen.proto == "tcp":
        return _IP_HEADER_BYTES[version] + _TCP_HEADER_BYTES
    return _IP_HEADER_BYTES[version] + _HEADER_BYTES + chosen.payload_bytes


def _beside(chosen: Parameters) -> int:
    return connections.extra_bytes(chosen.timeout_s) if chosen.proto == "tcp" else 0


def _too_large(chosen: Parameters, size_bytes: int, observations: PingObservations) -> Measured:
    most = chosen.payload_bytes - (size_bytes - _MTU_BYTES)
    hint = f"payload_bytes may be at most {most} over IPv6, not {chosen.payload_bytes}."
    return Measured(
        ending=failed("bad_params", hint, Blame.BLAME_US),
        result=None,
        observations=observations,
        quality=Quality(),
    )


def _longest_s(chosen: Parameters) -> float:
    """The time from the first to the last probe is never longer."""
    return (1 + _SPREAD) * (chosen.count - 1) * chosen.interval_s


def _gaps_ns(chosen: Parameters, chance: random.Random) -> list[int]:
    """0 for the first probe, then the time after the one before."""
    if chosen.spacing == "poisson":
        gaps_s = [chance.expovariate(1 / chosen.interval_s) for _ in range(chosen.count - 1)]
        # The deadline binds: where the drawn times exceed it, all shrink alike, which leaves them
        # where Poisson events fall in so long a time.
        shrink = min(1.0, _longest_s(chosen) / sum(gaps_s)) if gaps_s else 1.0
        gaps_s = [gap_s * shrink for gap_s in gaps_s]
    else:
        gaps_s = [
            chosen.interval_s * (1 + _SPREAD * (2 * chance.random() - 1))
            for _ in range(chosen.count - 1)
        ]
    # A gap of 0 would put two probes into one system call.
    return [0, *(max(1, round(gap_s * NS_PER_S)) for gap_s in gaps_s)]


def _manner(
    chosen: Parameters, sent: Sequence[ProbeRecord], observations: PingObservations
) -> Manner:
    interval_s = chosen.interval_s
    if chosen.spacing == "poisson":
        gaps_ns = [after.sent_ns - before.sent_ns for before, after in itertools.pairwise(sent)]
        interval_s = min(gaps_ns, default=0) / NS_PER_S
    return Manner(
        timeout_s=chosen.timeout_s,
        interval_s=interval_s,
        proto=chosen.proto,
        target=observations.target,
        own_syns=not any(train.by_connect for train in observations.trains),
    )
